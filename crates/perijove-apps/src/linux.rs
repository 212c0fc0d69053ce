//! What only Linux can: files that are only in memory, and how much memory there is.

use std::{fs, io, os::fd::OwnedFd, path::Path};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

/// A file of so many zeros that has no name.
pub(crate) fn memory_file(length: u64) -> io::Result<OwnedFd> {
    let file = memfd_create(c"perijove-claims", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, length)?;
    Ok(file)
}

/// Bytes of memory that this program and its children may still take: what the machine has
/// available, or what the nearest limit of a control group leaves, whichever is less.
pub(crate) fn available_memory() -> Option<u64> {
    let of_machine = available(&fs::read_to_string("/proc/meminfo").ok()?);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = group(&own).into_iter().flat_map(|own| {
        let root = Path::new("/sys/fs/cgroup");
        let own = root.join(own.trim_start_matches('/'));
        own.ancestors().take_while(|path| path.starts_with(root)).map(left).collect::<Vec<_>>()
    });
    groups.chain([of_machine]).flatten().min()
}

/// `MemAvailable` of `/proc/meminfo` (proc(5)).
fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// The one of version 2 in `/proc/self/cgroup` (cgroups(7)).
fn group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// What a control group's limit leaves; pages of files that nobody has used of late do not count.
fn left(folder: &Path) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok()
    };
    // Without a limit it says `max`.
    let (limit, used) = (number("memory.max")?, number("memory.current")?);
    let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let idle = statistics.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let idle = idle.and_then(|idle| idle.parse::<u64>().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(idle)))
}

/// Bytes of memory that more processes may use: what the machine has left, or the least limit of
/// the control groups we are in (their version 1 or 2).
pub(crate) fn memory() -> Option<u64> {
    least(|path| fs::read_to_string(path).ok())
}

fn least(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let left = read("/proc/meminfo").and_then(|text| available(&text));
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(limit_of).flat_map(|(mount, file, group)| {
        // Inside of a container the path may be the outside's; its own group is the mount then.
        let above = Path::new(group).ancestors().filter_map(Path::to_str);
        above.map(move |group| format!("{mount}{}/{file}", group.trim_end_matches('/')))
    });
    // A group without a limit says `max`, or a number beyond all memory.
    let limits = limits.filter_map(|path| read(&path)?.trim().parse().ok());
    limits.chain(left).min()
}

/// Where the limit of a line of `/proc/self/cgroup` is: the mount, the file, the group.
fn limit_of(line: &str) -> Option<(&'static str, &'static str, &str)> {
    let mut fields = line.splitn(3, ':').skip(1);
    match (fields.next()?, fields.next()?) {
        ("", group) => Some(("/sys/fs/cgroup", "memory.max", group)),
        (kinds, group) if kinds.split(',').any(|kind| kind == "memory") => {
            Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", group))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_available_memory_is_read() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    7 kB\n"), Some(7168));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert_eq!(
            group("1:memory:/x\n0::/system.slice/site.service\n"),
            Some("/system.slice/site.service")
        );
        assert!(available_memory().is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn a_limit_leaves_what_is_not_used() {
        let check = |files: &[(&str, &str)], expected| {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                fs::write(folder.path().join(name), text).unwrap();
            }
            assert_eq!(left(folder.path()), expected, "{files:?}");
        };
        let current = ("memory.current", "900\n");
        check(&[], None);
        check(&[("memory.max", "max\n"), current], None);
        check(&[("memory.max", "1000\n"), current], Some(100));
        let idle = ("memory.stat", "anon 5\ninactive_file 300\n");
        check(&[("memory.max", "1000\n"), current, idle], Some(400));
        check(&[("memory.max", "100\n"), current], Some(0));
    }

    fn check(files: &[(&str, &str)], expected: Option<u64>) {
        let read = |path: &str| {
            files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
        };
        assert_eq!(least(read), expected, "{files:?}");
    }

    #[test]
    fn the_least_of_what_is_left_and_what_is_allowed() {
        let left = ("/proc/meminfo", "MemTotal:  9 kB\nMemAvailable:  8 kB\n");
        check(&[], None);
        check(&[left], Some(8192));
        let two = ("/proc/self/cgroup", "0::/a/b\n");
        check(&[left, two, ("/sys/fs/cgroup/a/b/memory.max", "max\n")], Some(8192));
        check(&[left, two, ("/sys/fs/cgroup/a/b/memory.max", "4096\n")], Some(4096));
        check(&[left, two, ("/sys/fs/cgroup/a/memory.max", "2048\n")], Some(2048));
        check(&[left, two, ("/sys/fs/cgroup/memory.max", "1024\n")], Some(1024));
        let one = ("/proc/self/cgroup", "5:cpu,memory:/a\n4:pids:/x\n");
        let limit = "/sys/fs/cgroup/memory/a/memory.limit_in_bytes";
        check(&[left, one, (limit, "4096\n")], Some(4096));
        check(&[left, one, (limit, "9223372036854771712\n")], Some(8192));
    }
}
