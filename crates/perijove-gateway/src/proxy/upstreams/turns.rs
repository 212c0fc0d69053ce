//! Turns among equal upstreams elsewhere: who is as busy as others is asked after them, by weight.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

/// What a request weighs at an upstream of weight 1: all weights up to 16 divide it.
const WHOLE: u64 = 720_720;
/// The heaviest weight.
const HEAVIEST: u32 = 1000;

/// After the first failure.
const SHORTEST_REST: Duration = Duration::from_millis(500);
/// After many.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// How one upstream takes its turn. Each request moves it on by as much as it is light, from where
/// the set is now: who was away for a while has nothing to make up for.
#[derive(Debug)]
pub(super) struct Turns {
    share: u64,
    next: AtomicU64,
    /// Where the set is; shared by all of it.
    round: Arc<AtomicU64>,
    /// Failures since it last answered.
    failures: AtomicU32,
}

impl Turns {
    pub(super) fn new(weight: u32, round: Arc<AtomicU64>) -> Self {
        let share = WHOLE / u64::from(weight.clamp(1, HEAVIEST));
        let next = AtomicU64::new(round.load(Ordering::Relaxed));
        Self { share, next, round, failures: AtomicU32::new(0) }
    }

    /// How busy it is for its weight.
    pub(super) fn load(&self, busy: usize) -> u64 {
        (busy as u64).saturating_mul(self.share)
    }

    /// When its turn is, among those that are as busy.
    pub(super) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// It was given a request.
    pub(super) fn take(&self) {
        let now = self.next().max(self.round.load(Ordering::Relaxed));
        self.next.store(now + self.share, Ordering::Relaxed);
        self.round.fetch_max(now, Ordering::Relaxed);
    }

    /// How long it is left alone after one failure more.
    pub(super) fn fail(&self) -> Duration {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        SHORTEST_REST.saturating_mul(1 << before.min(6)).min(LONGEST_REST)
    }

    /// It has answered.
    pub(super) fn answer(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU64};

    use super::Turns;

    /// Who is asked by so many requests, one after the other.
    fn asked(weights: &[u32], requests: usize) -> Vec<usize> {
        let round = Arc::new(AtomicU64::new(0));
        let all: Vec<_> = weights.iter().map(|weight| Turns::new(*weight, round.clone())).collect();
        let ask = |_| {
            let (at, turns) = all.iter().enumerate().min_by_key(|(_, turns)| turns.next()).unwrap();
            turns.take();
            at
        };
        (0..requests).map(ask).collect()
    }

    #[test]
    fn each_is_asked_in_turn_by_its_weight() {
        let check = |weights: &[u32], expected: &[usize]| {
            assert_eq!(asked(weights, expected.len()), expected, "{weights:?}");
        };
        check(&[1], &[0, 0, 0]);
        check(&[1, 1, 1], &[0, 1, 2, 0, 1, 2]);
        check(&[2, 1], &[0, 1, 0, 0, 1, 0]);
        let many = asked(&[5, 3, 1], 900);
        let count = |who| many.iter().filter(|at| **at == who).count();
        assert_eq!((count(0), count(1), count(2)), (500, 300, 100));
    }

    #[test]
    fn who_was_away_has_nothing_to_make_up_for() {
        let round = Arc::new(AtomicU64::new(0));
        let (away, here) = (Turns::new(1, round.clone()), Turns::new(1, round.clone()));
        (0..100).for_each(|_| here.take());
        away.take();
        assert!(away.next() + away.share >= here.next());
        assert!(Turns::new(1, round).next() + away.share >= here.next());
    }

    #[test]
    fn rests_grow_with_failures() {
        let turns = Turns::new(1, Arc::default());
        let rests: Vec<_> = (0..8).map(|_| turns.fail().as_millis()).collect();
        assert_eq!(rests, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        turns.answer();
        assert_eq!(turns.fail().as_millis(), 500);
    }
}
