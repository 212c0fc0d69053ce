//! How long to wait before something that ended is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
const SETTLED: Duration = Duration::from_secs(30);

/// Pauses that double from 0.1 s to 30 s, and begin anew after a run of at least 30 s.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The pause after a run that lasted `ran_for`.
    pub fn after(&mut self, ran_for: Duration) -> Duration {
        if ran_for >= SETTLED {
            self.next = FIRST;
        }
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(runs: &[u64], pauses: &[u128]) {
        let mut backoff = Backoff::default();
        let got: Vec<u128> =
            runs.iter().map(|run| backoff.after(Duration::from_millis(*run)).as_millis()).collect();
        assert_eq!(got, pauses);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        check(&[0; 11], &[100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
    }

    #[test]
    fn a_run_that_settled_begins_anew() {
        check(&[0, 0, 29_999, 30_000, 0], &[100, 200, 400, 100, 200]);
    }
}
