//! Limits of a child that the kernel enforces: resource limits now; control groups and Landlock
//! take their place here when they come.

use rustix::process::{Resource, Rlimit, getrlimit};
use serde::{Deserialize, Serialize};

/// What a child and its descendants may use, each process by itself; `None`: as the parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Open descriptors.
    pub open_files: Option<u64>,
    /// Processes and threads of the child's account, counted over the whole machine.
    pub processes: Option<u64>,
    /// Bytes of address space.
    pub address_space: Option<u64>,
    /// Bytes of a file it writes.
    pub file_size: Option<u64>,
    /// Bytes of a core dump.
    pub core: Option<u64>,
    /// Seconds of CPU time.
    pub cpu_time: Option<u64>,
}

impl Limits {
    /// The calls to make in the child. A value beyond what this process may set is lowered to it:
    /// a limit that cannot be loosened must not keep a child from starting.
    pub(crate) fn calls(&self) -> Vec<(Resource, Rlimit)> {
        [
            (Resource::Nofile, self.open_files),
            (Resource::Nproc, self.processes),
            (Resource::As, self.address_space),
            (Resource::Fsize, self.file_size),
            (Resource::Core, self.core),
            (Resource::Cpu, self.cpu_time),
        ]
        .into_iter()
        .filter_map(|(resource, value)| Some((resource, value?)))
        .map(|(resource, value)| {
            let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let value = Some(value.min(most));
            (resource, Rlimit { current: value, maximum: value })
        })
        .collect()
    }
}
