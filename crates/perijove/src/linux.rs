//! What only Linux tells: who holds a port, and which sockets were handed over at the start.

use std::{
    fs, io,
    os::{
        fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd},
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixStream},
    },
    path::Path,
    time::Duration,
};

use crate::usage::Usage;

/// The process that listens on a TCP port, as `name (process 7)`, where it may be known.
pub(crate) fn holder_of(port: u16) -> Option<String> {
    let sockets = listening_on(port);
    let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.parse::<u32>().ok()
    });
    for process in processes {
        let folder = format!("/proc/{process}");
        if holds_one(&folder, &sockets) {
            let name = fs::read_to_string(format!("{folder}/comm")).unwrap_or_default();
            return Some(format!("{} (process {process})", name.trim()));
        }
    }
    None
}

/// The inodes of the sockets that listen on a port.
fn listening_on(port: u16) -> Vec<String> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|table| table.lines().filter_map(|line| inode_at(line, port)).collect::<Vec<_>>())
        .collect()
}

/// The inode in a line of `/proc/net/tcp` if it listens on the port.
fn inode_at(line: &str, port: u16) -> Option<String> {
    const LISTENING: &str = "0A";
    let mut columns = line.split_whitespace();
    let local = columns.nth(1)?;
    let state = columns.nth(1)?;
    let inode = columns.nth(5)?;
    let here = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (state == LISTENING && here == port).then(|| inode.to_owned())
}

fn holds_one(process: &str, sockets: &[String]) -> bool {
    fs::read_dir(Path::new(process).join("fd")).is_ok_and(|descriptors| {
        descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|link| {
                let link = link.to_string_lossy();
                let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
                inode.is_some_and(|inode| sockets.iter().any(|socket| socket == inode))
            })
        })
    })
}

/// The first descriptor that a service manager hands over.
const FIRST: RawFd = 3;

/// Takes the sockets that were handed over by `LISTEN_FDS`. To be called once, before anything else
/// opens a descriptor.
pub(crate) fn take_inherited(count: u16) -> Vec<OwnedFd> {
    (FIRST..FIRST + RawFd::from(count)).filter_map(take).collect()
}

fn take(number: RawFd) -> Option<OwnedFd> {
    if fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
        return None;
    }
    #[expect(unsafe_code, reason = "a descriptor that is handed over is only a number")]
    // SAFETY: it is open, as was just seen, and by the protocol of `LISTEN_FDS` it was handed over
    // to this process to own; nobody else in it knows the number.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    let is_listening = rustix::net::sockopt::socket_acceptconn(&descriptor).unwrap_or(false);
    if !is_listening {
        // The number may be one of ours then: it stays open.
        let _: RawFd = descriptor.into_raw_fd();
        return None;
    }
    // Children must not inherit it.
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(descriptor)
}

/// What this process uses.
pub(crate) fn own_usage() -> Option<Usage> {
    use rustix::process::{Resource, getrlimit};
    use rustix::time::{ClockId, clock_gettime};
    let pages: u64 =
        fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let nanoseconds = u32::try_from(cpu.tv_nsec).unwrap_or_default();
    Some(Usage {
        cpu: Duration::new(cpu.tv_sec.unsigned_abs(), nanoseconds),
        resident: pages * rustix::param::page_size() as u64,
        // The one that looks is counted too.
        descriptors: fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64,
        most_descriptors: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
    })
}

/// Takes a connected Unix socket that was handed over under a number, if it is one.
pub(crate) fn take_stream(number: RawFd) -> Option<UnixStream> {
    let link = fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
    if number < FIRST || !link.as_os_str().as_encoded_bytes().starts_with(b"socket:") {
        return None;
    }
    #[expect(unsafe_code, reason = "a descriptor that is handed over is only a number")]
    // SAFETY: it is open, as was just seen, and the variable that names it says that it was handed
    // over to this process to own; nobody else in it knows the number.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(descriptor.into())
}

/// An address without a file.
pub(crate) fn abstract_address(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

/// Microseconds of the clock that service managers compare by.
pub(crate) fn monotonic_microseconds() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

#[cfg(test)]
mod tests {
    use super::{holder_of, inode_at};

    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holder = holder_of(port).unwrap();
        assert!(holder.contains(&std::process::id().to_string()), "{holder}");
        drop(listener);
        assert_eq!(holder_of(port), None);
    }

    #[test]
    fn lines_of_the_table_are_read() {
        let line = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0";
        assert_eq!(inode_at(line, 8000).as_deref(), Some("12345"));
        assert_eq!(inode_at(line, 8001), None);
        assert_eq!(inode_at(&line.replace(" 0A ", " 01 "), 8000), None);
        assert_eq!(inode_at("  sl  local_address rem_address", 8000), None);
    }
}
