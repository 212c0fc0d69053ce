//! Which files a process may use, whoever it is.

use std::{
    ffi::CString,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Files and folders, each with all below it, which are all that a process may use. What is not
/// there when it is taken is left out. Two processes of which each has a sandbox of its own cannot
/// look into each other, and where the kernel can (since Linux 6.12) not signal each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sandbox {
    /// Read, listed and executed.
    pub read: Vec<PathBuf>,
    /// Written to as well, but nothing made or removed: devices, `/proc`.
    pub change: Vec<PathBuf>,
    /// Files made, used and removed by those who know their names: shared memory.
    pub unlisted: Vec<PathBuf>,
    /// All but devices made.
    pub write: Vec<PathBuf>,
}

/// Rights over files, as Landlock numbers them (`linux/landlock.h`).
pub(crate) mod right {
    pub(crate) const EXECUTE: u64 = 1;
    pub(crate) const WRITE_FILE: u64 = 1 << 1;
    pub(crate) const READ_FILE: u64 = 1 << 2;
    pub(crate) const READ_DIR: u64 = 1 << 3;
    pub(crate) const REMOVE_FILE: u64 = 1 << 5;
    pub(crate) const MAKE_CHAR: u64 = 1 << 6;
    pub(crate) const MAKE_REG: u64 = 1 << 8;
    pub(crate) const MAKE_BLOCK: u64 = 1 << 11;
    pub(crate) const TRUNCATE: u64 = 1 << 14;
    pub(crate) const IOCTL_DEV: u64 = 1 << 15;

    /// Those that mean something for what is no folder.
    pub(crate) const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

    /// All that a version of Landlock knows.
    pub(crate) const fn known(version: u32) -> u64 {
        let count = match version {
            0 | 1 => 13,
            2 => 14,
            3 | 4 => 15,
            _ => 16,
        };
        (1 << count) - 1
    }
}

const READ: u64 = right::EXECUTE | right::READ_FILE | right::READ_DIR;
const CHANGE: u64 = READ | right::WRITE_FILE | right::TRUNCATE | right::IOCTL_DEV;
const UNLISTED: u64 =
    right::READ_FILE | right::WRITE_FILE | right::TRUNCATE | right::MAKE_REG | right::REMOVE_FILE;
const WRITE: u64 = right::known(u32::MAX) & !right::MAKE_CHAR & !right::MAKE_BLOCK;

/// A sandbox as system calls.
#[derive(Debug)]
pub(crate) struct Rules(pub(crate) Vec<(CString, u64)>);

impl Sandbox {
    pub(crate) fn rules(&self) -> io::Result<Rules> {
        let lists = [
            (&self.read, READ),
            (&self.change, CHANGE),
            (&self.unlisted, UNLISTED),
            (&self.write, WRITE),
        ];
        let all = lists
            .into_iter()
            .flat_map(|(paths, rights)| paths.iter().map(move |path| Ok((to_text(path)?, rights))));
        Ok(Rules(all.collect::<io::Result<_>>()?))
    }
}

fn to_text(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_knows_more() {
        let check = |version, highest: u64| {
            assert_eq!(right::known(version).ilog2(), highest.ilog2(), "version {version}");
        };
        check(1, 1 << 12);
        check(2, 1 << 13);
        check(3, right::TRUNCATE);
        check(4, right::TRUNCATE);
        check(5, right::IOCTL_DEV);
        check(7, right::IOCTL_DEV);
        check(99, right::IOCTL_DEV);
    }

    #[test]
    fn nobody_makes_devices_and_shared_memory_is_not_listed() {
        assert_eq!(WRITE & (right::MAKE_CHAR | right::MAKE_BLOCK), 0);
        assert_eq!(UNLISTED & right::READ_DIR, 0);
        assert_eq!(CHANGE & (right::MAKE_REG | right::REMOVE_FILE), 0);
        assert_eq!(READ & (right::WRITE_FILE | right::TRUNCATE), 0);
    }
}
