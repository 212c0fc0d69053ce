//! Where control groups can be made: below the group that this program is in.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Controller, write};

/// The group below which those of others are made.
const GROUPS: &str = "perijove-groups";
/// The group that the program itself moves to, where it must not stay beside others.
const OWN: &str = "perijove";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Version {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::One => "cgroup v1",
            Self::Two => "cgroup v2",
        }
    }

    /// The file that tells how often memory ran out.
    pub(super) fn events(self) -> &'static str {
        match self {
            Self::One => "memory.oom_control",
            Self::Two => "memory.events",
        }
    }
}

/// A place for groups.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(super) version: Version,
    pub(super) folder: PathBuf,
}

impl Hierarchy {
    /// Where a controller can be used; the second version first.
    pub(super) fn find(controller: Controller) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        if let Some(folder) = second(&mounts, &own)
            && has_word(&folder.join("cgroup.subtree_control"), controller.name())
        {
            return Some(Self { version: Version::Two, folder });
        }
        let folder = first(&mounts, &own, controller.name())?;
        Some(Self { version: Version::One, folder })
    }
}

/// Makes ready what groups are made below, and moves this process out of the way: in the second
/// version a group that has others below it may have no processes. To be called at the start,
/// before there are others; with the first version there is nothing to do.
///
/// # Errors
/// When the group cannot be written, or others are in it.
pub fn settle() -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let Some(at) = position(&mounts, &own) else { return Ok(()) };
    let base = base(&at);
    let offered = fs::read_to_string(base.join("cgroup.controllers"))?;
    let wanted: Vec<String> = Controller::ALL
        .iter()
        .map(|controller| controller.name())
        .filter(|name| offered.split_whitespace().any(|offered| offered == *name))
        .map(|name| format!("+{name}"))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let wanted = wanted.join(" ");
    let control = base.join("cgroup.subtree_control");
    if write(&control, &wanted).is_err() {
        let aside = base.join(OWN);
        make(&aside)?;
        write(&aside.join("cgroup.procs"), "0")?;
        if let Err(error) = write(&control, &wanted) {
            // Others are there, too: back to them.
            write(&base.join("cgroup.procs"), "0")?;
            fs::remove_dir(&aside)?;
            return Err(error);
        }
    }
    let groups = base.join(GROUPS);
    make(&groups)?;
    write(&groups.join("cgroup.subtree_control"), &wanted)
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The folder for groups of the second version, which [`settle`] has made.
fn second(mounts: &str, own: &str) -> Option<PathBuf> {
    let groups = base(&position(mounts, own)?).join(GROUPS);
    groups.is_dir().then_some(groups)
}

/// The group this process is in, or the one above it when it has moved aside.
fn base(at: &Path) -> PathBuf {
    let above = at.parent().filter(|above| at.ends_with(OWN) && above.join(GROUPS).is_dir());
    above.unwrap_or(at).to_owned()
}

/// Where the second version shows the group that this process is in.
fn position(mounts: &str, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let mount = Mount::read(line).filter(|mount| mount.kind == "cgroup2")?;
        mount.shows(path)
    })
}

/// Where the first version shows the group that this process is in, for a controller.
fn first(mounts: &str, own: &str, controller: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        fields.next()?.split(',').any(|name| name == controller).then(|| fields.next())?
    })?;
    mounts.lines().find_map(|line| {
        let mount = Mount::read(line).filter(|mount| mount.kind == "cgroup")?;
        mount.options.split(',').any(|name| name == controller).then(|| mount.shows(path))?
    })
}

fn has_word(file: &Path, word: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|known| known == word))
}

/// A line of `/proc/self/mountinfo` (proc(5)).
struct Mount<'a> {
    root: &'a str,
    place: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (first, second) = line.split_once(" - ")?;
        let mut fields = first.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        let mut fields = second.split(' ');
        let kind = fields.next()?;
        Some(Self { root, place, kind, options: fields.nth(1)? })
    }

    /// Where a group lies here; none when it is not below what is mounted.
    fn shows(&self, group: &str) -> Option<PathBuf> {
        let below = Path::new(group).strip_prefix(self.root).ok()?;
        Some(Path::new(self.place).join(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
37 31 0:34 /docker/ab /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
";
    const OWN: &str = "\
5:cpu,cpuacct:/a
4:memory:/docker/ab/c
3:pids:/a
0::/system.slice/perijove.service
";

    #[test]
    fn the_group_of_a_process_is_found() {
        let check = |controller, expected: Option<&str>| {
            assert_eq!(first(MOUNTS, OWN, controller), expected.map(PathBuf::from), "{controller}");
        };
        check("cpu", Some("/sys/fs/cgroup/cpu,cpuacct/a"));
        check("memory", Some("/sys/fs/cgroup/memory/c"));
        check("pids", None);
        let second = position(MOUNTS, OWN).unwrap();
        assert_eq!(second, Path::new("/sys/fs/cgroup/unified/system.slice/perijove.service"));
        assert_eq!(position(MOUNTS, "1:cpu:/"), None);
        assert_eq!(position("", OWN), None);
    }

    #[test]
    fn whoever_moved_aside_is_below_the_base() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("perijove");
        fs::create_dir(&own).unwrap();
        assert_eq!(base(&own), own);
        fs::create_dir(folder.path().join(GROUPS)).unwrap();
        assert_eq!(base(&own), folder.path());
        assert_eq!(base(folder.path()), folder.path());
    }
}
