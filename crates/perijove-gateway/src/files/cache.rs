//! The small files that were asked for, in bounded memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, atomic::Ordering},
};

use super::{entry::Entry, press::Press};

/// Memory for small files, shared by all folders that are given the same one; cheap to clone.
#[derive(Clone, Debug)]
pub struct FileMemory {
    cupboard: Arc<Cupboard>,
    press: Arc<Press>,
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
    entries: Vec<HashMap<Arc<[u8]>, Kept>>,
    /// Every key of `entries`, once.
    order: VecDeque<(usize, Arc<[u8]>)>,
    weight: usize,
}

/// An entry, and what it weighed when it was weighed last.
#[derive(Clone, Debug)]
struct Kept {
    entry: Arc<Entry>,
    weight: usize,
}

/// The part of one folder. It stays taken when the folder is no longer served: who serves other
/// folders begins with other memory.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    memory: FileMemory,
    shelf: usize,
}

impl FileMemory {
    /// Holds about `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let cupboard = Arc::new(Cupboard { limit, shelves: RwLock::default() });
        Self { cupboard, press: Arc::default() }
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
        let entry = &shelves.entries.get(self.shelf)?.get(path)?.entry;
        if !entry.is_used.load(Ordering::Relaxed) {
            entry.is_used.store(true, Ordering::Relaxed);
        }
        Some(entry.clone())
    }

    /// What compresses the longer ones.
    pub(super) fn press(&self) -> &Press {
        &self.memory.press
    }

    pub(super) fn insert(&self, path: &[u8], entry: Arc<Entry>) {
        let weight = weight(path, &entry);
        let Cupboard { limit, shelves } = &*self.memory.cupboard;
        let mut shelves = shelves.write().unwrap_or_else(PoisonError::into_inner);
        shelves.remove(self.shelf, path);
        if weight > *limit {
            return;
        }
        shelves.make_room_for(weight, *limit);
        let path: Arc<[u8]> = path.into();
        if let Some(entries) = shelves.entries.get_mut(self.shelf) {
            entries.insert(path.clone(), Kept { entry, weight });
            shelves.weight += weight;
            shelves.order.push_back((self.shelf, path));
        }
    }

    /// Weighs an entry again that has grown since.
    pub(super) fn weigh(&self, path: &[u8]) {
        let Cupboard { limit, shelves } = &*self.memory.cupboard;
        let mut shelves = shelves.write().unwrap_or_else(PoisonError::into_inner);
        let kept = shelves.entries.get_mut(self.shelf).and_then(|entries| entries.get_mut(path));
        let Some(kept) = kept else { return };
        let before = std::mem::replace(&mut kept.weight, weight(path, &kept.entry));
        let now = kept.weight;
        shelves.weight = (shelves.weight + now).saturating_sub(before);
        shelves.make_room_for(0, *limit);
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
        if let Some(kept) = self.entries.get_mut(shelf).and_then(|entries| entries.remove(path)) {
            self.weight = self.weight.saturating_sub(kept.weight);
            self.order.retain(|(at, key)| *at != shelf || key.as_ref() != path);
        }
    }

    fn make_room_for(&mut self, weight: usize, limit: usize) {
        while self.weight + weight > limit {
            self.make_room();
        }
    }

    /// Drops the first entry that was not used since the last time around.
    fn make_room(&mut self) {
        let Some((shelf, path)) = self.order.pop_front() else {
            self.weight = 0;
            return;
        };
        let Some(entries) = self.entries.get_mut(shelf) else { return };
        let Some(kept) = entries.get(&path) else { return };
        if kept.entry.is_used.swap(false, Ordering::Relaxed) {
            self.order.push_back((shelf, path));
        } else {
            self.weight = self.weight.saturating_sub(kept.weight);
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
        let counted = all().map(|(path, kept)| weight(path, &kept.entry)).sum::<usize>();
        assert_eq!(shelves.weight, counted);
        assert_eq!(shelves.order.len(), all().count());
        counted
    }
}
