//! The store in use: a database in the state folder.
//!
//! A database that cannot be read is set aside, and its records are taken from their copies, one
//! beside each notebook's log. A full disk is an answer, not a state: the next call tries again.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, Row, params};

use super::{Store, StoreError, folder};
use crate::{clock, notebook::Notebook, record::Record};

/// The steps from an empty database to the present one, in order; `user_version` counts them.
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/0001_servers.sql")];

/// Records in a database, each with a copy in a file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    folder: PathBuf,
    /// Held for the length of one call; `None` after a failure that asks for a new connection.
    connection: Mutex<Option<Connection>>,
}

/// Why one call failed, before it is put into words.
enum Trouble {
    Database(rusqlite::Error),
    File(io::Error),
    Newer(i64),
}

impl Sqlite {
    /// Opens the database in the state folder, which must be there.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let store = Self { folder: folder.to_owned(), connection: Mutex::new(None) };
        store.with(|_, _| Ok(()))?;
        Ok(store)
    }

    fn path(&self) -> PathBuf {
        self.folder.join("state.db")
    }

    /// Runs a call with an open connection. When the database turns out to be unreadable, it is
    /// set aside and the call runs once more on a new one.
    fn with<T>(
        &self,
        call: impl Fn(&mut Connection, &Path) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        let mut held = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.attempt(&mut held, &call);
        let result = match result {
            Err(trouble) if trouble.is_corruption() => {
                held.take();
                self.set_aside(&trouble);
                self.attempt(&mut held, &call)
            }
            other => other,
        };
        result.map_err(|trouble| self.in_words(trouble))
    }

    fn attempt<T>(
        &self,
        held: &mut MutexGuard<'_, Option<Connection>>,
        call: impl Fn(&mut Connection, &Path) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => connect(&self.path(), &self.folder.join("notebooks"))?,
        };
        let answer = call(&mut connection, &self.folder.join("notebooks"))?;
        **held = Some(connection);
        Ok(answer)
    }

    fn set_aside(&self, trouble: &Trouble) {
        let path = self.path();
        let aside = self.folder.join(format!("state.db.unreadable-{}", clock::now()));
        for suffix in ["", "-wal", "-shm"] {
            let from = PathBuf::from(format!("{}{suffix}", path.display()));
            let to = PathBuf::from(format!("{}{suffix}", aside.display()));
            if let Err(error) = fs::rename(&from, &to)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::error!(path = %from.display(), %error, "could not be set aside");
            }
        }
        tracing::error!(
            path = %path.display(),
            aside = %aside.display(),
            reason = %trouble.text(),
            "the state database is unreadable: it was set aside, and notebooks are taken from \
             their own records"
        );
    }

    fn in_words(&self, trouble: Trouble) -> StoreError {
        let folder = self.folder.display().to_string();
        match trouble {
            _ if trouble.is_full() || (trouble.may_be_full() && has_no_room(&self.folder)) => {
                StoreError::Full { folder }
            }
            Trouble::Newer(version) => {
                StoreError::Newer { path: self.path().display().to_string(), version }
            }
            other => StoreError::Broken { folder, what: other.text().into() },
        }
    }
}

impl Store for Sqlite {
    fn all(&self) -> Result<Vec<Record>, StoreError> {
        self.with(|connection, notebooks| {
            let mut statement = connection.prepare("SELECT user, name, record FROM server")?;
            let rows = statement
                .query_map([], |row| Ok((key(row)?, row.get::<_, String>(2)?)))?;
            let (mut records, mut unreadable) = (Vec::new(), Vec::new());
            for row in rows {
                let (key, text) = row?;
                match serde_json::from_str(&text) {
                    Ok(record) => records.push(record),
                    Err(error) => {
                        tracing::warn!(user = key.0, name = key.1, %error, "a notebook's record is unreadable");
                        unreadable.push(key);
                    }
                }
            }
            if !unreadable.is_empty() {
                let copies = folder::read_all(notebooks);
                let is_missing = |copy: &Record| unreadable.contains(&key_of(copy));
                records.extend(copies.into_iter().filter(is_missing));
            }
            Ok(records)
        })
    }

    fn put(&self, record: &Record) -> Result<(), StoreError> {
        self.with(|connection, notebooks| {
            let transaction = connection.transaction()?;
            insert(&transaction, record)?;
            folder::write(notebooks, record)?;
            transaction.commit()?;
            Ok(())
        })
    }
}

/// Whether less is free than one transaction needs.
fn has_no_room(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|room| room.f_bavail * room.f_frsize < 256 << 10)
}

/// Opens the database and brings it up to date; a new one takes up the copies that are there.
fn connect(path: &Path, notebooks: &Path) -> Result<Connection, Trouble> {
    // Made by us, so that nobody else may ever read it; SQLite gives its neighbours the same mode.
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // What is committed outlives us, however we end. A crash of the machine may take the last
    // records with it, and takes the servers, too: nobody waits for a disk at each start.
    connection.pragma_update(None, "synchronous", "normal")?;
    let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(code, Some(check)).into());
    }
    migrate(&mut connection, notebooks)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, notebooks: &Path) -> Result<(), Trouble> {
    let transaction = connection.transaction()?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(version).map_err(|_| Trouble::Newer(version))?;
    let Some(missing) = MIGRATIONS.get(done..) else { return Err(Trouble::Newer(version)) };
    if missing.is_empty() {
        return Ok(());
    }
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(
        None,
        "user_version",
        i64::try_from(MIGRATIONS.len()).unwrap_or(0),
    )?;
    if done == 0 {
        for record in folder::read_all(notebooks) {
            insert(&transaction, &record)?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// The user and the name of a notebook, as they stand in its row.
type Key = (String, String);

fn key(row: &Row<'_>) -> rusqlite::Result<Key> {
    Ok((row.get(0)?, row.get(1)?))
}

fn key_of(record: &Record) -> Key {
    let Notebook { user, name } = &record.notebook;
    (user.name().to_owned(), name.as_str().to_owned())
}

fn insert(connection: &Connection, record: &Record) -> Result<(), Trouble> {
    let text = serde_json::to_string(record).map_err(io::Error::from)?;
    let (user, name) = key_of(record);
    connection.execute(
        "INSERT INTO server (user, name, phase, record) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (user, name) DO UPDATE SET phase = ?3, record = ?4",
        params![user, name, record.phase.as_str(), text],
    )?;
    Ok(())
}

impl Trouble {
    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Database(error) => error.sqlite_error_code(),
            Self::File(_) | Self::Newer(_) => None,
        }
    }

    fn is_corruption(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    fn is_full(&self) -> bool {
        match self {
            Self::File(error) => {
                let kind = error.kind();
                kind == io::ErrorKind::StorageFull || kind == io::ErrorKind::QuotaExceeded
            }
            _ => self.code() == Some(ErrorCode::DiskFull),
        }
    }

    /// A write-ahead log that cannot grow its index is told as a failure of the system, whatever
    /// the reason is.
    fn may_be_full(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen))
    }

    fn text(&self) -> String {
        match self {
            Self::Database(error) => error.to_string(),
            Self::File(error) => error.to_string(),
            Self::Newer(version) => format!("version {version}"),
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

#[cfg(test)]
mod tests;
