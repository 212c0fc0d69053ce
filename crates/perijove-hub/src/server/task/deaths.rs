//! How often a server has died by itself, and whether it is started once more.

use std::time::Duration;

use tokio::time::Instant;

/// A server that dies so often within that time is left to its owner.
const MOST: usize = 5;
const WHILE: Duration = Duration::from_secs(600);
/// The pause after the first death; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The deaths of one server.
#[derive(Debug, Default)]
pub(super) struct Deaths(Vec<Instant>);

/// What follows a death.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    StartAfter(Duration),
    /// It has died too often.
    Rest,
}

impl Deaths {
    pub(super) fn note(&mut self) -> Then {
        self.0.retain(|at| at.elapsed() < WHILE);
        self.0.push(Instant::now());
        if self.0.len() >= MOST {
            self.0.clear();
            return Then::Rest;
        }
        let doublings = u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX);
        Then::StartAfter(FIRST_PAUSE * 2_u32.saturating_pow(doublings))
    }

    /// "five times within 10 min"
    pub(super) fn too_many() -> String {
        format!("{MOST} times within {} min", WHILE.as_secs() / 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_until_it_is_enough() {
        let mut deaths = Deaths::default();
        for seconds in [1, 2, 4, 8] {
            assert_eq!(deaths.note(), Then::StartAfter(Duration::from_secs(seconds)));
        }
        assert_eq!(deaths.note(), Then::Rest);
        assert_eq!(deaths.note(), Then::StartAfter(FIRST_PAUSE));
        for _ in 0..20 {
            tokio::time::advance(WHILE).await;
            assert_eq!(deaths.note(), Then::StartAfter(FIRST_PAUSE));
        }
    }
}
