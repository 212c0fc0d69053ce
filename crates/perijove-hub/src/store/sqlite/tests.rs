//! What is put is found again: after a new start, a broken file, a full disk.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use tempfile::TempDir;

use super::{Sqlite, Store, StoreError};
use crate::{
    notebook::Notebook,
    phase::Phase,
    record::{Launch, Record, Token},
};

pub(super) fn record(notebook: &str, hash: &str) -> Record {
    Record {
        notebook: Notebook::called(notebook),
        phase: Phase::Ready,
        launch: Launch {
            context: crate::context::Context::default(),
            hash: hash.to_owned(),
            folder: "/srv/ada".into(),
            kill_timeout: 0,
            opens: "default.ipynb".to_owned(),
        },
        token: Token::new().unwrap(),
        handle: None,
        next: None,
        ended: None,
    }
}

fn state() -> TempDir {
    TempDir::with_prefix("perijove-").unwrap()
}

fn hashes(folder: &Path) -> Vec<(String, String)> {
    let records = Sqlite::open(folder).unwrap().all().unwrap();
    let mut found: Vec<_> =
        records.into_iter().map(|r| (r.notebook.to_string(), r.launch.hash)).collect();
    found.sort();
    found
}

fn pair(user: &str, hash: &str) -> (String, String) {
    (user.to_owned(), hash.to_owned())
}

#[test]
fn records_survive_and_are_replaced() {
    let folder = state();
    let store = Sqlite::open(folder.path()).unwrap();
    store.put(&record("ada", "1")).unwrap();
    store.put(&record("bob", "1")).unwrap();
    store.put(&record("ada/b", "3")).unwrap();
    store.put(&record("ada", "2")).unwrap();
    drop(store);
    let expected = [pair("ada", "2"), pair("ada/b", "3"), pair("bob", "1")];
    assert_eq!(hashes(folder.path()), expected);
}

#[test]
fn nobody_else_can_read_what_holds_tokens() {
    let folder = state();
    let store = Sqlite::open(folder.path()).unwrap();
    let ada = record("ada", "1");
    store.put(&ada).unwrap();
    let copy = format!("notebooks/{}/record.json", ada.notebook.short_name());
    for file in ["state.db", "state.db-wal", "state.db-shm", &copy] {
        let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_database_that_is_none_is_set_aside_and_records_are_found_again() {
    let folder = state();
    Sqlite::open(folder.path()).unwrap().put(&record("ada", "1")).unwrap();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(folder.path().join(format!("state.db{suffix}"))).ok();
    }
    fs::write(folder.path().join("state.db"), "no database ".repeat(500)).unwrap();
    assert_eq!(hashes(folder.path()), [pair("ada", "1")]);
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("state.db.unreadable-"))
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn a_database_that_breaks_while_in_use_is_replaced() {
    let folder = state();
    let store = Sqlite::open(folder.path()).unwrap();
    store.put(&record("ada", "1")).unwrap();
    {
        let held = store.connection.lock().unwrap();
        let connection = held.as_ref().unwrap();
        connection.pragma_update(None, "journal_mode", "delete").unwrap();
    }
    // The pages, not the header: this is found when they are read.
    let path = folder.path().join("state.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes.iter_mut().skip(100).for_each(|byte| *byte = 0xa5);
    fs::write(&path, bytes).unwrap();
    *store.connection.lock().unwrap() = None;
    store.put(&record("bob", "1")).unwrap();
    assert_eq!(hashes(folder.path()), [pair("ada", "1"), pair("bob", "1")]);
}

#[test]
fn a_record_that_cannot_be_read_is_taken_from_its_copy() {
    let folder = state();
    let store = Sqlite::open(folder.path()).unwrap();
    for user in ["ada", "bob", "eve"] {
        store.put(&record(user, "1")).unwrap();
    }
    let copy = format!("notebooks/{}/record.json", record("eve", "1").notebook.short_name());
    fs::write(folder.path().join(copy), "{").unwrap();
    let spoil = "UPDATE server SET record = '{' WHERE user IN ('ada', 'eve')";
    store.connection.lock().unwrap().as_ref().unwrap().execute(spoil, []).unwrap();
    drop(store);
    assert_eq!(hashes(folder.path()), [pair("ada", "1"), pair("bob", "1")]);
}

#[test]
fn a_newer_database_is_left_alone() {
    let folder = state();
    let store = Sqlite::open(folder.path()).unwrap();
    let pragma = |held: &Option<rusqlite::Connection>| {
        held.as_ref().unwrap().pragma_update(None, "user_version", 99).unwrap();
    };
    pragma(&store.connection.lock().unwrap());
    drop(store);
    let error = Sqlite::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { version: 99, .. }), "{error}");
}

#[test]
fn a_full_disk_is_said_and_heals() {
    let folder = state();
    let store = Sqlite::open(folder.path()).unwrap();
    store.put(&record("ada", "1")).unwrap();
    let limit = |pages: i64| {
        let held = store.connection.lock().unwrap();
        let connection = held.as_ref().unwrap();
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    limit(1);
    let mut large = record("bob", "1");
    large.launch.context.startup = "#".repeat(1 << 20);
    let error = store.put(&large).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    // The failure has let go of the connection: the next call finds room.
    store.put(&large).unwrap();
    assert_eq!(hashes(folder.path()), [pair("ada", "1"), pair("bob", "1")]);
}
