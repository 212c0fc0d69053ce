//! What only Linux offers; `portable.rs` has the same functions for other systems.

use std::{fs::File, io, os::fd::AsFd};

use rustix::{
    net::SendFlags,
    time::{ClockId, clock_gettime},
};

/// Milliseconds of a clock that never goes back, as exact as the kernel's tick (1 to 10 ms) and
/// read without a system call.
pub(crate) fn coarse_milliseconds() -> u64 {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Sends bytes that others will follow at once, so that the kernel puts them in one packet.
pub(crate) fn send_more(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
}

/// Sends a piece of a file without carrying it through this process; 0 at the file's end.
pub(crate) fn send_file(
    socket: impl AsFd,
    file: &File,
    offset: &mut u64,
    length: usize,
) -> io::Result<usize> {
    Ok(rustix::fs::sendfile(socket, file, Some(offset), length)?)
}
