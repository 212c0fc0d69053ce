//! What stands in for Linux's own calls elsewhere: less exact, and said so at each.

use std::{env, ffi::CStr, io, path::PathBuf, time::Duration};

use rustix::{
    process::{Pid, Signal, kill_process, test_kill_process},
    time::{ClockId, clock_gettime},
};

/// Nobody tells a child of its parent's death here: children watch their standard input instead.
pub(crate) fn die_with(_parent: Pid, _signal: Signal) -> io::Result<()> {
    Ok(())
}

/// Relies on each descriptor's own flag, which Rust sets on all it opens.
pub(crate) fn close_on_exec_from(_first: u32) {}

/// Orphans go to the first process here, so that a guardian only ends what it finds in its
/// server's session.
pub(crate) fn become_subreaper() -> io::Result<()> {
    Ok(())
}

pub(crate) fn set_name(_name: &CStr) {}

pub(crate) fn own_executable() -> io::Result<PathBuf> {
    env::current_exe()
}

pub(crate) fn boot_id() -> String {
    String::new()
}

/// Suspension is not counted here.
pub(crate) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// What is known of a process here: that its id is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) parent: Option<Pid>,
    pub(crate) start_time: u64,
    pub(crate) is_zombie: bool,
    pub(crate) ticks: u64,
    pub(crate) pages: u64,
}

/// One process; a reused id is not told apart here.
pub(crate) fn process(pid: Pid) -> Option<Process> {
    test_kill_process(pid).ok()?;
    Some(Process { pid, parent: None, start_time: 0, is_zombie: false, ticks: 0, pages: 0 })
}

/// There is no table to read here.
pub(crate) fn processes() -> Vec<Process> {
    Vec::new()
}

/// Nobody tells here before the process is waited for.
pub(crate) async fn until_zombie(_pid: Pid) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is no table to read here.
pub(crate) fn children(_pid: Pid) -> Vec<Pid> {
    Vec::new()
}

/// Nobody tells here.
pub(crate) fn proportional(_pid: Pid) -> Option<u64> {
    None
}

/// A process by its id alone.
#[derive(Debug)]
pub(crate) struct Held(Pid);

impl Held {
    pub(crate) fn open(pid: Pid, _start_time: u64) -> io::Result<Option<Self>> {
        Ok(process(pid).map(|_| Self(pid)))
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match kill_process(self.0, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks twice a second: without a process descriptor there is no event to wait for.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        while process(self.0).is_some() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }
}
