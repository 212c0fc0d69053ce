//! The small files that were asked for, in bounded memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, atomic::Ordering},
};

use super::entry::Entry;

/// Memory for small files, shared by all folders that are given the same one; cheap to clone.
#[derive(Clone, Debug)]
pub struct FileMemory {
    cupboard: Arc<Cupboard>,
}

/// Entries of several folders. When there is no room, what was not used since the last search for
/// room goes first (a clock, as in page caches), whosever it is.
#[derive(Debug)]
struct Cupboard {
    limit: usize,
    /// Held for a look-up or a change, never while anything is read.
    shelves: RwLock<Shelves>,
}

#[derive(Debug, Default)]
struct Shelves {
    /// By folder, then by path.
    entries: Vec<HashMap<Arc<[u8]>, Arc<Entry>>>,
    /// Every key of `entries`, once.
    order: VecDeque<(usize, Arc<[u8]>)>,
    weight: usize,
}

/// The part of one folder. It stays taken when the folder is no longer served: who serves other
/// folders begins with other memory.
#[derive(Debug)]
pub(super) struct Cache {
    memory: FileMemory,
    shelf: usize,
}

impl FileMemory {
    /// Holds about `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { cupboard: Arc::new(Cupboard { limit, shelves: RwLock::default() }) }
    }

    pub(super) fn shelf(&self) -> Cache {
        let mut shelves = self.cupboard.shelves.write().unwrap_or_else(PoisonError::into_inner);
        shelves.entries.push(HashMap::new());
        Cache { memory: self.clone(), shelf: shelves.entries.len() - 1 }
    }
}

impl Cache {
    pub(super) fn get(&self, path: &[u8]) -> Option<Arc<Entry>> {
        let shelves = self.memory.cupboard.shelves.read().unwrap_or_else(PoisonError::into_inner);
        let entry = shelves.entries.get(self.shelf)?.get(path)?;
        if !entry.is_used.load(Ordering::Relaxed) {
            entry.is_used.store(true, Ordering::Relaxed);
        }
        Some(entry.clone())
    }

    pub(super) fn insert(&self, path: &[u8], entry: Arc<Entry>) {
        let weight = weight(path, &entry);
        let Cupboard { limit, shelves } = &*self.memory.cupboard;
        let mut shelves = shelves.write().unwrap_or_else(PoisonError::into_inner);
        shelves.remove(self.shelf, path);
        if weight > *limit {
            return;
        }
        while shelves.weight + weight > *limit {
            shelves.make_room();
        }
        let path: Arc<[u8]> = path.into();
        if let Some(entries) = shelves.entries.get_mut(self.shelf) {
            entries.insert(path.clone(), entry);
            shelves.weight += weight;
            shelves.order.push_back((self.shelf, path));
        }
    }

    pub(super) fn remove(&self, path: &[u8]) {
        if self.get(path).is_none() {
            return;
        }
        let shelves = &self.memory.cupboard.shelves;
        shelves.write().unwrap_or_else(PoisonError::into_inner).remove(self.shelf, path);
    }
}

impl Shelves {
    fn remove(&mut self, shelf: usize, path: &[u8]) {
        if let Some(entry) = self.entries.get_mut(shelf).and_then(|entries| entries.remove(path)) {
            self.weight = self.weight.saturating_sub(weight(path, &entry));
            self.order.retain(|(at, key)| *at != shelf || key.as_ref() != path);
        }
    }

    /// Drops the first entry that was not used since the last time around.
    fn make_room(&mut self) {
        let Some((shelf, path)) = self.order.pop_front() else {
            self.weight = 0;
            return;
        };
        let Some(entries) = self.entries.get_mut(shelf) else { return };
        let Some(entry) = entries.get(&path) else { return };
        if entry.is_used.swap(false, Ordering::Relaxed) {
            self.order.push_back((shelf, path));
        } else {
            self.weight = self.weight.saturating_sub(weight(&path, entry));
            entries.remove(&path);
        }
    }
}

fn weight(path: &[u8], entry: &Entry) -> usize {
    entry.weight() + 2 * path.len()
}

#[cfg(test)]
impl Cache {
    /// What the memory holds, by its own count and by counting again: both must agree.
    pub(super) fn weight(&self) -> usize {
        let shelves = self.memory.cupboard.shelves.read().unwrap();
        let all = || shelves.entries.iter().flatten();
        let counted = all().map(|(path, entry)| weight(path, entry)).sum::<usize>();
        assert_eq!(shelves.weight, counted);
        assert_eq!(shelves.order.len(), all().count());
        counted
    }
}
