//! What `linux.rs` does, by means that every Unix has.

use std::{
    fs::{File, OpenOptions, remove_file},
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::Path,
    process,
    ptr::NonNull,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use rustix::{
    cmsg_space,
    io::{FdFlags, fcntl_setfd},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg},
};

pub(crate) fn coarse_milliseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let passed = START.get_or_init(Instant::now).elapsed().as_millis();
    u64::try_from(passed).unwrap_or(u64::MAX)
}

/// Elsewhere a priority is that of the whole process: nothing is done.
pub(crate) fn be_humble() {}

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

pub(crate) fn memory_file(size: u64) -> io::Result<OwnedFd> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = format!("/tmp/perijove-claims-{}-{number}", process::id());
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    remove_file(&path)?;
    file.set_len(size)?;
    Ok(file.into())
}

pub(crate) fn unnamed_file(folder: &Path) -> io::Result<File> {
    let mut name = [0; 8];
    getrandom::fill(&mut name).map_err(io::Error::other)?;
    let path = folder.join(format!(".{:016x}", u64::from_le_bytes(name)));
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    remove_file(&path)?;
    Ok(file)
}

pub(crate) fn forget_memory(_: NonNull<u8>, _: usize) -> io::Result<()> {
    Ok(())
}

pub(crate) fn receive(
    socket: impl AsFd,
    bytes: &mut [u8],
    mut descriptor: impl FnMut(OwnedFd),
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(8))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(bytes)];
    let received = recvmsg(socket, parts, &mut ancillary, RecvFlags::empty())?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            for each in descriptors {
                fcntl_setfd(&each, FdFlags::CLOEXEC)?;
                descriptor(each);
            }
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors at once"));
    }
    Ok(received.bytes)
}

pub(crate) fn unsent(_: impl AsFd) -> i32 {
    0
}

pub(crate) fn wait_in_turn() -> io::Result<()> {
    Ok(())
}

pub(crate) fn acknowledge(_: impl AsFd) {}

pub(crate) fn keep_freed_memory() {}

/// A buffer in place of a pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    bytes: Vec<u8>,
    start: usize,
}

impl Pipe {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { bytes: Vec::new(), start: 0 })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(crate) fn fill(&mut self, socket: impl AsFd) -> io::Result<usize> {
        self.bytes.resize(64 << 10, 0);
        self.start = 0;
        let (_, count) = rustix::net::recv(socket, &mut *self.bytes, RecvFlags::DONTWAIT)
            .inspect_err(|_| self.bytes.clear())?;
        self.bytes.truncate(count);
        Ok(count)
    }

    pub(crate) fn empty_into(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let count = rustix::net::send(socket, rest, SendFlags::empty())?;
        self.start += count;
        Ok(count)
    }
}
