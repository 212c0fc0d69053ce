//! Who is there: the workers of all versions of an application.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::WorkerStatus;

/// Names a worker among all of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Of the set, never used twice.
    pub(crate) set: u64,
    /// Among those of its set.
    pub(crate) at: usize,
    /// 0 while it is kept; else of a process that was replaced, never used twice.
    pub(crate) leaving: u64,
}

/// All workers there are, in the order of their sets.
pub(crate) type Entries = BTreeMap<Place, WorkerStatus>;

/// What is known of all workers; those that are gone are not in it.
#[derive(Clone, Debug)]
pub(crate) struct Roll(watch::Sender<Entries>);

impl Roll {
    pub(crate) fn new() -> Self {
        Self(watch::channel(Entries::new()).0)
    }

    pub(crate) fn follow(&self) -> watch::Receiver<Entries> {
        self.0.subscribe()
    }

    pub(crate) fn enter(&self, place: Place, status: WorkerStatus) {
        self.0.send_modify(|all| drop(all.insert(place, status)));
    }

    pub(crate) fn change(&self, place: Place, change: impl FnOnce(&mut WorkerStatus)) {
        self.0.send_modify(|all| {
            if let Some(status) = all.get_mut(&place) {
                change(status);
            }
        });
    }

    pub(crate) fn leave(&self, place: Place) {
        self.0.send_modify(|all| drop(all.remove(&place)));
    }

    /// Those of one set.
    pub(crate) fn of(all: &Entries, set: u64) -> impl Iterator<Item = (&Place, &WorkerStatus)> {
        all.iter().filter(move |(place, _)| place.set == set)
    }
}
