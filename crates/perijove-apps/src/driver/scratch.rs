//! Files that an instance needs beside its socket, removed with it.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::Plan;

/// A folder of one instance.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn file(path: PathBuf, text: &str) -> io::Result<Self> {
        write(&path, text)?;
        Ok(Self(path))
    }

    /// A new folder that others may enter.
    pub(super) fn folder(path: PathBuf) -> io::Result<Self> {
        // It fails when there is one: nobody can have put something into it before.
        DirBuilder::new().create(&path)?;
        let folder = Self(path);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

/// Writes a new file that others may read where they may enter the folder.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o644).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is removed at the next start.
        fs::remove_dir_all(&self.0).ok();
    }
}
