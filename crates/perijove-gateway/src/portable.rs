//! What `linux.rs` does, by means that every Unix has.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt},
    sync::OnceLock,
    time::Instant,
};

use rustix::net::SendFlags;

pub(crate) fn coarse_milliseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let passed = START.get_or_init(Instant::now).elapsed().as_millis();
    u64::try_from(passed).unwrap_or(u64::MAX)
}

pub(crate) fn send_more(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::empty())?)
}

pub(crate) fn send_file(
    socket: impl AsFd,
    file: &File,
    offset: &mut u64,
    length: usize,
) -> io::Result<usize> {
    let mut piece = vec![0; length.min(64 << 10)];
    let read = file.read_at(&mut piece, *offset)?;
    let sent =
        rustix::net::send(socket, piece.get(..read).unwrap_or_default(), SendFlags::empty())?;
    *offset += sent as u64;
    Ok(sent)
}
