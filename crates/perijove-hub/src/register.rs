//! The users file: who may sign in, where perijove itself says who may pass.
//!
//! One user a line, as JSON, in `users.jsonl` of the state folder (0600). It is replaced as a
//! whole, so that a reader sees one version or the next; whoever changes it holds a lock beside it.

use std::{
    fs::{self, OpenOptions},
    io::{self, BufRead as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{
    seal::random_name,
    spawn::replace,
    user::{NameError, User},
};

mod password;

pub(crate) use password::Hash;
pub use password::{LEAST, Password, PasswordError};

const FILE: &str = "users.jsonl";
const LOCK: &str = "users.lock";
/// Longer files are none of ours.
const LONGEST: u64 = 64 << 20;
/// How often the running program looks for changes.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// Why the users file could not be used.
#[derive(Debug, Error)]
pub enum RegisterError {
    #[error("there is a user `{0}` already")]
    Taken(User),
    #[error("there is no user `{0}`")]
    Unknown(User),
    #[error("`{0}` may be read or written by others")]
    Open(PathBuf),
    #[error("line {line} of `{path}` is no user")]
    Line { path: PathBuf, line: usize },
    #[error("could not use `{path}`")]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// One user. What a later perijove adds is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    name: User,
    pub(crate) password: Hash,
    /// Another one after each change: sessions carry it, and end with it.
    pub(crate) mark: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What the file held when it was read.
#[derive(Debug, Default)]
struct Read {
    entries: Vec<Entry>,
    /// By which a changed file is known; `None` when there was none.
    version: Option<Version>,
}

/// Device and inode, time of the last change, length: a replaced file differs in the inode.
type Version = (u64, u64, i64, i64, u64);

/// The users file of a state folder.
#[derive(Debug)]
pub struct Register {
    folder: PathBuf,
    read: ArcSwap<Read>,
}

impl Register {
    /// Reads the file. It blocks, as does all but [`Register::entry`].
    pub fn open(state_folder: &Path) -> Result<Self, RegisterError> {
        let register = Self { folder: state_folder.to_owned(), read: ArcSwap::default() };
        register.refresh()?;
        Ok(register)
    }

    /// Everyone, in the order in which they were added.
    pub fn users(&self) -> Vec<User> {
        self.read.load().entries.iter().map(|entry| entry.name.clone()).collect()
    }

    /// What is known of a user.
    pub(crate) fn entry(&self, user: &User) -> Option<Entry> {
        self.read.load().entries.iter().find(|entry| entry.name == *user).cloned()
    }

    /// Reads the file again when it is another one than before. What cannot be read lets nobody in.
    pub(crate) fn refresh(&self) -> Result<(), RegisterError> {
        let path = self.folder.join(FILE);
        let version = match fs::metadata(&path) {
            Ok(file) => Some(version(&file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(self.empty(RegisterError::Io { path, source })),
        };
        if version == self.read.load().version {
            return Ok(());
        }
        let entries = match &version {
            Some(_) => read(&path).map_err(|error| self.empty(error))?,
            None => Vec::new(),
        };
        self.read.store(Arc::new(Read { entries, version }));
        Ok(())
    }

    fn empty(&self, error: RegisterError) -> RegisterError {
        self.read.store(Arc::default());
        error
    }

    /// A new user.
    pub fn add(&self, user: &User, password: &Password) -> Result<(), RegisterError> {
        let (password, mark) = (password.hash(user)?, mark()?);
        self.change(|entries| {
            if entries.iter().any(|entry| entry.name == *user) {
                return Err(RegisterError::Taken(user.clone()));
            }
            entries.push(Entry { name: user.clone(), password, mark, rest: Map::new() });
            Ok(())
        })
    }

    /// Another password; the user's sessions end.
    pub fn change_password(&self, user: &User, password: &Password) -> Result<(), RegisterError> {
        let (password, mark) = (password.hash(user)?, mark()?);
        self.change(|entries| {
            let entry = entries.iter_mut().find(|entry| entry.name == *user);
            let entry = entry.ok_or_else(|| RegisterError::Unknown(user.clone()))?;
            (entry.password, entry.mark) = (password, mark);
            Ok(())
        })
    }

    /// Takes a user off; their sessions end.
    pub fn remove(&self, user: &User) -> Result<(), RegisterError> {
        self.change(|entries| {
            let before = entries.len();
            entries.retain(|entry| entry.name != *user);
            if entries.len() == before {
                return Err(RegisterError::Unknown(user.clone()));
            }
            Ok(())
        })
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Vec<Entry>) -> Result<(), RegisterError>,
    ) -> Result<(), RegisterError> {
        let path = self.folder.join(LOCK);
        let told = |source| RegisterError::Io { path: path.clone(), source };
        // Given back when the file is closed, however this ends.
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(told)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| told(error.into()))?;
        self.refresh()?;
        let mut entries = self.read.load().entries.clone();
        change(&mut entries)?;
        let path = self.folder.join(FILE);
        let mut text = String::new();
        for entry in &entries {
            let line = serde_json::to_string(entry)
                .map_err(|error| RegisterError::Io { path: path.clone(), source: error.into() })?;
            text.push_str(&line);
            text.push('\n');
        }
        replace(&path, text.as_bytes()).map_err(|source| RegisterError::Io { path, source })?;
        self.refresh()
    }
}

fn mark() -> Result<String, RegisterError> {
    random_name().map_err(|_| RegisterError::NoRandomness)
}

fn version(file: &fs::Metadata) -> Version {
    (file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.len())
}

fn read(path: &Path) -> Result<Vec<Entry>, RegisterError> {
    let told = |source| RegisterError::Io { path: path.to_owned(), source };
    let file = OpenOptions::new().read(true).open(path).map_err(told)?;
    let about = file.metadata().map_err(told)?;
    let is_ours = about.uid() == rustix::process::geteuid().as_raw();
    if about.mode() & 0o077 != 0 || !is_ours {
        return Err(RegisterError::Open(path.to_owned()));
    }
    if about.len() > LONGEST {
        return Err(told(io::ErrorKind::FileTooLarge.into()));
    }
    let mut entries = Vec::new();
    for (number, line) in io::BufReader::new(file).lines().enumerate() {
        let line = line.map_err(told)?;
        if line.trim().is_empty() {
            continue;
        }
        let entry = serde_json::from_str(&line);
        let wrong = |_| RegisterError::Line { path: path.to_owned(), line: number + 1 };
        entries.push(entry.map_err(wrong)?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
