//! One child, owned by one task; everybody else holds a handle.
//!
//! ```text
//! start ──▶ Running ──▶ Ended
//!              │          ▲
//!              ▼          │
//!           Stopping ─────┘     SIGTERM sent; SIGKILL follows when the grace is over
//! ```

use std::{fmt, process::Stdio, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt as _,
    process::ChildStdin,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;

use crate::{Asker, Command, Input, Output, SpawnError, system};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long output may still come when a child has ended: grandchildren may hold the pipe.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
/// The grace of a child whose handles were all dropped.
const ABANDONED: Duration = Duration::from_secs(10);

/// A handle on a child. When the last one is dropped, the child is ended.
#[derive(Clone, Debug)]
pub struct Child {
    pid: u32,
    messages: mpsc::Sender<Message>,
    state: watch::Receiver<State>,
    asker: Asker,
}

#[derive(Clone, Copy, Debug)]
enum Message {
    Terminate { grace: Duration },
}

/// Where a child is in its life.
#[derive(Clone, Debug)]
pub enum State {
    Running { since: Instant },
    Stopping { since: Instant, kill_at: Instant },
    Ended(Ending),
}

/// How a child ended.
#[derive(Clone, Debug)]
pub struct Ending {
    pub how: How,
    /// Since it was started.
    pub ran_for: Duration,
    /// Its last lines, oldest first.
    pub last_lines: Vec<String>,
}

/// What the kernel says of a process that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// Somebody else took its status.
    Unknown,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Signalled(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("unknown status"),
        }
    }
}

impl Child {
    /// Starts a child; `source` names it in the log.
    ///
    /// The child is forked from the calling thread, within a runtime.
    pub fn start(
        command: Command,
        source: impl Into<Arc<str>>,
        tracker: &TaskTracker,
    ) -> Result<Self, SpawnError> {
        Self::start_with(command, source, tracker, Output::default())
    }

    /// The same, where what it prints goes somewhere else than to the log.
    pub fn start_with(
        command: Command,
        source: impl Into<Arc<str>>,
        tracker: &TaskTracker,
        output: Output,
    ) -> Result<Self, SpawnError> {
        let is_session = command.is_session;
        let (prepared, input) = command.prepare(Stdio::piped(), Stdio::piped())?;
        let mut process = prepared.spawn_watched()?;
        let source = source.into();
        let mut readers = Vec::new();
        if let Some(stdout) = process.stdout.take() {
            readers.push(tracker.spawn(output.clone().follow(stdout, Arc::clone(&source))));
        }
        if let Some(stderr) = process.stderr.take() {
            readers.push(tracker.spawn(output.clone().follow(stderr, source)));
        }
        let (asking, questions) = mpsc::channel(8);
        let writer = process.stdin.take().map(|stdin| tracker.spawn(feed(stdin, input, questions)));
        let (messages, inbox) = mpsc::channel(8);
        let since = Instant::now();
        let (tell, state) = watch::channel(State::Running { since });
        let pid = process.id().unwrap_or_default();
        let owner = Owner { process, is_session, since, tell, output: output.clone() };
        tracker.spawn(owner.run(inbox, readers, writer));
        Ok(Self { pid, messages, state, asker: Asker { input: asking, output } })
    }

    /// Its process id, which may belong to another process once it has ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// What it prints.
    pub fn output(&self) -> &Output {
        &self.asker.output
    }

    /// Asks it, where its input is open.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Sends SIGTERM, and SIGKILL when it has not ended after the grace. What is left of its process
    /// group, when it leads one of its own, is killed with its end. A second call can only shorten
    /// the grace.
    pub fn terminate(&self, grace: Duration) {
        // A full queue holds the same order already; a closed one means that it has ended.
        self.messages.try_send(Message::Terminate { grace }).ok();
    }

    /// Waits until it has ended and its output is read.
    pub async fn ended(&self) -> Ending {
        let mut state = self.state.clone();
        loop {
            if let State::Ended(ending) = &*state.borrow_and_update() {
                return ending.clone();
            }
            if state.changed().await.is_err() {
                // The task was dropped with its runtime, and killed the child by that.
                let last_lines = self.output().last_lines();
                return Ending { how: How::Unknown, ran_for: Duration::ZERO, last_lines };
            }
        }
    }
}

/// Writes the input; an open one is kept until this task is ended with the child, and takes questions.
async fn feed(mut stdin: ChildStdin, input: Input, mut questions: mpsc::Receiver<Vec<u8>>) {
    let (bytes, is_open) = match input {
        Input::Null => return,
        Input::Closed(bytes) => (bytes, false),
        Input::Open(bytes) => (bytes, true),
    };
    // A child that does not read its input says itself what is wrong.
    let written = stdin.write_all(&bytes).await;
    drop(bytes);
    if written.is_err() || !is_open {
        return;
    }
    while let Some(question) = questions.recv().await {
        if stdin.write_all(&question).await.is_err() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// The task of one child.
struct Owner {
    process: tokio::process::Child,
    is_session: bool,
    since: Instant,
    tell: watch::Sender<State>,
    output: Output,
}

impl Owner {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        readers: Vec<JoinHandle<()>>,
        writer: Option<JoinHandle<()>>,
    ) {
        let status = self.watch(&mut inbox).await;
        if let Some(writer) = writer {
            writer.abort();
        }
        for mut reader in readers {
            if timeout(LAST_OUTPUT, &mut reader).await.is_err() {
                reader.abort();
            }
        }
        self.output.end();
        let ending = Ending {
            how: how(status.ok()),
            ran_for: self.since.elapsed(),
            last_lines: self.output.last_lines(),
        };
        self.tell.send_replace(State::Ended(ending));
    }

    async fn watch(
        &mut self,
        inbox: &mut mpsc::Receiver<Message>,
    ) -> std::io::Result<std::process::ExitStatus> {
        let mut kill_at: Option<Instant> = None;
        let mut is_abandoned = false;
        loop {
            let due = kill_at.unwrap_or_else(Instant::now);
            tokio::select! {
                status = wait(&mut self.process, self.is_session) => return status,
                message = inbox.recv(), if !is_abandoned => {
                    let grace = match message {
                        Some(Message::Terminate { grace }) => grace,
                        None => ABANDONED,
                    };
                    is_abandoned = message.is_none();
                    kill_at = Some(self.terminate(kill_at, grace));
                }
                () = sleep_until(due), if kill_at.is_some() => {
                    self.kill();
                    return wait(&mut self.process, self.is_session).await;
                }
            }
        }
    }

    fn terminate(&self, earlier: Option<Instant>, grace: Duration) -> Instant {
        let due = Instant::now() + grace;
        let kill_at = earlier.map_or(due, |earlier| earlier.min(due));
        if earlier.is_none()
            && let Some(pid) = self.pid()
        {
            // Its end is what we wait for anyway.
            kill_process(pid, Signal::TERM).ok();
        }
        self.tell.send_replace(State::Stopping { since: self.since, kill_at });
        kill_at
    }

    fn kill(&self) {
        let Some(pid) = self.pid() else { return };
        let killed = if self.is_session {
            kill_process_group(pid, Signal::KILL)
        } else {
            kill_process(pid, Signal::KILL)
        };
        killed.ok();
    }

    /// `None` once it has been waited for: from then on the id may be another's.
    fn pid(&self) -> Option<Pid> {
        self.process.id().and_then(|pid| Pid::from_raw(pid.cast_signed()))
    }
}

/// Waits for the end. What a session's leader leaves behind in its process group ends with it: held
/// back until then, the leader's status keeps the group's id from becoming another's.
async fn wait(
    process: &mut tokio::process::Child,
    is_session: bool,
) -> std::io::Result<std::process::ExitStatus> {
    let pid = process.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let (true, Some(pid)) = (is_session, pid)
        && system::until_zombie(pid).await.is_ok()
    {
        kill_process_group(pid, Signal::KILL).ok();
    }
    process.wait().await
}

pub(crate) fn how(status: Option<std::process::ExitStatus>) -> How {
    use std::os::unix::process::ExitStatusExt as _;
    let Some(status) = status else { return How::Unknown };
    match (status.code(), status.signal()) {
        (Some(code), _) => How::Exited(code),
        (None, Some(signal)) => How::Signalled(signal),
        (None, None) => How::Unknown,
    }
}
