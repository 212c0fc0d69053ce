//! Which process is meant: its id alone may belong to another one later.

use std::{io, time::Duration};

use rustix::process::{Pid, Signal, getpid};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::system::{self, Held};

/// A process, told apart from every later one with the same id, also after the machine was
/// started anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    pub pid: i32,
    /// In ticks since the machine started (`/proc/PID/stat`, field 22); 0 where it is unknown.
    pub start_time: u64,
    /// Of the machine, new at each of its starts; empty where it is unknown.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// This process.
    pub fn own() -> Self {
        let pid = getpid();
        let start_time = system::process(pid).map_or(0, |process| process.start_time);
        Self { pid: pid.as_raw_nonzero().get(), start_time, boot_id: system::boot_id() }
    }

    /// The process that has this id now.
    pub fn of(pid: i32) -> Option<Self> {
        let process = system::process(Pid::from_raw(pid).filter(|_| pid > 0)?)?;
        Some(Self { pid, start_time: process.start_time, boot_id: system::boot_id() })
    }

    /// Asks it to end, if it still runs.
    pub fn terminate(&self) -> io::Result<()> {
        self.hold()?.map_or(Ok(()), |held| held.signal(Signal::TERM))
    }

    /// Whether it still runs; a zombie does not.
    pub fn is_running(&self) -> bool {
        let Some(pid) = self.pid_of_this_boot() else { return false };
        system::process(pid)
            .is_some_and(|process| process.start_time == self.start_time && !process.is_zombie)
    }

    /// Waits until it has ended; false when it has not within this time.
    pub async fn has_ended(&self, within: Duration) -> bool {
        let ended = async {
            match self.hold() {
                Ok(Some(held)) => held.ended().await.is_ok(),
                Ok(None) => true,
                Err(_) => !self.is_running(),
            }
        };
        timeout(within, ended).await.unwrap_or(false)
    }

    /// Holds the process; `None` when it is gone.
    pub(crate) fn hold(&self) -> io::Result<Option<Held>> {
        match self.pid_of_this_boot() {
            Some(pid) => Held::open(pid, self.start_time),
            None => Ok(None),
        }
    }

    fn pid_of_this_boot(&self) -> Option<Pid> {
        // 0 and below name groups of processes, which nobody must come to signal by a bad record.
        let is_one = self.pid > 0 && self.boot_id == system::boot_id();
        if is_one { Pid::from_raw(self.pid) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut ProcessIdentity), expected: bool) {
        let mut identity = ProcessIdentity::own();
        change(&mut identity);
        assert_eq!(identity.is_running(), expected, "{identity:?}");
        assert_eq!(identity.hold().unwrap().is_some(), expected, "{identity:?}");
    }

    #[test]
    fn a_reused_id_is_not_mistaken() {
        check(|_| (), true);
        check(|identity| identity.start_time += 1, false);
        check(|identity| identity.boot_id.push('x'), false);
        check(|identity| identity.pid = 0, false);
        check(|identity| identity.pid = -1, false);
        check(|identity| identity.pid = i32::MAX, false);
    }
}
