//! A user's folder, entered without following what its user has put there.
//!
//! Whoever writes there for a user is more than that user: a link in the place of a folder could
//! lead it anywhere. So each folder is opened from the one above it, and given by its descriptor.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use perijove_process::Account;
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, fchown, fstat, linkat, mkdirat,
        openat, renameat, statat, unlinkat,
    },
    io::Errno,
    process::geteuid,
};
use thiserror::Error;

use super::ours;

/// Folders in folders that are given to a new owner.
const DEEPEST: usize = 64;

/// An open folder of a user's.
#[derive(Debug)]
pub(super) struct Home {
    folder: OwnedFd,
    /// Whose it is to be; `None`: ours.
    owner: Option<(Uid, Gid)>,
}

#[derive(Debug, Error)]
enum Wrong {
    #[error("it belongs to another account (number {owner})")]
    Foreign { owner: u32 },
    #[error("its account cannot pass through {}: `chmod o+x` lets it, or set `notebook.folder`", .0.display())]
    NoWay(PathBuf),
}

impl Home {
    /// Makes a user's folder unless it is there, and enters it. What is below `open` may be opened
    /// a crack, so that the account can pass.
    pub(super) fn enter(path: &Path, owner: Option<&Account>, open: &[&Path]) -> io::Result<Self> {
        let above = path.parent().unwrap_or(path);
        DirBuilder::new().recursive(true).mode(0o700).create(above)?;
        ours::check(above)?;
        if let Some(account) = owner {
            let_pass(above, account, open)?;
        }
        let ids = owner.map(|a| (Uid::from_raw(a.uid), Gid::from_raw(a.gid)));
        ignore_existing(mkdirat(CWD, path, Mode::RWXU))?;
        // The folder above is ours: a link there leads where we want it to.
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let home = Self { folder: openat(CWD, path, flags, Mode::empty())?, owner: ids };
        home.take_in(true)?;
        Ok(home)
    }

    /// Makes a folder in this one unless it is there, and enters it.
    pub(super) fn below(&self, name: &str) -> io::Result<Self> {
        ignore_existing(mkdirat(&self.folder, name, Mode::RWXU))?;
        let folder = openat(&self.folder, name, flags_of_folders(), Mode::empty())?;
        let below = Self { folder, owner: self.owner };
        below.take_in(false)?;
        Ok(below)
    }

    /// Replaces a file as a whole, whatever stands in its place. What is there after a crash of the
    /// machine may be empty: for files that each launch writes.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.replace(name, bytes, |_| Ok(()))
    }

    /// The same, and it outlives that.
    pub(super) fn write_for_good(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.replace(name, bytes, File::sync_all)
    }

    fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        finish: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        let fresh = format!("{name}.new");
        ignore_missing(unlinkat(&self.folder, &fresh, AtFlags::empty()))?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.folder, &fresh, flags, Mode::RUSR | Mode::WUSR)?;
        self.give(&file)?;
        let mut file = File::from(file);
        let written = file.write_all(bytes).and_then(|()| finish(&file));
        if let Err(error) = written {
            unlinkat(&self.folder, &fresh, AtFlags::empty()).ok();
            return Err(error);
        }
        Ok(renameat(&self.folder, &fresh, &self.folder, name)?)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Puts a file of a folder into this one, too, unless there is something by that name.
    pub(super) fn link(&self, from: &Self, name: &str, as_name: &str) -> io::Result<()> {
        Ok(linkat(&from.folder, name, &self.folder, as_name, AtFlags::empty())?)
    }

    pub(super) fn remove(&self, name: &str) {
        // What is left over is written over by the next one.
        unlinkat(&self.folder, name, AtFlags::empty()).ok();
    }

    /// Sees to it that the folder is its owner's, and nobody else's.
    fn take_in(&self, is_top: bool) -> io::Result<()> {
        let stat = fstat(&self.folder)?;
        let us = geteuid().as_raw();
        let owner = self.owner.map_or(us, |(uid, _)| uid.as_raw());
        if ![owner, us, 0].contains(&stat.st_uid) {
            return Err(io::Error::other(Wrong::Foreign { owner: stat.st_uid }));
        }
        if stat.st_uid == owner || self.owner.is_none() {
            return Ok(());
        }
        if is_top {
            // It was used by a notebook that ran as we do.
            self.give_all(us, 0)?;
        }
        self.give(&self.folder)
    }

    fn give(&self, what: &OwnedFd) -> io::Result<()> {
        match self.owner {
            Some((uid, gid)) => Ok(fchown(what, Some(uid), Some(gid))?),
            None => Ok(()),
        }
    }

    /// Gives what lies below, as far as it was ours and nobody else has a link to it: another name
    /// of a file of ours must not make it a user's.
    fn give_all(&self, us: u32, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            return Ok(());
        }
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory if stat.st_uid == us => {
                    let folder = openat(&self.folder, name, flags_of_folders(), Mode::empty())?;
                    let below = Self { folder, owner: self.owner };
                    below.give_all(us, depth + 1)?;
                    below.give(&below.folder)?;
                }
                FileType::RegularFile if is_ours_alone(&stat, us) => {
                    let flags =
                        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                    let file = openat(&self.folder, name, flags, Mode::empty())?;
                    if is_ours_alone(&fstat(&file)?, us) {
                        self.give(&file)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn flags_of_folders() -> OFlags {
    OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY
}

fn is_ours_alone(stat: &Stat, us: u32) -> bool {
    stat.st_uid == us && stat.st_nlink == 1
}

/// Sees to it that an account can pass through all that leads to its folder.
fn let_pass(above: &Path, account: &Account, open: &[&Path]) -> io::Result<()> {
    for folder in above.ancestors() {
        let found = fs::metadata(folder)?;
        let mode = found.mode();
        let is_in = found.gid() == account.gid || account.groups.contains(&found.gid());
        let may = if found.uid() == account.uid {
            mode & 0o100
        } else if is_in {
            mode & 0o010
        } else {
            mode & 0o001
        };
        if may != 0 {
            continue;
        }
        if !open.iter().any(|open| folder.starts_with(open)) {
            return Err(io::Error::other(Wrong::NoWay(folder.to_owned())));
        }
        // Passing is not looking: what lies there has permissions of its own.
        fs::set_permissions(folder, fs::Permissions::from_mode(mode & 0o7777 | 0o011))?;
    }
    Ok(())
}

fn ignore_existing(made: rustix::io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error != Errno::EXIST => Err(error.into()),
        _ => Ok(()),
    }
}

fn ignore_missing(removed: rustix::io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error != Errno::NOENT => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn account() -> Account {
        Account { uid: 65_533, gid: 65_532, groups: Vec::new() }
    }

    /// A folder that only we can pass through.
    fn closed() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        folder
    }

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::enter(&folder.path().join("ada"), None, &[]).unwrap();
        symlink("/tmp", folder.path().join("ada/.perijove")).unwrap();
        assert!(home.below(".perijove").is_err());
        assert!(home.below("other").is_ok());
    }

    #[test]
    fn what_was_ours_becomes_the_accounts_and_nothing_else_does() {
        if !geteuid().is_root() {
            eprintln!("NOT TESTED: only root can give folders away");
            return;
        }
        let folder = closed();
        let (top, ada) = (folder.path(), folder.path().join("ada"));
        fs::create_dir_all(ada.join("papers/deep")).unwrap();
        for (path, text) in [("ada/papers/own", "own"), ("secret", "secret"), ("strangers", "")] {
            fs::write(top.join(path), text).unwrap();
        }
        fs::hard_link(top.join("secret"), ada.join("another name")).unwrap();
        symlink(top.join("secret"), ada.join("link")).unwrap();
        fs::rename(top.join("strangers"), ada.join("strangers")).unwrap();
        chown(ada.join("strangers"), Some(7), None).unwrap();
        let home = Home::enter(&ada, Some(&account()), &[top]).unwrap();
        home.below(".perijove").unwrap().write("startup.py", b"a = 1").unwrap();
        for given in
            ["", "papers", "papers/deep", "papers/own", ".perijove", ".perijove/startup.py"]
        {
            assert_eq!(owner(&ada.join(given)), 65_533, "{given}");
        }
        assert_eq!((owner(&top.join("secret")), owner(&ada.join("strangers"))), (0, 7));
        assert_eq!(fs::metadata(top).unwrap().mode() & 0o777, 0o711);
    }

    #[test]
    fn an_account_that_cannot_pass_is_told_where() {
        if !geteuid().is_root() {
            eprintln!("NOT TESTED: only root can give folders away");
            return;
        }
        let folder = closed();
        let refused = Home::enter(&folder.path().join("ada"), Some(&account()), &[]).unwrap_err();
        assert!(refused.to_string().contains(&*folder.path().to_string_lossy()), "{refused}");
    }
}
