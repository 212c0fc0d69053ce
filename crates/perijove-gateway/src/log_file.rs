//! A file that lines are appended to, exchanged for a new one when it is full or was moved away.
//!
//! ```text
//! site.log.2 ─▶ removed    site.log.1 ─▶ site.log.2    site.log ─▶ site.log.1    site.log is new
//! ```
//!
//! Each step is one rename, so that a program that ends between two of them has lost no line; a gap
//! among the numbers is closed by the next exchange.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// When a file is exchanged for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of a file.
    pub size: u64,
    /// How many older ones are kept.
    pub keep: u32,
}

/// An open log file.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    rotation: Option<Rotation>,
}

impl LogFile {
    /// Opens it for appending, and makes it, readable by its owner and group, when it is not there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length, rotation })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file again, after somebody moved it away. On failure the old one is written to.
    ///
    /// # Errors
    /// When there cannot be a file of that name.
    pub fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(&self.path, self.rotation)?;
        Ok(())
    }

    /// Appends whole lines; before them the file is exchanged when they would make it too large.
    ///
    /// # Errors
    /// When they could not be written. A file that could not be exchanged is written to all the
    /// same.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = self.length.saturating_add(lines.len() as u64);
        let is_full = self.rotation.is_some_and(|rotation| length > rotation.size);
        let rotated = if is_full && self.length > 0 { self.rotate() } else { Ok(()) };
        self.file.write_all(lines)?;
        self.length += lines.len() as u64;
        rotated
    }

    fn rotate(&mut self) -> io::Result<()> {
        // Another process that writes there, as one that takes over does, has exchanged it before.
        if !self.is_in_place() {
            return self.reopen();
        }
        let keep = self.rotation.map_or(0, |rotation| rotation.keep);
        // Only up to the first number that is free: what is older may stay where it is.
        let free = (1..=keep).find(|age| !self.aged(*age).exists()).unwrap_or(keep);
        for age in (1..free).rev() {
            fs::rename(self.aged(age), self.aged(age + 1))?;
        }
        match keep {
            0 => fs::remove_file(&self.path)?,
            _ => fs::rename(&self.path, self.aged(1))?,
        }
        self.reopen()
    }

    /// Whether what lies there is what this one writes to.
    fn is_in_place(&self) -> bool {
        let identity = |data: fs::Metadata| (data.dev(), data.ino());
        let (here, there) = (self.file.metadata().map(identity), fs::metadata(&self.path));
        matches!((here, there.map(identity)), (Ok(here), Ok(there)) if here == there)
    }

    fn aged(&self, age: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{age}"));
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }

    fn text(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    #[test]
    fn a_full_file_is_exchanged_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let rotation = Some(Rotation { size: 10, keep: 2 });
        let mut log = LogFile::open(&path, rotation).unwrap();
        for line in ["one\n", "two\n", "three\n", "four\n", "a line that is too long\n", "six\n"] {
            log.append(line.as_bytes()).unwrap();
        }
        assert_eq!(names(folder.path()), ["a.log", "a.log.1", "a.log.2"]);
        assert_eq!(text(folder.path(), "a.log"), "six\n");
        assert_eq!(text(folder.path(), "a.log.1"), "a line that is too long\n");
        assert_eq!(text(folder.path(), "a.log.2"), "four\n");
        // A later start goes on where this one ended.
        drop(log);
        let mut log = LogFile::open(&path, rotation).unwrap();
        log.append(b"seven7\n").unwrap();
        assert_eq!(text(folder.path(), "a.log.1"), "six\n");
    }

    #[test]
    fn none_is_kept_when_none_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = LogFile::open(&path, Some(Rotation { size: 4, keep: 0 })).unwrap();
        log.append(b"one\n").unwrap();
        log.append(b"two\n").unwrap();
        assert_eq!(names(folder.path()), ["a.log"]);
        assert_eq!(text(folder.path(), "a.log"), "two\n");
    }

    /// The program may end between any two renames.
    #[test]
    fn a_cut_off_exchange_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        // .1 was moved to .2, and the file itself was not moved yet.
        put("a.log", "now\n");
        put("a.log.2", "before\n");
        let mut log = LogFile::open(&path, Some(Rotation { size: 4, keep: 3 })).unwrap();
        log.append(b"new\n").unwrap();
        assert_eq!(text(folder.path(), "a.log"), "new\n");
        assert_eq!(text(folder.path(), "a.log.1"), "now\n");
        assert_eq!(text(folder.path(), "a.log.2"), "before\n");
        // The file was moved, and a new one was not made yet.
        fs::remove_file(&path).unwrap();
        let mut log = LogFile::open(&path, Some(Rotation { size: 4, keep: 3 })).unwrap();
        log.append(b"x\n").unwrap();
        assert_eq!(text(folder.path(), "a.log"), "x\n");
    }

    /// One process takes over from another: for some time both write.
    #[test]
    fn two_that_write_exchange_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let rotation = Some(Rotation { size: 12, keep: 1 });
        let mut old = LogFile::open(&path, rotation).unwrap();
        old.append(b"old 1\n").unwrap();
        let mut new = LogFile::open(&path, rotation).unwrap();
        new.append(b"new 1\n").unwrap();
        // Full: the new one exchanges it, and the old one does not a second time.
        new.append(b"new 2\n").unwrap();
        old.append(b"old 2\n").unwrap();
        old.append(b"old 3\n").unwrap();
        assert_eq!(text(folder.path(), "a.log.1"), "old 1\nnew 1\nold 2\n");
        assert_eq!(text(folder.path(), "a.log"), "new 2\nold 3\n");
    }

    #[test]
    fn a_file_that_was_moved_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = LogFile::open(&path, None).unwrap();
        log.append(b"one\n").unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        log.append(b"two\n").unwrap();
        log.reopen().unwrap();
        log.append(b"three\n").unwrap();
        assert_eq!(text(folder.path(), "moved"), "one\ntwo\n");
        assert_eq!(text(folder.path(), "a.log"), "three\n");
    }
}
