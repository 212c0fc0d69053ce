//! What is known of a worker.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use perijove_process::{Ending, How};
use serde::{Serialize, Serializer};

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Loads the application.
    Starting,
    /// Waits for the others of its set.
    Ready,
    Serving,
    /// Finishes what is under way.
    Draining,
    /// Failed, and will be started again.
    Pausing,
    Gone,
}

/// What is known of a worker, for people and programs that ask.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WorkerStatus {
    pub phase: Phase,
    /// While there is a process.
    pub pid: Option<u32>,
    /// Of the phase, in seconds since the Unix epoch.
    pub since: u64,
    /// How often it was started again.
    pub restarts: u32,
    pub last_failure: Option<Failure>,
}

impl WorkerStatus {
    pub(crate) fn new() -> Self {
        let since = now();
        Self { phase: Phase::Starting, pid: None, since, restarts: 0, last_failure: None }
    }

    pub(super) fn enter(&mut self, phase: Phase, pid: Option<u32>) {
        (self.phase, self.pid, self.since) = (phase, pid, now());
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.enter(Phase::Pausing, None);
        self.restarts = self.restarts.saturating_add(1);
        self.last_failure = Some(failure);
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
    /// It did not become ready.
    Late {
        waited: Duration,
        /// What the last try came to, when it came to anything.
        why: Option<String>,
        last_lines: Vec<String>,
    },
}

impl Failure {
    /// Whether the application cannot be loaded: then the next try will not do better.
    pub fn is_in_the_application(&self) -> bool {
        matches!(self, Self::Ended(Ending { how: How::Exited(78), .. }))
    }

    /// What it printed last, oldest first.
    pub fn last_lines(&self) -> &[String] {
        match self {
            Self::NotStarted { .. } => &[],
            Self::Ended(Ending { last_lines, .. }) | Self::Late { last_lines, .. } => last_lines,
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
            Self::Late { waited, why, .. } => {
                write!(f, "was not ready after {:.1} s", waited.as_secs_f32())?;
                why.iter().try_for_each(|why| write!(f, ": {why}"))
            }
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
