//! Names that are asked for again and again and are not there: the pages of an application behind
//! the folder, which must not cost a look at the disk each time.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

/// So often a name must have been missed: what is asked for, put there, and asked for again is
/// always found.
const OFTEN: u32 = 16;
/// Milliseconds after which the disk is asked again.
const LOOK_AGAIN: u64 = 20;
/// Names that are remembered; with more, all are forgotten.
const MOST: usize = 1024;

/// First names of paths (empty for the folder itself) that are not in the folder.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// Held for a look-up or a change.
    names: RwLock<HashMap<Box<[u8]>, Arc<Absence>>>,
}

#[derive(Debug, Default)]
struct Absence {
    misses: AtomicU32,
    /// When the disk was asked last, in milliseconds.
    looked: AtomicU64,
}

impl Missing {
    /// Whether there is nothing at this path, as far as was seen a moment ago.
    pub(super) fn is_known(&self, path: &[u8], now: u64) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(first_name(path)).is_some_and(|absence| {
            absence.misses.load(Ordering::Relaxed) >= OFTEN
                && now.saturating_sub(absence.looked.load(Ordering::Relaxed)) < LOOK_AGAIN
        })
    }

    /// Notes that nothing was found at a path. `is_there` looks for the first name alone.
    pub(super) fn note(&self, path: &[u8], now: u64, is_there: impl FnOnce(&[u8]) -> bool) {
        let name = first_name(path);
        let absence = self.absence(name);
        if absence.misses.fetch_add(1, Ordering::Relaxed) + 1 < OFTEN {
            return;
        }
        if is_there(name) {
            absence.misses.store(0, Ordering::Relaxed);
        } else {
            absence.looked.store(now, Ordering::Relaxed);
        }
    }

    fn absence(&self, name: &[u8]) -> Arc<Absence> {
        let known = self.names.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.unwrap_or_else(|| {
            let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
            if names.len() >= MOST {
                names.clear();
            }
            names.entry(name.into()).or_default().clone()
        })
    }
}

fn first_name(path: &[u8]) -> &[u8] {
    let names = path.strip_prefix(b"/").unwrap_or(path);
    names.split(|b| *b == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missed_often_is_believed_to_be_missing_and_not_for_long() {
        let missing = Missing::default();
        let miss = |path: &[u8], now, is_there| missing.note(path, now, |_| is_there);
        for _ in 1..OFTEN {
            miss(b"/app/a", 0, false);
            assert!(!missing.is_known(b"/app/b", 0));
        }
        miss(b"/app", 0, false);
        assert!(missing.is_known(b"/app/b", 0));
        assert!(missing.is_known(b"/app", LOOK_AGAIN - 1));
        assert!(!missing.is_known(b"/app", LOOK_AGAIN));
        assert!(!missing.is_known(b"/apple", 0));
        miss(b"/app", LOOK_AGAIN, true);
        assert!(!missing.is_known(b"/app", LOOK_AGAIN));
        miss(b"/app", LOOK_AGAIN, false);
        assert!(!missing.is_known(b"/app", LOOK_AGAIN));
    }

    #[test]
    fn names_are_forgotten_before_they_are_too_many() {
        let missing = Missing::default();
        for name in 0..10 * MOST {
            missing.note(format!("/{name}").as_bytes(), 0, |_| false);
        }
        assert!(missing.names.read().unwrap().len() <= MOST);
        for (path, name) in [("", ""), ("/", ""), ("/a", "a"), ("/a/", "a"), ("/a/b", "a")] {
            assert_eq!(first_name(path.as_bytes()), name.as_bytes());
        }
    }
}
