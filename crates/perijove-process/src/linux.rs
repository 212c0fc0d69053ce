//! What only Linux can: parents' deaths, subreapers, process descriptors, `/proc`.

use std::{
    ffi::CStr,
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use rustix::{
    process::{
        Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, pidfd_send_signal,
        set_child_subreaper, set_parent_process_death_signal,
    },
    time::{ClockId, clock_gettime},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Has this process get a signal when its parent ends. Called between fork and exec.
pub(crate) fn die_with(parent: Pid, signal: Signal) -> io::Result<()> {
    set_parent_process_death_signal(Some(signal))?;
    // The parent may have ended before the call: then no signal will come.
    if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

/// Has exec close every descriptor from `first` on. A kernel without the call (before 5.11)
/// relies on each descriptor's own flag, which Rust sets on all it opens.
pub(crate) fn close_on_exec_from(first: u32) {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: the call takes plain numbers and touches no memory.
    #[expect(unsafe_code, reason = "no safe wrapper, and libc's needs a newer C library")]
    unsafe {
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC);
    }
}

/// Descendants whose parent ends become children of this process.
pub(crate) fn become_subreaper() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// The name in process lists.
pub(crate) fn set_name(name: &CStr) {
    // Only for people who look: a failure changes nothing.
    rustix::thread::set_name(name).ok();
}

/// This very program, even when its file was replaced meanwhile.
pub(crate) fn own_executable() -> io::Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { Ok(own) } else { std::env::current_exe() }
}

/// Differs after every start of the machine.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Time since the machine started, suspension included.
pub(crate) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// A line of the table of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) parent: Option<Pid>,
    /// In ticks since the machine started.
    pub(crate) start_time: u64,
    /// Ended, but not waited for.
    pub(crate) is_zombie: bool,
    /// Time on processors in ticks, that of children which were waited for included.
    pub(crate) ticks: u64,
    /// Memory that is resident, in pages.
    pub(crate) pages: u64,
}

/// One process; `None` when there is none with this id.
pub(crate) fn process(pid: Pid) -> Option<Process> {
    parse_stat(pid, &fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
}

/// All processes that can be seen.
pub(crate) fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter_map(process)
        .collect()
}

/// Reads `/proc/PID/stat` (proc(5)): the name in the second field may hold anything, so what
/// follows is counted from the last parenthesis.
fn parse_stat(pid: Pid, stat: &[u8]) -> Option<Process> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let mut fields = fields.skip(9).map(|field| field.parse::<u64>().ok());
    let mut ticks = 0;
    for _ in 0..4 {
        ticks += fields.next()??;
    }
    let start_time = fields.nth(4)??;
    let pages = fields.nth(1)??;
    let is_zombie = matches!(state, "Z" | "X" | "x");
    Some(Process { pid, parent: Pid::from_raw(parent), start_time, is_zombie, ticks, pages })
}

/// The processes that are children of one now.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())) else {
        return Vec::new();
    };
    let of_thread = |thread: io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(thread.ok()?.path().join("children")).ok()?;
        let pids = text.split_ascii_whitespace();
        Some(pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect::<Vec<_>>())
    };
    threads.filter_map(of_thread).flatten().collect()
}

/// Resident memory in bytes, what is shared divided among those who share it. Slow: the kernel
/// looks at every page.
pub(crate) fn proportional(pid: Pid) -> Option<u64> {
    let path = format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero());
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// A process that cannot be mistaken for a later one with the same id.
#[derive(Debug)]
pub(crate) struct Held(OwnedFd);

/// Waits until a child has ended, and leaves it to be waited for.
pub(crate) async fn until_zombie(pid: Pid) -> io::Result<()> {
    Held(pidfd_open(pid, PidfdFlags::NONBLOCK)?).ended().await
}

impl Held {
    /// Holds the process with this id and start time; `None` when it is gone.
    pub(crate) fn open(pid: Pid, start_time: u64) -> io::Result<Option<Self>> {
        let descriptor = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Looked at after opening: if it is the right one now, it was then.
        let is_same = process(pid).is_some_and(|process| process.start_time == start_time);
        Ok(is_same.then_some(Self(descriptor)))
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.0, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        // SAFETY: the descriptor is borrowed from `self`, which outlives the registration.
        #[expect(unsafe_code, reason = "a borrowed descriptor is open as long as it is watched")]
        let watched =
            unsafe { AsyncFd::register_with_interest(self.0.as_fd(), Interest::READABLE) }?;
        watched.readable().await?.retain_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stat: &str, expected: Option<(i32, u64, bool)>) {
        let parsed = parse_stat(getpid(), stat.as_bytes());
        assert!(parsed.is_none_or(|process| (process.ticks, process.pages) == (10, 8)));
        let got = parsed
            .map(|process| (Pid::as_raw(process.parent), process.start_time, process.is_zombie));
        assert_eq!(got, expected, "{stat}");
    }

    #[test]
    fn the_table_of_processes_is_read_whatever_a_name_holds() {
        check("7 (sh) S 3 7 7 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 4711 9 8", Some((3, 4711, false)));
        check("7 (a) Z 9) R 0 7 7 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 12 9 8", Some((0, 12, false)));
        check("7 (x) Z 3 7 7 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 4711 9 8", Some((3, 4711, true)));
        check("", None);
        check("7 (sh", None);
        check("7 (sh) S", None);
    }
}
