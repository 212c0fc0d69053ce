//! What stands in for Linux's own calls elsewhere.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
};

/// A file of so many zeros that has no name any more.
pub(crate) fn memory_file(length: u64) -> io::Result<OwnedFd> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let name = format!("perijove-{:032x}", u128::from_be_bytes(bytes));
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    file.set_len(length)?;
    Ok(file.into())
}

/// Nobody tells here.
pub(crate) fn available_memory() -> Option<u64> {
    None
}

/// Bytes of memory that more processes may use: not known.
pub(crate) fn memory() -> Option<u64> {
    None
}
