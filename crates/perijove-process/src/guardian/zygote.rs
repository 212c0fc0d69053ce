//! A zygote as its starter holds it: a process that forks servers it has prepared, each with its
//! guardian.
//!
//! What is said on its socket, which it has as descriptor 3: it says one line of JSON when it is
//! ready, what it is for its starter to know; it is told, for each server, a line of JSON with the
//! guardian's command and the numbers of the descriptors that come with it.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixStream as Pair,
    },
    sync::Arc,
    time::Duration,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Serialize;
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Interest},
    net::UnixStream,
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::Program;
use crate::{Child, Command, Ending, SpawnError};

/// The descriptor at which a zygote finds its socket.
const SOCKET: RawFd = 3;
/// Bytes of what it says.
const LONGEST: u64 = 1 << 20;
/// How long it may take to listen to one word.
const PATIENCE: Duration = Duration::from_secs(10);
/// Descriptors that may come with one word.
const MOST: usize = 16;

/// A zygote that is ready. It ends when this is dropped; what was forked from it goes on.
#[derive(Debug)]
pub struct Zygote {
    child: Child,
    socket: UnixStream,
    said: String,
}

/// Why a zygote did not become ready.
#[derive(Debug, Error)]
pub enum ZygoteError {
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("could not make a socket")]
    Socket(#[source] io::Error),
    /// It is in the log, too, if it said why.
    #[error("it ended before it was ready ({})", .0.how)]
    Ended(Ending),
    #[error("it was not ready after {} s", .0.as_secs())]
    Late(Duration),
}

/// One server that is wanted.
#[derive(Serialize)]
struct Wanted<'a> {
    guardian: Vec<String>,
    descriptors: &'a [RawFd],
    claim: RawFd,
}

impl Zygote {
    /// Starts one, and waits until it is ready; `source` names it in the log.
    pub async fn begin(
        mut command: Command,
        source: impl Into<Arc<str>>,
        tracker: &TaskTracker,
        within: Duration,
    ) -> Result<Self, ZygoteError> {
        let (ours, theirs) = Pair::pair().map_err(ZygoteError::Socket)?;
        ours.set_nonblocking(true).map_err(ZygoteError::Socket)?;
        let mut socket = UnixStream::from_std(ours).map_err(ZygoteError::Socket)?;
        command.descriptors.push((theirs.into(), SOCKET));
        let child = Child::start(command, source, tracker)?;
        let mut said = String::new();
        let listening = async {
            let mut lines = BufReader::new(&mut socket).take(LONGEST);
            lines.read_line(&mut said).await.is_ok()
        };
        match timeout(within, listening).await {
            Ok(true) if said.ends_with('\n') => Ok(Self { child, socket, said }),
            Ok(_) => {
                child.terminate(Duration::ZERO);
                Err(ZygoteError::Ended(child.ended().await))
            }
            Err(_) => Err(ZygoteError::Late(within)),
        }
    }

    /// What it said when it was ready.
    pub fn said(&self) -> &str {
        &self.said
    }

    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> Ending {
        self.child.ended().await
    }

    /// Asks for a guardian with these streams and descriptors, and a server under it.
    pub(super) async fn fork(
        &self,
        program: &Program,
        numbers: &[RawFd],
        claim: RawFd,
        descriptors: &[OwnedFd],
    ) -> io::Result<()> {
        let path = program.path.clone().into_os_string();
        let guardian = std::iter::once(&path).chain(&program.arguments);
        let guardian = guardian.map(|word| word.to_string_lossy().into_owned()).collect();
        let mut word = serde_json::to_vec(&Wanted { guardian, descriptors: numbers, claim })?;
        word.push(b'\n');
        let borrowed: Vec<BorrowedFd<'_>> =
            descriptors.iter().map(std::os::fd::AsFd::as_fd).collect();
        // One call for one word: with descriptors, no two of them are read as one.
        let send = || send(&self.socket, &word, &borrowed);
        let sending = self.socket.async_io(Interest::WRITABLE, send);
        let sent = timeout(PATIENCE, sending).await.map_err(|_| io::ErrorKind::TimedOut)??;
        // A word is shorter than any socket's buffer.
        if sent == word.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

fn send(socket: &UnixStream, word: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(sendmsg(socket.as_fd(), &[IoSlice::new(word)], &mut control, flags)?)
}
