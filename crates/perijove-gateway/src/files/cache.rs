//! The small files of a folder that were asked for, in bounded memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, atomic::Ordering},
};

use super::entry::Entry;

/// Entries by path. When there is no room, what was not used since the last search for room goes
/// first (a clock, as in page caches).
#[derive(Debug)]
pub(super) struct Cache {
    limit: usize,
    /// Held for a look-up or a change, never while anything is read.
    shelf: RwLock<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    entries: HashMap<Arc<[u8]>, Arc<Entry>>,
    /// Every key of `entries`, once.
    order: VecDeque<Arc<[u8]>>,
    weight: usize,
}

impl Cache {
    /// Holds about `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, shelf: RwLock::default() }
    }

    pub(super) fn get(&self, path: &[u8]) -> Option<Arc<Entry>> {
        let shelf = self.shelf.read().unwrap_or_else(PoisonError::into_inner);
        let entry = shelf.entries.get(path)?;
        if !entry.is_used.load(Ordering::Relaxed) {
            entry.is_used.store(true, Ordering::Relaxed);
        }
        Some(entry.clone())
    }

    pub(super) fn insert(&self, path: &[u8], entry: Arc<Entry>) {
        let weight = weight(path, &entry);
        let mut shelf = self.shelf.write().unwrap_or_else(PoisonError::into_inner);
        shelf.remove(path);
        if weight > self.limit {
            return;
        }
        while shelf.weight + weight > self.limit {
            shelf.make_room();
        }
        let path: Arc<[u8]> = path.into();
        shelf.weight += weight;
        shelf.order.push_back(path.clone());
        shelf.entries.insert(path, entry);
    }

    pub(super) fn remove(&self, path: &[u8]) {
        if self.get(path).is_none() {
            return;
        }
        self.shelf.write().unwrap_or_else(PoisonError::into_inner).remove(path);
    }
}

impl Shelf {
    fn remove(&mut self, path: &[u8]) {
        if let Some(entry) = self.entries.remove(path) {
            self.weight = self.weight.saturating_sub(weight(path, &entry));
            self.order.retain(|key| key.as_ref() != path);
        }
    }

    /// Drops the first entry that was not used since the last time around.
    fn make_room(&mut self) {
        let Some(path) = self.order.pop_front() else {
            self.weight = 0;
            return;
        };
        let Some(entry) = self.entries.get(&path) else { return };
        if entry.is_used.swap(false, Ordering::Relaxed) {
            self.order.push_back(path);
        } else {
            self.weight = self.weight.saturating_sub(weight(&path, entry));
            self.entries.remove(&path);
        }
    }
}

fn weight(path: &[u8], entry: &Entry) -> usize {
    entry.weight() + 2 * path.len()
}

#[cfg(test)]
impl Cache {
    /// What it holds, by its own count and by counting again: both must agree.
    pub(super) fn weight(&self) -> usize {
        let shelf = self.shelf.read().unwrap();
        let counted = shelf.entries.iter().map(|(path, entry)| weight(path, entry)).sum::<usize>();
        assert_eq!(shelf.weight, counted);
        assert_eq!(shelf.order.len(), shelf.entries.len());
        counted
    }
}
