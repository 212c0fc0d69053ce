//! What a process and its descendants use: memory, and time on processors.

use std::{ops::AddAssign, time::Duration};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::Pid,
};

use crate::system;

/// Processes that are looked at: more would be a fork bomb, whose size does not matter.
const MOST: usize = 4096;

/// What a process and its descendants use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in bytes; what several share is counted for each.
    pub memory: u64,
    /// Time on processors since the start, of descendants that have ended too.
    pub cpu: Duration,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.memory += other.memory;
        self.cpu += other.cpu;
    }
}

impl Usage {
    /// Of the process with this id and all that stem from it; `None` when there is none, or where
    /// the operating system does not tell.
    pub fn of(pid: u32) -> Option<Self> {
        let first = system::process(process_id(pid)?)
            .filter(|process| process.ticks > 0 || process.pages > 0)?;
        let mut usage = of_one(&first);
        for pid in descendants(first.pid) {
            usage += system::process(pid).map(|process| of_one(&process)).unwrap_or_default();
        }
        Some(usage)
    }

    /// Of the process with this id alone.
    pub fn alone(pid: u32) -> Option<Self> {
        system::process(process_id(pid)?).map(|process| of_one(&process))
    }

    /// Resident memory in bytes of such a family, where what is shared is divided among those who
    /// share it. It costs milliseconds; `None` where nobody tells.
    pub fn proportional_memory(pid: u32) -> Option<u64> {
        let pid = process_id(pid)?;
        let own = system::proportional(pid)?;
        Some(own + descendants(pid).into_iter().filter_map(system::proportional).sum::<u64>())
    }
}

fn process_id(pid: u32) -> Option<Pid> {
    Pid::from_raw(pid.cast_signed())
}

fn of_one(process: &system::Process) -> Usage {
    let ticks = process.ticks * 1000 / clock_ticks_per_second().max(1);
    Usage {
        memory: process.pages * u64::try_from(page_size()).unwrap_or(4096),
        cpu: Duration::from_millis(ticks),
    }
}

fn descendants(pid: Pid) -> Vec<Pid> {
    let mut found = system::children(pid);
    let mut at = 0;
    while let Some(next) = found.get(at).copied().filter(|_| at < MOST) {
        found.extend(system::children(next));
        at += 1;
    }
    found
}
