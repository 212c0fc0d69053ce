//! Files that an instance needs beside its socket, removed with it.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use perijove_process::Account;

use crate::Plan;

/// A folder of one instance.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new folder that others may enter. Accounts other than ours cannot enter the one of
    /// sockets, so that theirs lies where everybody may, under a name that nobody can guess.
    pub(super) fn folder(plan: &Plan, number: u64, is_for_another: bool) -> io::Result<Self> {
        let path = if is_for_another {
            elsewhere()?
        } else {
            plan.sockets.join(format!("web-{number}.files"))
        };
        // It fails when there is one: nobody can have put something into it before.
        DirBuilder::new().create(&path)?;
        let folder = Self(path);
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    /// A new folder of another account's, which it and root alone may enter.
    pub(super) fn of(account: &Account) -> io::Result<Self> {
        let folder = Self(elsewhere()?);
        DirBuilder::new().mode(0o700).create(folder.path())?;
        chown(folder.path(), Some(account.uid), Some(account.gid))?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

/// A path where every account may be, that nobody can guess.
fn elsewhere() -> io::Result<PathBuf> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let name = format!("perijove-web-{:016x}", u64::from_be_bytes(bytes));
    Ok(std::env::temp_dir().join(name))
}

/// Writes a new file that others may read where they may enter the folder.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays in our own folder is removed at the next start.
        fs::remove_dir_all(&self.0).ok();
    }
}
