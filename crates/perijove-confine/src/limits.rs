//! Resource limits, which the kernel keeps for each process by itself.

use rustix::process::{Resource, Rlimit, getrlimit};
use serde::{Deserialize, Serialize};

/// What a process and its descendants may use, each by itself; `None`: as before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Open descriptors.
    pub open_files: Option<u64>,
    /// Processes and threads of the account, counted over the whole machine.
    pub processes: Option<u64>,
    /// Bytes of address space, which many programs reserve without using it.
    pub address_space: Option<u64>,
    /// Bytes of memory of its own that it may write to (since Linux 4.7 not the heap alone).
    pub data: Option<u64>,
    /// Bytes of a file it writes.
    pub file_size: Option<u64>,
    /// Bytes of a core dump.
    pub core: Option<u64>,
    /// Seconds of CPU time.
    pub cpu_time: Option<u64>,
}

impl Limits {
    /// The calls to make. A value beyond what this process may set is lowered to it:
    /// a limit that cannot be loosened must not keep a process from starting.
    pub(crate) fn calls(&self) -> Vec<(Resource, Rlimit)> {
        [
            (Resource::Nofile, self.open_files),
            (Resource::Nproc, self.processes),
            (Resource::As, self.address_space),
            (Resource::Data, self.data),
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
