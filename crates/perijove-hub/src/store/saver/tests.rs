//! Nothing that happened is forgotten, and nothing older replaces what is newer.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use super::{Saver, Store, StoreError};
use crate::{
    notebook::Notebook,
    phase::Phase,
    record::{Launch, Record, Token},
};

/// A disk that can be full.
#[derive(Debug, Default)]
struct Disk {
    is_full: AtomicBool,
    records: Mutex<Vec<Record>>,
}

impl Store for Disk {
    fn all(&self) -> Result<Vec<Record>, StoreError> {
        Ok(self.records.lock().unwrap().clone())
    }

    fn put(&self, record: &Record) -> Result<(), StoreError> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(StoreError::Full { folder: "/state".to_owned() });
        }
        self.records.lock().unwrap().push(record.clone());
        Ok(())
    }
}

fn record(phase: Phase) -> Record {
    Record {
        notebook: Notebook::called("ada"),
        phase,
        launch: Launch {
            context: crate::context::Context::default(),
            hash: String::new(),
            folder: "/srv/ada".into(),
            kill_timeout: 0,
            opens: String::new(),
        },
        token: Token::new().unwrap(),
        handle: None,
        next: None,
        ended: None,
    }
}

fn phases(disk: &Disk) -> Vec<Phase> {
    disk.all().unwrap().iter().map(|record| record.phase).collect()
}

#[tokio::test]
async fn what_happened_is_saved_when_there_is_room_again() {
    let disk = Arc::new(Disk::default());
    let saver = Saver::new(disk.clone());
    disk.is_full.store(true, Ordering::Relaxed);
    saver.save(&record(Phase::Starting)).await.unwrap_err();
    saver.save_in_the_end(&record(Phase::Ready)).await;
    assert!(!saver.save_what_is_left().await);
    assert_eq!(phases(&disk), []);
    disk.is_full.store(false, Ordering::Relaxed);
    assert!(saver.save_what_is_left().await);
    assert!(saver.save_what_is_left().await);
    assert_eq!(phases(&disk), [Phase::Ready]);
}

#[tokio::test]
async fn a_later_record_wins_over_one_that_waits() {
    let disk = Arc::new(Disk::default());
    let saver = Saver::new(disk.clone());
    disk.is_full.store(true, Ordering::Relaxed);
    saver.save_in_the_end(&record(Phase::Ready)).await;
    let waiting: Vec<_> = saver.unsaved().values().cloned().collect();
    disk.is_full.store(false, Ordering::Relaxed);
    saver.save(&record(Phase::Absent)).await.unwrap();
    for (number, record) in waiting {
        saver.save_in_order(number, &record).await.unwrap();
    }
    assert_eq!(phases(&disk), [Phase::Absent]);
    assert!(saver.unsaved().is_empty());
}

#[tokio::test]
async fn nothing_is_written_once_it_is_closed() {
    let disk = Arc::new(Disk::default());
    let saver = Saver::new(disk.clone());
    saver.save(&record(Phase::Starting)).await.unwrap();
    saver.close().await;
    assert!(saver.save(&record(Phase::Ready)).await.is_err());
    saver.save_in_the_end(&record(Phase::Ready)).await;
    saver.save_what_is_left().await;
    assert_eq!(phases(&disk), [Phase::Starting]);
}
