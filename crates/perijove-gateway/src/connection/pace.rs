//! How long a client that is slow is waited for.

use std::time::Duration;

#[cfg(target_os = "linux")]
use crate::linux::unsent;
#[cfg(not(target_os = "linux"))]
use crate::portable::unsent;
use crate::{Plan, clock, stream::Socket, watch::Watch};

/// The patience with a client that sends a body: waiting uses it up, and what comes earns it again,
/// at the least rate. So a client may pause, and may be slow for a moment, but not for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Milliseconds that are left.
    credit: u64,
    /// Since when the client has been waited for, by [`clock::now`].
    since: Option<u64>,
    most: u64,
    /// Bytes per second; 0 when any byte earns all of it.
    rate: u64,
}

impl Pace {
    pub(super) fn of_body(rules: &Plan) -> Self {
        Self::new(rules.transfer_time, rules.body_rate)
    }

    pub(super) fn of_answer(rules: &Plan) -> Self {
        Self::new(rules.transfer_time, rules.answer_rate)
    }

    fn new(time: Duration, rate: u64) -> Self {
        let most = clock::milliseconds(time);
        Self { credit: most, since: None, most, rate }
    }

    /// The client is waited for, until `watch` says that it was for too long.
    pub(super) fn wait(&mut self, watch: &Watch) {
        if self.since.is_none() || !watch.is_armed() {
            self.pause();
            self.since = Some(clock::now());
            watch.arm(Duration::from_millis(self.credit));
        }
    }

    /// Somebody else is waited for.
    pub(super) fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            self.credit = self.credit.saturating_sub(clock::now().saturating_sub(since));
        }
    }

    /// So much came.
    pub(super) fn gain(&mut self, bytes: usize) {
        self.pause();
        let earned = (bytes as u64).saturating_mul(1000).checked_div(self.rate);
        let earned = earned.unwrap_or(self.most);
        self.credit = self.credit.saturating_add(earned).min(self.most);
    }
}

/// A time in which a client had more to take than it took, all along.
///
/// What the kernel was given tells little: it takes megabytes for a client that takes none, and
/// then nothing for minutes while the client does. So what it still holds is counted too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    since: u64,
    taken: i64,
}

impl Window {
    /// `written`: bytes that the socket was given so far.
    pub(super) fn begin(socket: &Socket, written: u64) -> Self {
        Self { since: clock::now(), taken: taken(socket, written) }
    }

    /// Whether the client took less than `rate` bytes per second, or nothing.
    pub(super) fn is_slow(&self, now: &Self, rate: u64) -> bool {
        let time = now.since.saturating_sub(self.since);
        let least = rate.saturating_mul(time).div_euclid(1000).max(1);
        now.taken.saturating_sub(self.taken) < i64::try_from(least).unwrap_or(i64::MAX)
    }
}

/// How much of what a socket was given has reached the other side. Only differences mean anything.
fn taken(socket: &Socket, written: u64) -> i64 {
    let held = match socket {
        Socket::Tcp(_) => unsent(socket),
        Socket::Unix(_) => 0,
    };
    i64::try_from(written).unwrap_or(i64::MAX).saturating_sub(i64::from(held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_earns_time_up_to_all_of_it() {
        let check = |rate: u64, credit: u64, bytes: usize, expected: u64| {
            let mut pace = Pace { credit, since: None, most: 10_000, rate };
            pace.gain(bytes);
            assert_eq!(pace.credit, expected, "{rate} {credit} {bytes}");
        };
        check(500, 4000, 500, 5000);
        check(500, 4000, 0, 4000);
        check(500, 4000, 100_000, 10_000);
        check(500, 4000, 1, 4002);
        check(0, 4000, 1, 10_000);
        check(u64::MAX, 4000, usize::MAX, 4001);
    }

    #[test]
    fn a_client_is_slow_by_what_it_took() {
        let check = |rate: u64, time: u64, taken: i64, expected: bool| {
            let begin = Window { since: 1000, taken: -500 };
            let now = Window { since: 1000 + time, taken: taken - 500 };
            assert_eq!(begin.is_slow(&now, rate), expected, "{rate} {time} {taken}");
        };
        check(500, 10_000, 5000, false);
        check(500, 10_000, 4999, true);
        check(500, 0, 0, true);
        check(0, 10_000, 0, true);
        check(0, 10_000, 1, false);
        check(u64::MAX, 10_000, 1 << 40, true);
    }
}
