//! Control groups: what a process and all that stems from it may use together (cgroups(7)).

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use crate::Limits;

mod hierarchy;

pub use hierarchy::settle;
use hierarchy::{Hierarchy, Version};

/// What is wanted of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// One part of a path, told from all others on this machine.
    pub name: String,
    /// Bytes.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpu: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}

/// What keeps each limit: "cgroup v2", or what took its place.
pub type InForce = BTreeMap<String, String>;

/// A group that was made; its folders are removed when it is dropped, and nobody is in it.
#[derive(Debug)]
pub(crate) struct Kept {
    folders: Vec<PathBuf>,
    /// Tells how often memory ran out.
    events: Option<PathBuf>,
}

/// One of the things that are limited, as the kernel calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    /// As the settings call it.
    fn setting(self) -> &'static str {
        match self {
            Self::Pids => "processes",
            other => other.name(),
        }
    }
}

/// Which version of control groups would keep a limit here; `None` when none can be written.
pub fn writable() -> Option<&'static str> {
    let hierarchy = Hierarchy::find(Controller::Memory)?;
    access(&hierarchy.folder, Access::WRITE_OK).ok()?;
    Some(hierarchy.version.as_str())
}

impl Group {
    fn limit(&self, controller: Controller) -> Option<u64> {
        match controller {
            Controller::Memory => self.memory,
            Controller::Cpu => self.cpu,
            Controller::Pids => self.processes,
        }
    }

    /// Makes the group as far as that can be done here. What it cannot keep, limits of single
    /// processes do as far as they can: `for_account` when those count one account's.
    pub(crate) fn make(&self, limits: &mut Limits, for_account: bool) -> (Kept, InForce) {
        let mut kept = Kept { folders: Vec::new(), events: None };
        let mut in_force = InForce::new();
        for controller in Controller::ALL {
            let Some(limit) = self.limit(controller) else { continue };
            let made = self.make_one(controller, limit, &mut kept);
            let keeper = made.map_or_else(
                |_| instead(controller, limit, limits, for_account).to_owned(),
                |version| version.as_str().to_owned(),
            );
            in_force.insert(controller.setting().to_owned(), keeper);
        }
        (kept, in_force)
    }

    fn make_one(&self, controller: Controller, limit: u64, kept: &mut Kept) -> io::Result<Version> {
        let hierarchy = Hierarchy::find(controller).ok_or(io::ErrorKind::Unsupported)?;
        let folder = hierarchy.folder.join(&self.name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !kept.folders.contains(&folder) {
            kept.folders.push(folder.clone());
        }
        for (file, value, is_needed) in files(controller, hierarchy.version, limit) {
            let written = write(&folder.join(file), &value);
            if is_needed {
                written?;
            }
        }
        if controller == Controller::Memory {
            kept.events = Some(folder.join(hierarchy.version.events()));
        }
        Ok(hierarchy.version)
    }
}

/// The files of a controller, what is written to each, and whether it must be there.
fn files(
    controller: Controller,
    version: Version,
    limit: u64,
) -> Vec<(&'static str, String, bool)> {
    const PERIOD: u64 = 100_000;
    let quota = (limit.saturating_mul(PERIOD) / 1000).max(1000);
    let all = limit.to_string();
    match (controller, version) {
        (Controller::Memory, Version::Two) => vec![
            ("memory.max", all, true),
            // Where a disk takes the place of memory, everybody waits for one.
            ("memory.swap.max", "0".to_owned(), false),
            // One process is ended, not all of them.
            ("memory.oom.group", "0".to_owned(), false),
        ],
        (Controller::Memory, Version::One) => vec![
            // A group that is there already may have a lower one.
            ("memory.memsw.limit_in_bytes", "-1".to_owned(), false),
            ("memory.limit_in_bytes", all.clone(), true),
            ("memory.memsw.limit_in_bytes", all, false),
        ],
        (Controller::Cpu, Version::Two) => vec![("cpu.max", format!("{quota} {PERIOD}"), true)],
        (Controller::Cpu, Version::One) => vec![
            ("cpu.cfs_period_us", PERIOD.to_string(), true),
            ("cpu.cfs_quota_us", quota.to_string(), true),
        ],
        (Controller::Pids, _) => vec![("pids.max", all, true)],
    }
}

/// What does instead of a group.
fn instead(
    controller: Controller,
    limit: u64,
    limits: &mut Limits,
    for_account: bool,
) -> &'static str {
    match controller {
        Controller::Memory => {
            limits.data = Some(limit);
            "each process by itself"
        }
        // Counted over the account, which others may share.
        Controller::Pids if for_account => {
            limits.processes = Some(limit);
            "the account"
        }
        Controller::Pids | Controller::Cpu => "nothing: there is no control group",
    }
}

impl Kept {
    /// What a process writes `0` to so that it joins.
    pub(crate) fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |folder: &PathBuf| {
            let door = OpenOptions::new().write(true).open(folder.join("cgroup.procs"))?;
            Ok(OwnedFd::from(door))
        };
        self.folders.iter().map(open).collect()
    }

    /// Takes in a process that has begun nothing yet.
    pub(crate) fn take(&self, pid: i32) -> io::Result<()> {
        for door in self.doors()? {
            File::from(door).write_all(pid.to_string().as_bytes())?;
        }
        Ok(())
    }

    /// How many processes were ended since it was made, because memory ran out.
    pub(crate) fn ended_for_memory(&self) -> Option<u64> {
        let text = fs::read_to_string(self.events.as_ref()?).ok()?;
        count_of_kills(&text)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for folder in &self.folders {
            // Not while somebody is in it, who could not be killed.
            fs::remove_dir(folder).ok();
        }
    }
}

fn count_of_kills(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    // Never made: what is not there, the kernel does not know.
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_memory_ran_out_is_read() {
        let check = |text, expected| assert_eq!(count_of_kills(text), expected, "{text}");
        check("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n", Some(2));
        check("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", Some(7));
        check("oom_kill_disable 0\n", None);
    }

    #[test]
    fn what_no_group_keeps_limits_of_processes_do() {
        let check = |controller, for_account, expected: &str, data, processes| {
            let mut limits = Limits::default();
            assert_eq!(instead(controller, 99, &mut limits, for_account), expected);
            assert_eq!((limits.data, limits.processes), (data, processes));
        };
        let nothing = "nothing: there is no control group";
        check(Controller::Memory, false, "each process by itself", Some(99), None);
        check(Controller::Pids, true, "the account", None, Some(99));
        check(Controller::Pids, false, nothing, None, None);
        check(Controller::Cpu, true, nothing, None, None);
    }
}
