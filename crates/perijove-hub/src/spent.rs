//! What was good once and is no more: sessions that ended before their time, tickets that were used.
//!
//! Each is known by a random name and forgotten when it would have run out by itself. They are on
//! the disk before they count as spent, so that a ticket is good once also around a crash.

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, params};

use crate::clock;

const FILE: &str = "spent.db";
/// Names that are kept; one takes some hundred bytes. When there are more, nothing can be spent.
const MOST: usize = 100_000;

/// The names that are spent.
#[derive(Debug)]
pub(crate) struct Spent {
    /// Held for the length of one write.
    connection: Mutex<Connection>,
    /// The same, with the time until which each is kept: looked at for a moment.
    names: Mutex<HashMap<String, u64>>,
}

impl Spent {
    /// Opens the list of a state folder. It blocks.
    pub(crate) fn open(state_folder: &Path) -> io::Result<Self> {
        let opened = Self::connect(&state_folder.join(FILE));
        opened.map_err(|error| io::Error::other(format!("{FILE}: {error}")))
    }

    fn connect(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(2))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS spent \
             (name TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        )?;
        let names = {
            let mut all = connection.prepare("SELECT name, until FROM spent")?;
            let rows = all.query_map((), |row| {
                let until: i64 = row.get(1)?;
                Ok((row.get(0)?, u64::try_from(until).unwrap_or(0)))
            })?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        Ok(Self { connection: Mutex::new(connection), names: Mutex::new(names) })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().contains_key(name)
    }

    /// Spends a name; false when it was spent before. It blocks.
    ///
    /// # Errors
    /// It could not be written: then it counts as spent for as long as this process lives.
    pub(crate) fn spend(&self, name: &str, until: u64) -> io::Result<bool> {
        let now = clock::now();
        {
            let mut names = self.names();
            names.retain(|_, until| *until > now);
            if names.len() >= MOST {
                return Err(io::Error::other("too many names are spent"));
            }
            if names.insert(name.to_owned(), until).is_some() {
                return Ok(false);
            }
        }
        let seconds = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let written = connection.execute("DELETE FROM spent WHERE until <= ?", [seconds(now)]);
        let written = written.and_then(|_| {
            connection.execute(
                "INSERT OR IGNORE INTO spent (name, until) VALUES (?, ?)",
                params![name, seconds(until)],
            )
        });
        written.map(|rows| rows == 1).map_err(io::Error::other)
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_good_once_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let later = clock::now() + 60;
        {
            let spent = Spent::open(folder.path()).unwrap();
            assert!(!spent.has("a"));
            assert!(spent.spend("a", later).unwrap());
            assert!(spent.has("a"));
            assert!(!spent.spend("a", later).unwrap());
            assert!(spent.spend("old", clock::now().saturating_sub(1)).unwrap());
        }
        let spent = Spent::open(folder.path()).unwrap();
        assert!(spent.has("a") && !spent.has("b"));
        assert!(!spent.spend("a", later).unwrap());
        assert!(spent.spend("b", later).unwrap());
        assert!(!spent.has("old"));
    }

    #[test]
    fn two_who_share_a_folder_do_not_both_spend() {
        let folder = tempfile::tempdir().unwrap();
        let later = clock::now() + 60;
        let [one, other] = [(); 2].map(|()| Spent::open(folder.path()).unwrap());
        assert!(one.spend("a", later).unwrap());
        assert!(!other.spend("a", later).unwrap());
    }
}
