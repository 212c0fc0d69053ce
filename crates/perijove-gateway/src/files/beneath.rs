//! Opens what lies below a folder, and nothing else, wherever links point.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

/// Milliseconds after which it is looked whether the folder's path leads elsewhere now.
const LOOK_AGAIN: u64 = 1000;
/// Links on the way to one file, as the kernel counts them.
const MOST_LINKS: usize = 40;

/// A folder that stays the same whatever happens below it, until its own path leads elsewhere: a
/// link to the current release may be turned at any time.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    root: ArcSwapOption<Root>,
}

#[derive(Debug)]
struct Root {
    descriptor: OwnedFd,
    device: u64,
    inode: u64,
    looked: AtomicU64,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, root: ArcSwapOption::empty() }
    }

    /// Opens a file or folder for reading, by its name in relation to this folder. Neither it nor
    /// any link on the way may lie outside. It never waits for the other end of a pipe.
    ///
    /// `now` is in milliseconds.
    pub(super) fn open(&self, name: &[u8], now: u64) -> io::Result<OwnedFd> {
        let root = self.root(now)?;
        let name = OsStr::from_bytes(if name.is_empty() { b"." } else { name });
        match open_beneath(&root.descriptor, name) {
            Err(Errno::NOENT) if is_gone(&root.descriptor) => {
                // The folder was removed and perhaps made anew since we looked.
                self.root.store(None);
                Ok(open_beneath(&self.root(now)?.descriptor, name)?)
            }
            other => Ok(other?),
        }
    }

    fn root(&self, now: u64) -> io::Result<Arc<Root>> {
        let known = self.root.load_full();
        if let Some(root) = &known {
            if now.saturating_sub(root.looked.load(Ordering::Relaxed)) < LOOK_AGAIN {
                return Ok(root.clone());
            }
            root.looked.store(now, Ordering::Relaxed);
            let there = std::fs::metadata(&self.path)?;
            if (there.dev(), there.ino()) == (root.device, root.inode) {
                return Ok(root.clone());
            }
        }
        let folder = File::open(&self.path)?;
        let there = folder.metadata()?;
        let root = Arc::new(Root {
            device: there.dev(),
            inode: there.ino(),
            looked: AtomicU64::new(now),
            descriptor: folder.into(),
        });
        self.root.store(Some(root.clone()));
        Ok(root)
    }
}

/// Whether a folder was removed while we held it.
fn is_gone(folder: &OwnedFd) -> bool {
    rustix::fs::fstat(folder).is_ok_and(|stat| stat.st_nlink == 0)
}

fn flags() -> OFlags {
    // Neither waits for the writer of a named pipe nor becomes the terminal's process.
    OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC
}

fn open_beneath(root: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    /// Set when the kernel is too old, or a filter forbids the call.
    static IS_MISSING: AtomicBool = AtomicBool::new(false);
    if !IS_MISSING.load(Ordering::Relaxed) {
        match open_by_kernel(root, name) {
            Err(Errno::NOSYS | Errno::PERM) => IS_MISSING.store(true, Ordering::Relaxed),
            other => return other,
        }
    }
    walk(root, name)
}

#[cfg(target_os = "linux")]
fn open_by_kernel(root: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};

    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    // EAGAIN means that something was renamed meanwhile, and the kernel could not be sure.
    for _ in 0..4 {
        match openat2(root, name, flags(), Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    walk(root, name)
}

#[cfg(not(target_os = "linux"))]
fn open_by_kernel(_: &OwnedFd, _: &OsStr) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

/// The same step by step: each name is opened in its folder without following it, and links are
/// read and walked by ourselves.
fn walk(root: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let mut folders: Vec<OwnedFd> = Vec::new();
    let mut names: Vec<Vec<u8>> = split(name.as_bytes());
    let mut links = 0;
    while let Some(name) = names.pop() {
        if name == b".." {
            folders.pop().ok_or(Errno::XDEV)?;
            continue;
        }
        let folder = folders.last().unwrap_or(root);
        let part = OsStr::from_bytes(&name);
        match rustix::fs::openat(folder, part, flags() | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(opened) if names.is_empty() => return Ok(opened),
            Ok(opened) => folders.push(opened),
            Err(Errno::LOOP | Errno::MLINK) => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(folder, part, Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    return Err(Errno::XDEV);
                }
                names.extend(split(&target));
            }
            Err(other) => return Err(other),
        }
    }
    let folder = folders.last().unwrap_or(root);
    rustix::fs::openat(folder, c".", flags(), Mode::empty())
}

/// The names of a path, the first one last.
fn split(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b"."));
    names.rev().map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, os::unix::fs::symlink};

    use super::*;

    /// A folder `public` with files and links, beside a secret.
    fn tree() -> tempfile::TempDir {
        let outside = tempfile::tempdir().unwrap();
        let public = outside.path().join("public");
        fs::create_dir_all(public.join("a/b")).unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::write(public.join("file"), "file").unwrap();
        fs::write(public.join("a/b/deep"), "deep").unwrap();
        for (target, link) in [
            ("file", "to-file"),
            ("a/b", "to-folder"),
            ("../../file", "a/b/up"),
            ("to-file", "twice"),
            ("../secret", "out"),
            ("..", "out-folder"),
            ("/etc/passwd", "absolute"),
            ("a/../../secret", "out-by-detour"),
            ("loop", "loop"),
            ("nowhere", "dangling"),
        ] {
            symlink(target, public.join(link)).unwrap();
        }
        symlink(public.join("file"), public.join("absolute-inside")).unwrap();
        outside
    }

    /// Both ways of opening agree on what is there.
    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        let tree = tree();
        let public = tree.path().join("public");
        let folder = Folder::new(public.clone());
        let read = |opened: OwnedFd| {
            let mut text = String::new();
            File::from(opened).read_to_string(&mut text).map(|_| text).ok()
        };
        let by_folder = folder.open(name.as_bytes(), 0).ok().and_then(read);
        assert_eq!(by_folder.as_deref(), expected, "{name}");
        let root = OwnedFd::from(File::open(public).unwrap());
        let by_walk = walk(&root, OsStr::new(name)).ok().and_then(read);
        assert_eq!(by_walk.as_deref(), expected, "{name} by walking");
    }

    #[test]
    fn what_lies_below_is_opened() {
        check("file", Some("file"));
        check("a/b/deep", Some("deep"));
        check("to-file", Some("file"));
        check("to-folder/deep", Some("deep"));
        check("a/b/up", Some("file"));
        check("twice", Some("file"));
        check("to-folder/up", Some("file"));
    }

    #[test]
    fn what_lies_elsewhere_is_not() {
        for name in [
            "out",
            "out-folder/secret",
            "absolute",
            "absolute-inside",
            "out-by-detour",
            "loop",
            "dangling",
            "none",
            "file/x",
            "../secret",
            "a/../../secret",
            "/etc/passwd",
            "a",
            "",
        ] {
            check(name, None);
        }
    }

    #[test]
    fn a_folder_that_is_replaced_is_found_again() {
        let tree = tempfile::tempdir().unwrap();
        let public = tree.path().join("public");
        let folder = Folder::new(public.clone());
        assert!(folder.open(b"x", 0).is_err());
        fs::create_dir(&public).unwrap();
        fs::write(public.join("x"), "1").unwrap();
        assert!(folder.open(b"x", 0).is_ok());
        fs::remove_dir_all(&public).unwrap();
        assert!(folder.open(b"x", 0).is_err());
        fs::create_dir(&public).unwrap();
        fs::write(public.join("x"), "1").unwrap();
        assert!(folder.open(b"x", 0).is_ok());
        fs::rename(&public, tree.path().join("old")).unwrap();
        fs::create_dir(&public).unwrap();
        fs::write(public.join("y"), "1").unwrap();
        assert!(folder.open(b"y", 500).is_err());
        assert!(folder.open(b"y", 1000).is_ok());
    }
}
