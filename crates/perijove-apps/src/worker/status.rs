//! What is known of a worker.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use perijove_gateway::{UpstreamId, Upstreams};
use perijove_process::{Asker, Ending, How, Usage};
use serde::{Serialize, Serializer};

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Loads the application.
    Starting,
    /// Answers, and must show that it stays up.
    Probation,
    /// Waits for the others of its version.
    Ready,
    Serving,
    /// Finishes what is under way.
    Draining,
    /// Has nothing left but websockets and other upgraded connections.
    Lingering,
    /// Failed, and will be started again.
    Pausing,
}

/// What is known of a worker, for people and programs that ask.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WorkerStatus {
    /// Of its version: 1 at the start, one more with each replacement.
    pub generation: u64,
    pub phase: Phase,
    /// While there is a process.
    pub pid: Option<u32>,
    /// Of the phase, in seconds since the Unix epoch.
    pub since: u64,
    /// Of the process, in seconds since the Unix epoch.
    pub started: Option<u64>,
    /// How often it was started again after a failure.
    pub restarts: u32,
    /// How often it was replaced while it was well.
    pub recycled: u32,
    pub last_failure: Option<Failure>,
    /// Requests that its process was given.
    pub requests: Option<u64>,
    /// Requests that it has now, upgraded connections included.
    pub under_way: Option<usize>,
    /// Websockets and other upgraded connections that it has now.
    pub websockets: Option<usize>,
    /// Resident memory of the process and what stems from it, in bytes.
    pub memory: Option<u64>,
    /// Their time on processors, in milliseconds.
    pub cpu: Option<u64>,
    #[serde(skip)]
    pub(crate) upstream: Option<UpstreamId>,
    /// Asks its process.
    #[serde(skip)]
    pub(crate) asker: Option<Asker>,
}

impl WorkerStatus {
    pub(crate) fn new(generation: u64) -> Self {
        Self {
            generation,
            phase: Phase::Starting,
            pid: None,
            since: now(),
            started: None,
            restarts: 0,
            recycled: 0,
            last_failure: None,
            requests: None,
            under_way: None,
            websockets: None,
            memory: None,
            cpu: None,
            upstream: None,
            asker: None,
        }
    }

    pub(super) fn enter(&mut self, phase: Phase, pid: Option<u32>) {
        if self.pid != pid {
            self.started = pid.map(|_| now());
            self.asker = None;
        }
        (self.phase, self.pid, self.since) = (phase, pid, now());
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.enter(Phase::Pausing, None);
        self.upstream = None;
        self.restarts = self.restarts.saturating_add(1);
        self.last_failure = Some(failure);
    }

    /// Looks what it has to do and what it uses.
    pub(crate) fn measure(&mut self, upstreams: &Upstreams) {
        if let Some(work) = self.upstream.and_then(|id| upstreams.work(id)) {
            self.requests = Some(work.served);
            self.under_way = Some(work.under_way);
            self.websockets = Some(work.upgraded);
        }
        if let Some(usage) = self.pid.and_then(Usage::of) {
            self.memory = Some(usage.memory);
            self.cpu = Some(u64::try_from(usage.cpu.as_millis()).unwrap_or(u64::MAX));
        }
    }
}

/// Why a worker had to be started again.
#[derive(Clone, Debug)]
pub enum Failure {
    /// There was not even a process.
    NotStarted {
        reason: String,
    },
    Ended(Ending),
    /// It said that its application cannot be loaded.
    Unloadable {
        last_lines: Vec<String>,
    },
    /// It did not become ready.
    Late {
        waited: Duration,
        /// What the last try came to, when it came to anything.
        why: Option<String>,
        last_lines: Vec<String>,
    },
    /// Its process runs, and does not answer any more.
    Lost {
        why: String,
        last_lines: Vec<String>,
    },
}

impl Failure {
    /// Whether the application cannot be loaded: then the next try will not do better.
    pub fn is_in_the_application(&self) -> bool {
        matches!(self, Self::Unloadable { .. } | Self::Ended(Ending { how: How::Exited(78), .. }))
    }

    /// What it printed last, oldest first.
    pub fn last_lines(&self) -> &[String] {
        match self {
            Self::NotStarted { .. } => &[],
            Self::Ended(Ending { last_lines, .. })
            | Self::Late { last_lines, .. }
            | Self::Lost { last_lines, .. }
            | Self::Unloadable { last_lines } => last_lines,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted { reason } => write!(f, "could not be started: {reason}"),
            Self::Ended(ending) => {
                write!(
                    f,
                    "ended by itself after {:.1} s ({})",
                    ending.ran_for.as_secs_f32(),
                    ending.how
                )
            }
            Self::Unloadable { .. } => f.write_str("could not load the application"),
            Self::Late { waited, why, .. } => {
                write!(f, "was not ready after {:.1} s", waited.as_secs_f32())?;
                why.iter().try_for_each(|why| write!(f, ": {why}"))
            }
            Self::Lost { why, .. } => write!(f, "did not answer any more: {why}"),
        }
    }
}

impl Serialize for Failure {
    /// As it is told to people.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
