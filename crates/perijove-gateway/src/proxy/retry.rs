//! When a request that failed may be sent again.

use crate::error::Fault;

/// How an attempt to get an answer failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing of the request was sent: another upstream may be tried.
    NotSent(Fault),
    /// It may have been acted on, or nothing can be gained.
    Final(Fault),
}

/// What was seen of a kept-alive connection that ended without a byte of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stale<'a> {
    pub(super) method: &'a str,
    /// Whether all of the body that was sent can be sent again.
    pub(super) is_repeatable: bool,
    /// Whether any byte of the request went out.
    pub(super) is_written: bool,
}

impl Stale<'_> {
    /// Whether to send again on a new connection: the upstream most likely closed this one because
    /// it was idle, but it may have read the request first (RFC 9110 9.2.2).
    pub(super) fn may_repeat(self) -> bool {
        self.is_repeatable && (!self.is_written || is_idempotent(self.method))
    }
}

/// Whether doing it twice is doing it once.
pub(super) fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

/// Whether to look for another upstream after one could not be reached.
pub(super) fn is_worth_another(attempts: usize, upstreams: usize) -> bool {
    attempts < upstreams.min(3)
}

#[cfg(test)]
mod tests {
    use super::{Stale, is_worth_another};

    #[test]
    fn only_what_is_safe_is_repeated() {
        let check = |method, is_repeatable, is_written, expected| {
            let stale = Stale { method, is_repeatable, is_written };
            assert_eq!(stale.may_repeat(), expected, "{stale:?}");
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
