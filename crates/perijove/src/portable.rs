//! What other systems than Linux do not tell.

use std::{
    io,
    os::{
        fd::{OwnedFd, RawFd},
        unix::net::{SocketAddr, UnixStream},
    },
};

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

/// Programs take over from each other on Linux only.
pub(crate) fn take_stream(_number: RawFd) -> Option<UnixStream> {
    None
}

pub(crate) fn abstract_address(_name: &str) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// No service manager compares.
pub(crate) fn monotonic_microseconds() -> i64 {
    0
}
