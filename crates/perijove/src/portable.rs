//! What other systems than Linux do not tell.

use std::os::fd::OwnedFd;

use crate::usage::Usage;

/// Nobody tells who holds a port.
pub(crate) fn holder_of(_port: u16) -> Option<String> {
    None
}

/// Sockets are handed over by systemd only.
pub(crate) fn take_inherited(_count: u16) -> Vec<OwnedFd> {
    Vec::new()
}

/// Nobody tells, in a way that is the same everywhere.
pub(crate) fn own_usage() -> Option<Usage> {
    None
}
