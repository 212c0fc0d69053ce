//! What happened to a server, in a file that is never seen half-written.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{How, ProcessIdentity, group::InForce};

/// The life of a server as its guardian knows it. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    pub guardian: ProcessIdentity,
    /// `None` until it is started.
    pub server: Option<i32>,
    pub started_at: u64,
    /// When it will be ended whatever happens.
    pub kill_at: Option<u64>,
    pub ended: Option<Ended>,
    /// What keeps each limit of its group.
    #[serde(default, skip_serializing_if = "InForce::is_empty")]
    pub limits: InForce,
    /// Told when processes of its group were ended because memory ran out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_memory: Option<OutOfMemory>,
}

/// That memory ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutOfMemory {
    /// How many processes were ended for that.
    pub times: u64,
    /// When the last of them was; seconds since the Unix epoch.
    pub at: u64,
    /// Bytes that were allowed.
    pub limit: u64,
}

/// How a server ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ended {
    pub why: Why,
    /// `None` when it was never started.
    pub how: Option<How>,
    pub at: u64,
    /// Of its output, oldest first.
    pub last_lines: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// By itself, or killed by somebody else.
    Itself,
    /// The guardian was told to stop it.
    Stopped,
    /// Its time was up.
    TimedOut,
}

impl Record {
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// Replaces the file as a whole. It need not outlive a crash of the machine, which ends the
    /// server too.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let fresh = beside(path, "new");
        let written = self.write_fresh(&fresh).and_then(|_| fs::rename(&fresh, path));
        if written.is_err() {
            fs::remove_file(&fresh).ok();
        }
        written
    }

    /// The same, and it outlives that.
    fn write_for_good(&self, path: &Path) -> io::Result<()> {
        let fresh = beside(path, "new");
        let written = self
            .write_fresh(&fresh)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&fresh, path));
        if written.is_err() {
            fs::remove_file(&fresh).ok();
        }
        written?;
        // So must the name.
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    fn write_fresh(&self, fresh: &Path) -> io::Result<File> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(fresh)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        Ok(file)
    }

    /// Records the end even on a full disk: then without lines, over what is there already, which
    /// needs no more room.
    pub(super) fn write_end(mut self, path: &Path) -> io::Result<()> {
        match self.write_for_good(path) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            written => return written,
        }
        if let Some(ended) = &mut self.ended {
            ended.last_lines.clear();
        }
        self.overwrite(path)
    }

    /// Spaces fill what is left of the old text: a file cut short would free the room it has.
    fn overwrite(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        let mut file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
        text.resize(text.len().max(length), b' ');
        file.write_all(&text)?;
        file.sync_all()
    }
}

/// The path with a further ending.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let ended = Ended {
            why: Why::TimedOut,
            how: Some(How::Signalled(9)),
            at: 7200,
            last_lines: vec!["the \u{1b}[1mbrink".to_owned()],
        };
        Record {
            guardian: ProcessIdentity { pid: 7, start_time: 4711, boot_id: "b".to_owned() },
            server: Some(8),
            started_at: 3600,
            kill_at: Some(7200),
            ended: Some(ended),
            limits: InForce::new(),
            out_of_memory: None,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        record().write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), record());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_overwritten_is_read_whether_it_grew_or_shrank() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        let mut short = record();
        short.ended = None;
        for (before, after) in [(&short, &record()), (&record(), &short)] {
            before.write(&path).unwrap();
            after.overwrite(&path).unwrap();
            assert_eq!(&Record::read(&path).unwrap(), after);
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        // A folder in its place.
        fs::create_dir(&path).unwrap();
        record().write(&path).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        for text in ["", "{", "[]", "{\"guardian\": 7}", "\0\0\0"] {
            fs::write(&path, text).unwrap();
            assert!(Record::read(&path).is_err(), "{text:?}");
        }
    }
}
