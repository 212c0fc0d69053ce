//! What only Linux can: files that are only in memory.

use std::{io, os::fd::OwnedFd};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

/// A file of so many zeros that has no name.
pub(crate) fn memory_file(length: u64) -> io::Result<OwnedFd> {
    let file = memfd_create(c"perijove-claims", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, length)?;
    Ok(file)
}
