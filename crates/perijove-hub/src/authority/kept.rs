//! The yeses of the site that may still be used.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use perijove_gateway::FieldBlock;
use tokio::time::Instant;

use super::{AGAIN, FRESH, GRACE, KEPT, key::Key};
use crate::user::User;

/// Yeses that are kept; one takes some hundred bytes.
const MOST: usize = 8192;

/// A yes of the site.
#[derive(Clone, Debug)]
pub(super) struct Yes {
    pub(super) user: User,
    /// When the question was put: what changes afterwards is not in the answer.
    pub(super) asked_at: Instant,
    /// What the site says; `None` when it says nothing.
    pub(super) lifetime: Option<Duration>,
    /// Whether the question was about a request that changes something.
    pub(super) is_change: bool,
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Held for the length of one look or one change.
    yeses: Mutex<HashMap<Key, Yes>>,
}

impl Yes {
    /// Whether it still counts, for a new request or for an open connection.
    pub(super) fn holds(&self, now: Instant, is_open: bool) -> bool {
        let lifetime = match self.lifetime {
            Some(said) => said,
            None if self.is_change => Duration::ZERO,
            None if is_open => FRESH,
            None => KEPT,
        };
        now.duration_since(self.asked_at) < lifetime
    }

    /// Whether an open connection may go on with it although the site is silent.
    pub(super) fn outlasts_silence(&self, now: Instant) -> bool {
        let lifetime = self.lifetime.unwrap_or(AGAIN);
        now.duration_since(self.asked_at) < lifetime + GRACE
    }

    pub(super) fn word(&self, now: Instant, cookies: FieldBlock) -> super::Yes {
        let ask_again = match self.lifetime {
            Some(said) if said > AGAIN => said.saturating_sub(now.duration_since(self.asked_at)),
            // A site that lets nothing be kept is still not asked without a pause.
            _ => AGAIN,
        };
        super::Yes { user: self.user.clone(), cookies, ask_again }
    }
}

impl Kept {
    pub(super) fn get(&self, key: &Key) -> Option<Yes> {
        self.yeses().get(key).cloned()
    }

    pub(super) fn put(&self, key: Key, yes: Yes) {
        let mut yeses = self.yeses();
        if yeses.len() >= MOST && !yeses.contains_key(&key) {
            let now = Instant::now();
            yeses.retain(|_, yes| yes.outlasts_silence(now));
            // Still full: the older half is asked about anew.
            if yeses.len() >= MOST {
                let mut times: Vec<_> = yeses.values().map(|yes| yes.asked_at).collect();
                times.sort_unstable();
                let middle = times.get(times.len() / 2).copied();
                yeses.retain(|_, yes| middle.is_some_and(|middle| yes.asked_at > middle));
            }
        }
        yeses.insert(key, yes);
    }

    pub(super) fn remove(&self, key: &Key) {
        self.yeses().remove(key);
    }

    fn yeses(&self) -> MutexGuard<'_, HashMap<Key, Yes>> {
        self.yeses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.yeses().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yes(asked_at: Instant) -> Yes {
        Yes { user: User::new("ada").unwrap(), asked_at, lifetime: None, is_change: false }
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_than_so_many_are_kept() {
        let kept = Kept::default();
        for number in 0..3 * MOST as u64 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_le_bytes());
            kept.put(key, yes(Instant::now()));
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(kept.get(&key).is_some() && kept.len() <= MOST);
        }
    }
}
