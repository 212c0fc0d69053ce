//! What only Linux offers; `portable.rs` has the same functions for other systems.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    ptr::NonNull,
};

use rustix::{
    cmsg_space,
    fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create},
    io::Errno,
    mm::{Advice, madvise},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg,
        sockopt::set_tcp_quickack,
    },
    pipe::{PipeFlags, SpliceFlags, pipe_with, splice},
    time::{ClockId, clock_gettime},
};

/// Milliseconds of a clock that never goes back, as exact as the kernel's tick (1 to 10 ms) and
/// read without a system call.
pub(crate) fn coarse_milliseconds() -> u64 {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// From now on the calling thread works when others leave it time to.
pub(crate) fn be_humble() {
    // Where this is forbidden, it works like others.
    rustix::process::setpriority_process(None, 10).ok();
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

/// A file in memory of a size that nobody can change any more.
pub(crate) fn memory_file(size: u64) -> io::Result<OwnedFd> {
    let file = memfd_create("claims", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, size)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// A file in a folder that has no name there, and is gone with its last descriptor.
pub(crate) fn unnamed_file(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        // Not every file system knows files without names.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => named_for_a_moment(folder),
        Err(error) => Err(error.into()),
    }
}

fn named_for_a_moment(folder: &Path) -> io::Result<File> {
    let mut name = [0; 8];
    getrandom::fill(&mut name).map_err(io::Error::other)?;
    let path = folder.join(format!(".{:016x}", u64::from_le_bytes(name)));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
    std::fs::remove_file(&path)?;
    Ok(file.into())
}

/// Gives memory of a shared mapping back to the system: it reads as zeros from then on.
pub(crate) fn forget_memory(start: NonNull<u8>, length: usize) -> io::Result<()> {
    #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
    // SAFETY: the caller has that piece of a mapping to itself.
    unsafe {
        madvise(start.as_ptr().cast(), length, Advice::LinuxRemove)?;
    }
    Ok(())
}

/// Receives bytes, and the descriptors that travel with them. Bytes behind some that descriptors
/// travel with are left for the next call.
pub(crate) fn receive(
    socket: impl AsFd,
    bytes: &mut [u8],
    mut descriptor: impl FnMut(OwnedFd),
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(8))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, flags)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            descriptors.for_each(&mut descriptor);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors at once"));
    }
    Ok(received.bytes)
}

/// Bytes that a TCP socket was given and that the other side has not acknowledged; 0 where that is not
/// told.
pub(crate) fn unsent(socket: impl AsFd) -> i32 {
    /// `SIOCOUTQ`; where its number is another one, the kernel does not know this one.
    const QUEUED: rustix::ioctl::Opcode = 0x5411;
    #[expect(unsafe_code, reason = "there is no safe call that tells it")]
    // SAFETY: the request writes one `int` to where its argument points.
    let question = unsafe { rustix::ioctl::Getter::<QUEUED, std::ffi::c_int>::new() };
    #[expect(unsafe_code, reason = "there is no safe call that tells it")]
    // SAFETY: as above; the socket is open for as long as it is borrowed.
    let queued = unsafe { rustix::ioctl::ioctl(socket, question) };
    queued.unwrap_or(0)
}

/// Has what has come acknowledged now rather than with the next answer.
pub(crate) fn acknowledge(socket: impl AsFd) {
    // Where this fails, the peer waits a moment longer.
    let _ = set_tcp_quickack(socket, true);
}

/// Has the calling thread wait its turn (`SCHED_BATCH`): when something comes for it, it does not
/// interrupt whoever computes on its processor, unless another one is free.
///
/// A thread that carries traffic for workers would otherwise interrupt them for each answer they
/// wait for nobody to take, and find one thing to do; this way it finds many.
pub(crate) fn wait_in_turn() -> io::Result<()> {
    #[expect(unsafe_code, reason = "the system call has no safe interface")]
    // SAFETY: all zeros is a valid value of this plain structure, and the one that is asked for.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    #[expect(unsafe_code, reason = "the system call has no safe interface")]
    // SAFETY: 0 is the calling thread; the structure lives until the call returns.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Freed memory that a thread keeps for what it will need next.
#[cfg(target_env = "gnu")]
const FREED: libc::c_int = 16 << 20;
/// Pieces of memory up to this size are taken from what was freed.
#[cfg(target_env = "gnu")]
const PIECE: libc::c_int = 1 << 20;

/// Has the allocator keep what is freed for the next request.
///
/// glibc gives back what is free at the end of a heap as soon as it is 128 KiB, which is less than
/// one body of a request: with many under way every one of them faulted its pages in again.
pub(crate) fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [(libc::M_TRIM_THRESHOLD, FREED), (libc::M_MMAP_THRESHOLD, PIECE)] {
        #[expect(unsafe_code, reason = "the allocator's settings have no safe interface")]
        // SAFETY: the two parameters take any number of bytes.
        let is_set = unsafe { libc::mallopt(parameter, value) };
        debug_assert!(is_set == 1, "the allocator refused a setting");
    }
}

/// A pipe that carries bytes from socket to socket without bringing them here.
#[derive(Debug)]
pub(crate) struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
    length: usize,
}

impl Pipe {
    pub(crate) fn new() -> io::Result<Self> {
        let (output, input) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { output, input, length: 0 })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes what has come to a socket; 0 at its end. The pipe must be empty, so that `WouldBlock`
    /// can only mean that nothing has come.
    pub(crate) fn fill(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let count = splice(socket, None, &self.input, None, PIPED, FLAGS)?;
        self.length += count;
        Ok(count)
    }

    /// Gives what it holds to a socket, as far as that takes it.
    pub(crate) fn empty_into(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let count = splice(&self.output, None, socket, None, self.length, FLAGS)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.length -= count;
        Ok(count)
    }
}

/// Bytes moved at once at most.
const PIPED: usize = 1 << 20;
const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

#[cfg(test)]
mod tests {
    #[test]
    fn a_thread_waits_its_turn_and_others_do_not() {
        // The policy is the 41st field (proc(5)), the 39th behind the name.
        let policy = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields = stat.rsplit_once(')').unwrap().1;
            fields.split_whitespace().nth(38).unwrap().to_owned()
        };
        let before = policy();
        let inside = std::thread::spawn(move || {
            super::wait_in_turn().unwrap();
            policy()
        });
        assert_eq!(inside.join().unwrap(), "3");
        assert_eq!(policy(), before);
    }
}
