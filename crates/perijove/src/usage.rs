//! What this process itself uses.

use std::time::Duration;

/// What a process uses of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Time on processors.
    pub(crate) cpu: Duration,
    /// Bytes of memory that are there.
    pub(crate) resident: u64,
    /// Descriptors that are open.
    pub(crate) descriptors: u64,
    /// And how many may be.
    pub(crate) most_descriptors: u64,
}
