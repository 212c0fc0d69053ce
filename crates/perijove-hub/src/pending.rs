//! Launches that wait: for a word of their user, or for a seat.
//!
//! Each has a secret name, belongs to one user, is used up once and forgotten after a while. Those
//! that wait for a seat are a queue: served in their order, as long as somebody looks at their page.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    launch::LaunchError,
    notebook::{Name, Notebook},
    record::Launch,
    user::{User, hex},
};

/// How long one is kept that nobody looks at.
const KEPT: Duration = Duration::from_secs(600);
/// How long one may wait in the queue, whoever looks.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Whoever waits for a seat has looked at their page within this time, or is passed over.
const PRESENT: Duration = Duration::from_secs(15);
/// How many there may be in all, and of one user.
const MOST: usize = 200;
const MOST_OF_ONE: usize = 5;

/// A launch that has not come about yet.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) notebook: Notebook,
    pub(crate) launch: Launch,
    /// The file to open, where one was asked for.
    pub(crate) path: Option<String>,
    /// What it would be called beside the others.
    pub(crate) beside: Option<Name>,
    pub(crate) why: Why,
}

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It would take the place of one that computes.
    Busy,
    /// It would take the place of another one, and comes from another site's page.
    Elsewhere,
    /// Its user has as many as one may have.
    TooManyOfOne,
    /// All seats are taken.
    TooMany,
}

/// All that wait. Held for the length of one look or one change.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    count: u64,
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    made: Instant,
    seen: Instant,
    pending: Pending,
}

impl Waiting {
    /// Keeps a launch; its secret name. A user's oldest one makes room.
    pub(crate) fn put(&self, pending: Pending) -> Result<String, LaunchError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| LaunchError::NoRandomness)?;
        let id = hex(&bytes);
        let mut inner = self.tidy();
        let of_one = inner.entries.iter().filter(|(_, e)| e.is_of(&pending.notebook.user));
        let oldest = of_one.clone().min_by_key(|(_, e)| e.number).map(|(id, _)| id.clone());
        if of_one.count() >= MOST_OF_ONE
            && let Some(oldest) = oldest
        {
            inner.entries.remove(&oldest);
        }
        if inner.entries.len() >= MOST {
            return Err(LaunchError::QueueFull);
        }
        inner.count += 1;
        let (number, now) = (inner.count, Instant::now());
        inner.entries.insert(id.clone(), Entry { number, made: now, seen: now, pending });
        Ok(id)
    }

    /// A launch of this user's, whose page is looked at now.
    pub(crate) fn look(&self, id: &str, user: &User) -> Option<Pending> {
        let mut inner = self.tidy();
        let entry = inner.entries.get_mut(id).filter(|entry| entry.is_of(user))?;
        entry.seen = Instant::now();
        Some(entry.pending.clone())
    }

    /// The same, which is over with that.
    pub(crate) fn take(&self, id: &str, user: &User) -> Option<Pending> {
        let mut inner = self.tidy();
        inner.entries.get(id).filter(|entry| entry.is_of(user))?;
        inner.entries.remove(id).map(|entry| entry.pending)
    }

    /// How many come before this one in the queue.
    pub(crate) fn before(&self, id: &str) -> Option<usize> {
        let inner = self.tidy();
        let own = inner.entries.get(id)?.number;
        Some(inner.entries.values().filter(|entry| entry.waits() && entry.number < own).count())
    }

    /// Whether somebody waits for a seat.
    pub(crate) fn is_queue(&self) -> bool {
        self.tidy().entries.values().any(Entry::waits)
    }

    fn tidy(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.entries.retain(|_, e| e.seen.elapsed() < KEPT && e.made.elapsed() < LONGEST_WAIT);
        inner
    }
}

impl Entry {
    fn is_of(&self, user: &User) -> bool {
        self.pending.notebook.user == *user
    }

    /// Whether a seat that becomes free is for it.
    fn waits(&self) -> bool {
        self.pending.why == Why::TooMany && self.seen.elapsed() < PRESENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::LaunchRequest;

    fn pending(user: &str, why: Why) -> Pending {
        let request = LaunchRequest::parse(b"{}").unwrap();
        let launch = Launch {
            context: request.context,
            hash: request.hash,
            folder: "/f".into(),
            kill_timeout: 0,
            opens: "x.ipynb".into(),
        };
        let notebook = Notebook::called(user);
        Pending { notebook, launch, path: None, beside: None, why }
    }

    fn user(name: &str) -> User {
        User::new(name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_its_users_used_once_and_forgotten() {
        let waiting = Waiting::default();
        let id = waiting.put(pending("ada", Why::Busy)).unwrap();
        assert!(waiting.look(&id, &user("bob")).is_none());
        assert!(waiting.take(&id, &user("bob")).is_none());
        assert!(waiting.take(&id, &user("ada")).is_some());
        assert!(waiting.take(&id, &user("ada")).is_none());
        let id = waiting.put(pending("ada", Why::Busy)).unwrap();
        tokio::time::advance(KEPT).await;
        assert!(waiting.look(&id, &user("ada")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_has_an_order_in_which_the_absent_do_not_count() {
        let waiting = Waiting::default();
        let ids = ["ada", "bob", "eve"].map(|n| waiting.put(pending(n, Why::TooMany)).unwrap());
        assert_eq!(waiting.before(&ids[2]), Some(2));
        tokio::time::advance(PRESENT).await;
        waiting.look(&ids[1], &user("bob")).unwrap();
        waiting.look(&ids[2], &user("eve")).unwrap();
        assert_eq!((waiting.before(&ids[1]), waiting.before(&ids[2])), (Some(0), Some(1)));
        assert!(waiting.is_queue());
        waiting.take(&ids[1], &user("bob")).unwrap();
        assert_eq!(waiting.before(&ids[2]), Some(0));
    }

    #[tokio::test]
    async fn they_are_bounded() {
        let waiting = Waiting::default();
        let first = waiting.put(pending("ada", Why::Busy)).unwrap();
        for _ in 0..MOST_OF_ONE {
            waiting.put(pending("ada", Why::Busy)).unwrap();
        }
        assert!(waiting.look(&first, &user("ada")).is_none());
        for number in MOST_OF_ONE..MOST {
            waiting.put(pending(&format!("u{number}"), Why::Busy)).unwrap();
        }
        let full = waiting.put(pending("last", Why::Busy));
        assert!(matches!(full, Err(LaunchError::QueueFull)));
    }
}
