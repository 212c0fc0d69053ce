//! Visits on the domain of notebooks, each with what it rests on.
//!
//! They lie in a database that this account alone can read, so that open pages go on when perijove
//! is started anew.

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, params};

use crate::{clock, user::User, vouch::Vouch};

const FILE: &str = "visits.db";
/// Visits that are kept, of all and of one user: then the one that ends first makes room.
const MOST: usize = 5000;
const MOST_OF_ONE: usize = 16;

/// Visits by their names.
#[derive(Debug)]
pub(crate) struct Visits {
    /// Held for the length of one write.
    connection: Mutex<Connection>,
    /// Looked at for a moment.
    known: Mutex<HashMap<String, Visit>>,
}

#[derive(Clone, Debug)]
struct Visit {
    user: String,
    /// Seconds since the Unix epoch.
    until: u64,
    vouch: Vouch,
}

impl Visits {
    /// Opens the list of a state folder. It blocks.
    pub(crate) fn open(state_folder: &Path) -> io::Result<Self> {
        let path = state_folder.join(FILE);
        // SQLite gives its further files the permissions of this one.
        OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        let opened = Self::connect(&path);
        opened.map_err(|error| io::Error::other(format!("{FILE}: {error}")))
    }

    fn connect(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(2))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // What is lost with the machine's power can be had again by a click.
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "secure_delete", "on")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS visit \
             (name TEXT PRIMARY KEY, user TEXT NOT NULL, until INTEGER NOT NULL, \
             vouch TEXT NOT NULL) STRICT, WITHOUT ROWID",
        )?;
        let known = read(&connection)?;
        Ok(Self { connection: Mutex::new(connection), known: Mutex::new(known) })
    }

    /// What a visit rests on, while it lasts.
    pub(crate) fn vouch(&self, name: &str) -> Option<Vouch> {
        let known = self.known();
        known.get(name).filter(|visit| clock::now() < visit.until).map(|visit| visit.vouch.clone())
    }

    /// Notes a visit, or what has become of one. It blocks. One that cannot be written is known to
    /// this process all the same.
    pub(crate) fn put(&self, name: &str, user: &User, until: u64, vouch: Vouch) {
        let gone = self.make_room(user.name());
        let text = serde_json::to_string(&vouch).unwrap_or_default();
        let visit = Visit { user: user.name().to_owned(), until, vouch };
        self.known().insert(name.to_owned(), visit);
        let written = self.write(|connection| {
            for name in &gone {
                connection.execute("DELETE FROM visit WHERE name = ?", [name])?;
            }
            let seconds = i64::try_from(until).unwrap_or(i64::MAX);
            connection.execute(
                "INSERT OR REPLACE INTO visit (name, user, until, vouch) VALUES (?, ?, ?, ?)",
                params![name, user.name(), seconds, text],
            )
        });
        if let Err(error) = written {
            tracing::warn!(%error, "a visit is not kept over a restart");
        }
    }

    /// Forgets a visit. It blocks.
    pub(crate) fn end(&self, name: &str) {
        if self.known().remove(name).is_none() {
            return;
        }
        let written =
            self.write(|connection| connection.execute("DELETE FROM visit WHERE name = ?", [name]));
        if let Err(error) = written {
            tracing::warn!(%error, "a visit that has ended may come back after a restart");
        }
    }

    fn write<T>(
        &self,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        act(&self.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets those that are over, and as many more as there must be room for one of that user's.
    fn make_room(&self, user: &str) -> Vec<String> {
        let mut known = self.known();
        let now = clock::now();
        let mut gone: Vec<String> = Vec::new();
        let over = known.iter().filter(|(_, visit)| visit.until <= now);
        gone.extend(over.map(|(name, _)| name.clone()));
        for name in &gone {
            known.remove(name);
        }
        let of_user = |visit: &Visit| visit.user == user;
        let is_full = known.len() >= MOST;
        if is_full || known.values().filter(|visit| of_user(visit)).count() >= MOST_OF_ONE {
            let those = known.iter().filter(|(_, visit)| is_full || of_user(visit));
            let first = those.min_by_key(|(_, visit)| visit.until).map(|(name, _)| name.clone());
            if let Some(name) = &first {
                known.remove(name);
            }
            gone.extend(first);
        }
        gone
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Visit>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All visits; those that cannot be read are over.
fn read(connection: &Connection) -> rusqlite::Result<HashMap<String, Visit>> {
    let mut all = connection.prepare("SELECT name, user, until, vouch FROM visit")?;
    let rows = all.query_map((), |row| {
        let (until, vouch): (i64, String) = (row.get(2)?, row.get(3)?);
        let (name, user): (String, String) = (row.get(0)?, row.get(1)?);
        let vouch = serde_json::from_str(&vouch).ok();
        let until = u64::try_from(until).unwrap_or(0);
        Ok(vouch.map(|vouch| (name, Visit { user, until, vouch })))
    })?;
    Ok(rows.filter_map(|row| row.ok().flatten()).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn vouch(cookie: &str) -> Vouch {
        let told = serde_json::json!({"origin": "https://a", "fields": {"Cookie": cookie}});
        Vouch::told(serde_json::from_value(told).unwrap()).unwrap()
    }

    #[test]
    fn visits_outlive_the_program_and_are_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let (ada, later) = (User::new("ada").unwrap(), clock::now() + 60);
        {
            let visits = Visits::open(folder.path()).unwrap();
            visits.put("a", &ada, later, vouch("s=1"));
            visits.put("b", &ada, later, vouch("s=2"));
            visits.put("old", &ada, clock::now(), vouch("s=3"));
            visits.end("b");
            assert_eq!(visits.vouch("old"), None);
        }
        let visits = Visits::open(folder.path()).unwrap();
        assert_eq!(visits.vouch("a"), Some(vouch("s=1")));
        assert_eq!((visits.vouch("b"), visits.vouch("old")), (None, None));
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", file.path());
        }
    }

    #[test]
    fn a_user_has_only_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let (ada, bob) = (User::new("ada").unwrap(), User::new("bob").unwrap());
        let visits = Visits::open(folder.path()).unwrap();
        let later = clock::now() + 60;
        visits.put("bob", &bob, later, vouch("s=0"));
        for number in 0..=MOST_OF_ONE {
            visits.put(&number.to_string(), &ada, later + number as u64, vouch("s=1"));
        }
        let is_known = |name: &str| visits.vouch(name).is_some();
        assert!(!is_known("0") && is_known("1") && is_known("16") && is_known("bob"));
    }
}
