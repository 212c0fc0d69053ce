//! Saves records without holding up the event loop, and again and again when it must be.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Store, StoreError};
use crate::{notebook::Notebook, record::Record};

/// How long to wait before what could not be saved is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// Saves records on threads that may wait.
#[derive(Clone, Debug)]
pub(crate) struct Saver {
    store: Arc<dyn Store>,
    /// Counts what is to be saved, so that what is older never replaces what is newer.
    order: Arc<AtomicU64>,
    /// The number of what was saved last of each notebook. Held while it is saved, by threads
    /// that may wait.
    written: Arc<Mutex<Written>>,
    /// The newest record of each notebook whose last saving failed; held for the length of one
    /// look or one change.
    unsaved: Arc<Mutex<HashMap<Notebook, (u64, Record)>>>,
}

#[derive(Debug, Default)]
struct Written {
    numbers: HashMap<Notebook, u64>,
    /// Another hub has the store now.
    is_closed: bool,
}

impl Saver {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, order: Arc::default(), written: Arc::default(), unsaved: Arc::default() }
    }

    /// Saves a record, or says why not.
    pub(crate) async fn save(&self, record: &Record) -> Result<(), StoreError> {
        self.save_in_order(self.next(), record).await
    }

    /// Saves a record now or, when that fails, as soon as it can be done: for what has happened
    /// already and cannot be refused.
    pub(crate) async fn save_in_the_end(&self, record: &Record) {
        let number = self.next();
        if let Err(error) = self.save_in_order(number, record).await {
            tracing::warn!(notebook = %record.notebook, %error, "a notebook's state is not saved yet");
            self.unsaved().insert(record.notebook.clone(), (number, record.clone()));
        }
    }

    /// Tries again what could not be saved, for ever.
    pub(crate) async fn run(&self) {
        loop {
            tokio::time::sleep(PAUSE).await;
            self.save_what_is_left().await;
        }
    }

    /// Nothing is written any more, also of what waits to be.
    pub(crate) async fn close(&self) {
        let written = self.written.clone();
        let close = move || {
            written.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        };
        // An error means that there is no thread that could write either.
        tokio::task::spawn_blocking(close).await.ok();
    }

    /// False when something could not be saved this time either.
    pub(crate) async fn save_what_is_left(&self) -> bool {
        let waiting: Vec<_> = self.unsaved().values().cloned().collect();
        for (number, record) in waiting {
            if self.save_in_order(number, &record).await.is_err() {
                return false;
            }
            tracing::info!(notebook = %record.notebook, "a notebook's state is saved now");
        }
        true
    }

    async fn save_in_order(&self, number: u64, record: &Record) -> Result<(), StoreError> {
        let (store, written, copy) = (self.store.clone(), self.written.clone(), record.clone());
        let put = move || {
            let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
            if written.is_closed {
                let what = "another process looks after it now".into();
                return Err(StoreError::Broken { folder: String::new(), what });
            }
            let last = written.numbers.entry(copy.notebook.clone()).or_default();
            if *last < number {
                store.put(&copy)?;
                *last = number;
            }
            Ok(())
        };
        let saved = tokio::task::spawn_blocking(put).await;
        saved.unwrap_or_else(|error| {
            let what = error.to_string().into();
            Err(StoreError::Broken { folder: String::new(), what })
        })?;
        let mut unsaved = self.unsaved();
        if unsaved.get(&record.notebook).is_some_and(|(waiting, _)| *waiting <= number) {
            unsaved.remove(&record.notebook);
        }
        Ok(())
    }

    fn next(&self) -> u64 {
        self.order.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn unsaved(&self) -> MutexGuard<'_, HashMap<Notebook, (u64, Record)>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
