//! How many requests took how long.

use std::sync::atomic::AtomicU64;

use super::shard::{add, read};

/// Upper bounds of the buckets, in seconds; a last bucket has no bound.
pub const BOUNDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// The same in microseconds.
const MICROSECONDS: [u64; 16] = [
    500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

const BUCKETS: usize = MICROSECONDS.len() + 1;

/// Times that one thread has seen, or that all have seen together.
#[derive(Debug, Default)]
pub(crate) struct Times {
    buckets: [AtomicU64; BUCKETS],
    /// In microseconds.
    sum: AtomicU64,
}

impl Times {
    /// Only one thread may write.
    pub(crate) fn record(&self, microseconds: u64) {
        // Most requests are quick: the first buckets are looked at first.
        let at = MICROSECONDS.iter().position(|bound| microseconds <= *bound);
        if let Some(bucket) = self.buckets.get(at.unwrap_or(BUCKETS - 1)) {
            add(bucket, 1);
        }
        add(&self.sum, microseconds);
    }

    /// The same where several threads write: for what is rare.
    pub(crate) fn record_shared(&self, microseconds: u64) {
        use std::sync::atomic::Ordering::Relaxed;
        let at = MICROSECONDS.iter().position(|bound| microseconds <= *bound);
        if let Some(bucket) = self.buckets.get(at.unwrap_or(BUCKETS - 1)) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(microseconds, Relaxed);
    }

    pub(super) fn add(&self, other: &Self) {
        for (bucket, more) in self.buckets.iter().zip(&other.buckets) {
            add(bucket, read(more));
        }
        add(&self.sum, read(&other.sum));
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of centuries fit")]
    pub(crate) fn snapshot(&self) -> Histogram {
        let counts = self.buckets.iter().map(read).collect();
        Histogram { counts, sum: read(&self.sum) as f64 / 1e6 }
    }
}

/// How many fell into each bucket of [`BOUNDS`], each by itself, the last without a bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    pub counts: Vec<u64>,
    /// Of all, in seconds.
    pub sum: f64,
}

impl Histogram {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_the_same_in_both_units() {
        for (seconds, microseconds) in BOUNDS.iter().zip(MICROSECONDS) {
            let told = u32::try_from(microseconds).unwrap();
            assert!((seconds * 1e6 - f64::from(told)).abs() < 1e-6);
        }
    }

    #[test]
    fn a_time_falls_into_its_bucket() {
        let check = |microseconds, expected: usize| {
            let times = Times::default();
            times.record(microseconds);
            let counts = times.snapshot().counts;
            assert_eq!(counts.iter().position(|count| *count == 1), Some(expected));
        };
        check(0, 0);
        check(500, 0);
        check(501, 1);
        check(60_000_000, 15);
        check(60_000_001, 16);
    }
}
