//! The guardian: a small parent that outlives perijove, so that what runs under it does too.
//!
//! A server, and whatever it starts, makes sessions of its own; no process group ties it down, and
//! after a crash of perijove nobody would reap it, keep its log or end it in time. The guardian
//! does. It is this same executable under a hidden command, detached from its starter; it reads
//! what to do ([`Spec`]) on its standard input and keeps what happened ([`Record`]) in a file.

mod adopt;
mod claim;
mod descendants;
mod detach;
mod log;
mod memory;
mod run;
mod signals;
mod spec;
mod status;
mod watch;
mod zygote;

use std::{
    ffi::OsString,
    io,
    os::fd::{OwnedFd, RawFd},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::unix::pipe,
    time::{Instant, error::Elapsed, timeout, timeout_at},
};

pub use claim::{Claim, claim};
pub use log::last_lines;
pub use run::run;
pub use spec::Spec;
pub use status::{Ended, OutOfMemory, Record, Why};
pub use zygote::{Zygote, ZygoteError};

use crate::{Command, ProcessIdentity, SpawnError, system};

/// How long a guardian may take to say whether its server was started.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a guardian that was told to end now may take.
const LAST_MOMENT: Duration = Duration::from_secs(10);

/// A running guardian, to be kept where a restart finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    pub process: ProcessIdentity,
    /// Seconds since the Unix epoch.
    pub started: u64,
}

/// What has become of a guardian and its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Running,
    Ended(Ended),
    /// It is not there, and left no word how it ended.
    Gone,
}

/// The executable that is the guardian.
#[derive(Clone, Debug)]
pub struct Program {
    /// An absolute path.
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
}

impl Program {
    /// This executable with its hidden command `guardian`.
    pub fn own() -> io::Result<Self> {
        Ok(Self { path: system::own_executable()?, arguments: vec!["guardian".into()] })
    }
}

/// Why a guardian did not start its server.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("could not find this program's own executable")]
    Own(#[source] io::Error),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("could not tell the guardian what to start")]
    Tell(#[source] io::Error),
    /// Its own words.
    #[error("{reason}")]
    Refused { reason: String },
    #[error("the guardian ended without a word")]
    Silent,
    #[error("the guardian said nothing for {} s", ANSWER.as_secs())]
    Late,
}

impl StartError {
    /// Whether no guardian is there that could have started anything.
    pub fn is_void(&self) -> bool {
        !matches!(self, Self::Late)
    }
}

/// Why a guardian was not stopped.
#[derive(Debug, Error)]
pub enum StopError {
    #[error("could not signal the guardian (process {pid})")]
    Signal { pid: i32, source: io::Error },
    #[error("the guardian (process {pid}) did not end in time")]
    Late { pid: i32 },
}

/// What a guardian says once, on its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Started(Handle),
    Refused(String),
}

/// Starts a guardian, and a server under it with these descriptors; each stays open in the server
/// only. The claim is to the status file of `spec`.
pub async fn start(
    spec: &Spec,
    descriptors: Vec<(OwnedFd, RawFd)>,
    claim: Claim,
) -> Result<Handle, StartError> {
    start_with(&Program::own().map_err(StartError::Own)?, spec, descriptors, claim).await
}

/// The same with another executable, which must call [`run`].
pub async fn start_with(
    program: &Program,
    spec: &Spec,
    mut descriptors: Vec<(OwnedFd, RawFd)>,
    claim: Claim,
) -> Result<Handle, StartError> {
    let spec_text =
        spec::to_text(spec, &descriptors).map_err(|error| StartError::Tell(error.into()))?;
    descriptors.push((claim.into_descriptor(), spec::number_of_claim(&descriptors)));
    let mut command = Command::new(&program.path).arguments(program.arguments.clone());
    command.folder = Some("/".into());
    command.is_session = true;
    command.descriptors = descriptors;
    command.input = crate::Input::Closed(Vec::new());
    let (prepared, _) = command.prepare(Stdio::piped(), Stdio::inherit())?;
    // The process started here only forks the guardian and ends.
    let mut process = prepared.spawn_watched()?;
    let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
    let conversation = async {
        let said = converse(stdin, stdout, &spec_text).await?;
        process.wait().await?;
        Ok(said)
    };
    understand(timeout(ANSWER, conversation).await, spec).await
}

/// The same with a server that a zygote has prepared. When this fails with
/// [`StartError::is_void`], nothing has come of it, and the claim, if there is another descriptor of
/// it, can be used again.
pub async fn start_from(
    zygote: &Zygote,
    program: &Program,
    spec: &Spec,
    descriptors: Vec<(OwnedFd, RawFd)>,
    claim: Claim,
) -> Result<Handle, StartError> {
    let spec_text =
        spec::to_text(spec, &descriptors).map_err(|error| StartError::Tell(error.into()))?;
    let number = spec::number_of_claim(&descriptors);
    let ((told, tell), (say, said)) = (io::pipe().map_err(StartError::Tell)?, {
        let (reading, writing) = io::pipe().map_err(StartError::Tell)?;
        (writing, reading)
    });
    let (mut passed, mut numbers) =
        (vec![told.into(), say.into(), claim.into_descriptor()], Vec::new());
    for (descriptor, number) in descriptors {
        passed.push(descriptor);
        numbers.push(number);
    }
    zygote.fork(program, &numbers, number, &passed).await.map_err(StartError::Tell)?;
    // What was passed must be nobody's but the guardian's, so that its end is seen.
    drop(passed);
    let tell = pipe::Sender::from_owned_fd(tell.into()).map_err(StartError::Tell)?;
    let said = pipe::Receiver::from_owned_fd(said.into()).map_err(StartError::Tell)?;
    let conversation = converse(Some(tell), Some(said), &spec_text);
    understand(timeout(ANSWER, conversation).await, spec).await
}

/// Tells a guardian what to do; returns its answer.
async fn converse(
    stdin: Option<impl AsyncWrite + Unpin>,
    stdout: Option<impl AsyncRead + Unpin>,
    spec: &[u8],
) -> io::Result<Vec<u8>> {
    if let Some(mut stdin) = stdin {
        stdin.write_all(spec).await?;
    }
    let mut said = Vec::new();
    if let Some(stdout) = stdout {
        stdout.take(64 << 10).read_to_end(&mut said).await?;
    }
    Ok(said)
}

async fn understand(
    talked: Result<io::Result<Vec<u8>>, Elapsed>,
    spec: &Spec,
) -> Result<Handle, StartError> {
    let Ok(talked) = talked else {
        give_up(&spec.status).await;
        return Err(StartError::Late);
    };
    match serde_json::from_slice(&talked.map_err(StartError::Tell)?) {
        Ok(Answer::Started(handle)) => Ok(handle),
        Ok(Answer::Refused(reason)) => Err(StartError::Refused { reason }),
        Err(_) => Err(StartError::Silent),
    }
}

/// A guardian that answered too late must not run on where nobody knows of it.
async fn give_up(status: &Path) {
    if let Some(handle) = adopt(status)
        && let Err(error) = stop(&handle, Duration::ZERO).await
    {
        tracing::warn!(%error, "a guardian that started too late could not be stopped");
    }
}

/// The guardian that wrote this status file, while it runs: for a starter whose own records are
/// lost.
pub fn adopt(status: &Path) -> Option<Handle> {
    let record = Record::read(status).ok()?;
    let handle = Handle { process: record.guardian, started: record.started_at };
    handle.process.is_running().then_some(handle)
}

/// What has become of it.
pub fn poll(handle: &Handle, status: &Path) -> Status {
    if handle.process.is_running() {
        return Status::Running;
    }
    match Record::read(status) {
        Ok(Record { guardian, ended: Some(ended), .. }) if guardian == handle.process => {
            Status::Ended(ended)
        }
        _ => Status::Gone,
    }
}

/// Waits until it has ended: then [`poll`] says how.
pub async fn ended(handle: &Handle) -> io::Result<()> {
    match handle.process.hold()? {
        Some(held) => held.ended().await,
        None => Ok(()),
    }
}

/// Ends the server and all its descendants: politely first, and at once when `within` is over.
pub async fn stop(handle: &Handle, within: Duration) -> Result<(), StopError> {
    let pid = handle.process.pid;
    let failed = |source| StopError::Signal { pid, source };
    let Some(held) = handle.process.hold().map_err(failed)? else { return Ok(()) };
    let polite = Instant::now() + within;
    // The first signal asks for the end, the second for the end now.
    for deadline in [polite, polite + LAST_MOMENT] {
        held.signal(Signal::TERM).map_err(failed)?;
        if let Ok(ended) = timeout_at(deadline, held.ended()).await {
            return ended.map_err(failed);
        }
    }
    Err(StopError::Late { pid })
}
