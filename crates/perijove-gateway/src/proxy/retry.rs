//! When a request that failed may be sent again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::upstreams::{Slot, Upstreams};
use crate::error::Fault;

/// How an attempt to get an answer failed. Faults are boxed so that success is small.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing of the request was sent, or doing it twice is doing it once: another upstream may be
    /// tried.
    NotSent(Box<Fault>),
    /// It was taken back before anybody acted on it, and has a place at another upstream.
    Recalled(Slot),
    /// It may have been acted on, or nothing can be gained.
    Final(Box<Fault>),
}

impl Failure {
    pub(super) fn not_sent(fault: Fault) -> Self {
        Self::NotSent(Box::new(fault))
    }

    pub(super) fn last(fault: impl Into<Fault>) -> Self {
        Self::Final(Box::new(fault.into()))
    }
}

/// What was seen of a connection that ended without a byte of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unanswered<'a> {
    pub(super) method: &'a str,
    /// Whether all of the body that was sent can be sent again.
    pub(super) is_repeatable: bool,
    /// Whether any byte of the request went out.
    pub(super) is_written: bool,
}

impl Unanswered<'_> {
    /// Whether to send again on another connection: a kept-alive one was most likely closed because
    /// it was idle, but the upstream may have read the request first (RFC 9110 9.2.2).
    pub(super) fn may_repeat(self) -> bool {
        self.is_repeatable && (!self.is_written || is_idempotent(self.method))
    }
}

/// Whether doing it twice is doing it once.
pub(super) fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

/// The attempts of one request to find an upstream that can be reached.
#[derive(Debug)]
pub(super) struct Retries<'a> {
    upstreams: &'a Upstreams,
    attempts: usize,
    /// When the first attempt failed.
    since: Option<Instant>,
}

impl<'a> Retries<'a> {
    pub(super) fn new(upstreams: &'a Upstreams) -> Self {
        Self { upstreams, attempts: 0, since: None }
    }

    /// Whether to try another upstream after one could not be reached.
    pub(super) fn another(&mut self) -> Option<()> {
        self.attempts += 1;
        is_worth_another(self.attempts, self.upstreams.count()).then_some(())
    }

    /// Lets a moment pass after a worker was lost: it is being replaced, and until then the request
    /// waits in line like others, where it is served as soon as any worker can. `None` when it has
    /// waited as long as those may.
    pub(super) async fn pause(&mut self) -> Option<()> {
        self.attempts += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.upstreams.settings().wait {
            return None;
        }
        // The first one goes at once: most likely another worker is there. The line itself leaves out
        // who could not be reached, so that this only keeps a request from going round and round.
        if self.attempts > 1 {
            let exponent = u32::try_from(self.attempts.min(10)).unwrap_or_default();
            sleep(Duration::from_millis(1 << exponent).min(LONGEST_PAUSE)).await;
        }
        Some(())
    }
}

/// Between two attempts to reach a worker.
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

fn is_worth_another(attempts: usize, upstreams: usize) -> bool {
    attempts < upstreams.min(3)
}

#[cfg(test)]
mod tests {
    use super::{Unanswered, is_worth_another};

    #[test]
    fn only_what_is_safe_is_repeated() {
        let check = |method, is_repeatable, is_written, expected| {
            let seen = Unanswered { method, is_repeatable, is_written };
            assert_eq!(seen.may_repeat(), expected, "{seen:?}");
        };
        check("GET", true, true, true);
        check("PUT", true, true, true);
        check("DELETE", true, true, true);
        check("PUT", false, true, false);
        check("POST", true, true, false);
        check("PATCH", true, true, false);
        check("get", true, true, false);
        check("POST", true, false, true);
        check("POST", false, false, false);
    }

    #[test]
    fn others_are_tried_while_there_are_any() {
        assert!(!is_worth_another(1, 0));
        assert!(!is_worth_another(1, 1));
        assert!(is_worth_another(1, 2));
        assert!(!is_worth_another(2, 2));
        assert!(is_worth_another(2, 9));
        assert!(!is_worth_another(3, 9));
    }
}
