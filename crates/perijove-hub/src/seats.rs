//! How many notebooks may run: in all, and of each user.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::user::User;

/// The seats of all notebooks that run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seats(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Held for the length of one look or one change.
    taken: Mutex<Taken>,
    /// Counts the seats that were given back.
    given_back: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_user: HashMap<User, usize>,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeatLimits {
    pub(crate) all: usize,
    pub(crate) each: usize,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Nobody gets one.
    All,
    /// This user has as many as one may have.
    User,
}

/// The right to be one of the notebooks that run; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    user: User,
}

impl Seats {
    pub(crate) fn take(&self, user: &User, limits: SeatLimits) -> Result<Seat, Full> {
        let mut taken = self.taken();
        if taken.by_user.get(user).copied().unwrap_or_default() >= limits.each {
            return Err(Full::User);
        }
        if taken.all >= limits.all {
            return Err(Full::All);
        }
        taken.add(user);
        Ok(self.seat(user))
    }

    /// A seat for a notebook that runs already.
    pub(crate) fn take_anyway(&self, user: &User) -> Seat {
        self.taken().add(user);
        self.seat(user)
    }

    /// Follows the seats that are given back.
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        self.0.given_back.subscribe()
    }

    pub(crate) fn are_free(&self) -> bool {
        self.taken().all == 0
    }

    fn seat(&self, user: &User) -> Seat {
        Seat { seats: self.clone(), user: user.clone() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn add(&mut self, user: &User) {
        self.all += 1;
        *self.by_user.entry(user.clone()).or_default() += 1;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all = taken.all.saturating_sub(1);
        if let Some(count) = taken.by_user.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by_user.remove(&self.user);
            }
        }
        drop(taken);
        self.seats.0.given_back.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_in_all_and_for_each_user() {
        let seats = Seats::default();
        let limits = SeatLimits { all: 3, each: 2 };
        let [ada, bob] = ["ada", "bob"].map(|name| User::new(name).unwrap());
        let first = seats.take(&ada, limits).unwrap();
        let _second = seats.take(&ada, limits).unwrap();
        assert_eq!(seats.take(&ada, limits).unwrap_err(), Full::User);
        let _third = seats.take(&bob, limits).unwrap();
        assert_eq!(seats.take(&bob, limits).unwrap_err(), Full::All);
        let _anyway = seats.take_anyway(&bob);
        drop(first);
        assert_eq!(seats.take(&ada, limits).unwrap_err(), Full::All);
        assert!(!seats.are_free());
    }
}
