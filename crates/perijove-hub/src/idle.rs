//! When a notebook is ended that nobody uses, and when its pages warn of an end: plain functions.
//!
//! All moments are seconds since the Unix epoch.

use std::time::Duration;

use serde::Serialize;

/// The longest warning that nobody has asked for.
const LONGEST_WARNING: u64 = 600;
/// The longest time between two looks at a notebook.
const LONGEST_PAUSE: u64 = 60;

/// Seconds between two questions of a page, at most.
const SELDOM: u64 = 30;

/// What the configuration says, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Zero is never.
    pub(crate) idle: u64,
    pub(crate) warn_before: Option<u64>,
}

/// What a notebook server has said of its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// When its user last did something.
    pub(crate) last_action: u64,
    /// When its user, a kernel or a terminal last did something: now, when it is busy.
    pub(crate) last_active: u64,
    pub(crate) is_busy: bool,
}

/// Its end, which is not known to the server itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) started: u64,
    pub(crate) kill_at: Option<u64>,
    /// Since when its pages say that it will end for want of use.
    pub(crate) warned: Option<u64>,
}

/// What a notebook's pages say, and others see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) last_action: Option<u64>,
    /// `None` when it is not known.
    pub(crate) is_busy: Option<bool>,
    /// When it ends, if nobody does anything; `None` when it is busy, or never does.
    pub(crate) idle_at: Option<u64>,
    pub(crate) warning: Option<Warning>,
}

/// An end that is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Warning {
    pub(crate) reason: Reason,
    pub(crate) at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    /// Nobody uses it.
    Idle,
    /// Its time is over, whoever uses it.
    KillTimeout,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) life: Life,
    /// Nobody uses it, and that was said long enough.
    pub(crate) is_over: bool,
    /// Seconds until it must be looked at again.
    pub(crate) again: u64,
}

impl Rules {
    pub(crate) fn new(idle: Duration, warn_before: Option<Duration>) -> Self {
        // A span below a second is not "never".
        let seconds = |span: Duration| u64::try_from(span.as_millis().div_ceil(1000)).ok();
        Self { idle: seconds(idle).unwrap_or(u64::MAX), warn_before: warn_before.and_then(seconds) }
    }

    /// Seconds between two questions of a page that must miss no warning, whichever comes.
    pub(crate) fn pause_of_pages(self, kill_span: Option<u64>) -> u64 {
        let idle = (self.idle > 0).then(|| self.warning(self.idle));
        let kill = kill_span.map(|span| self.warning(span));
        let shortest = [idle, kill].into_iter().flatten().min();
        shortest.map_or(SELDOM, |lead| (lead / 4).clamp(1, SELDOM))
    }

    /// How long an end is said before, when it comes after so long.
    fn warning(self, span: u64) -> u64 {
        self.warn_before.unwrap_or((span / 10).min(LONGEST_WARNING)).min(span)
    }
}

/// What follows from what is known now. Without a word of the server, nothing is said of its use.
pub(crate) fn due(now: u64, rules: Rules, known: Option<Use>, term: Term) -> Due {
    let idle = known.filter(|_| rules.idle > 0).filter(|known| !known.is_busy);
    let lead = rules.warning(rules.idle);
    let planned = idle.map(|known| known.last_active.saturating_add(rules.idle));
    let is_near = planned.is_some_and(|at| now >= at.saturating_sub(lead));
    // However late it was seen, what is said is said for as long as it should be.
    let fair = term.warned.unwrap_or(now).saturating_add(lead);
    let idle_at = planned.map(|at| if is_near { at.max(fair) } else { at });
    let unused = idle_at.filter(|_| is_near).map(|at| Warning { reason: Reason::Idle, at });
    let kill_lead = term.kill_at.map(|at| rules.warning(at.saturating_sub(term.started)));
    let kill_from = term.kill_at.zip(kill_lead).map(|(at, lead)| at.saturating_sub(lead));
    let over_time = term.kill_at.zip(kill_from).filter(|(_, from)| now >= *from);
    let over_time = over_time.map(|(at, _)| Warning { reason: Reason::KillTimeout, at });
    let warning = [over_time, unused].into_iter().flatten().min_by_key(|warning| warning.at);
    let is_over = is_near && term.warned.is_some() && idle_at.is_some_and(|at| now >= at);
    let moments = [
        idle_at.map(|at| if is_near { at } else { at.saturating_sub(lead) }),
        kill_from.filter(|from| *from > now),
        // Whoever comes back sees the warning go soon.
        unused.map(|_| now + (lead / 10).max(1)),
    ];
    let next = moments.into_iter().flatten().min().unwrap_or(u64::MAX);
    let life = Life {
        last_action: known.map(|known| known.last_action),
        is_busy: known.map(|known| known.is_busy),
        idle_at,
        warning,
    };
    let busy = known.filter(|known| known.is_busy && rules.idle > 0);
    let longest = busy.map_or(LONGEST_PAUSE, |_| (rules.idle - lead).clamp(1, LONGEST_PAUSE));
    Due { life, is_over, again: next.saturating_sub(now).clamp(1, longest) }
}

/// "1 h", "90 s": a span as people say it.
pub(crate) fn in_words(seconds: u64) -> String {
    let units = [(3600, "h"), (60, "min")];
    let whole =
        units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    whole
        .map_or_else(|| format!("{seconds} s"), |(unit, name)| format!("{} {name}", seconds / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { idle: 3600, warn_before: None };
    const TERM: Term = Term { started: 0, kill_at: None, warned: None };

    #[expect(clippy::unnecessary_wraps, reason = "a case without a word reads the same")]
    fn used(last_active: u64, is_busy: bool) -> Option<Use> {
        Some(Use { last_action: last_active, last_active, is_busy })
    }

    /// What is said and whether it is over, at `now`.
    fn check(
        now: u64,
        known: Option<Use>,
        term: Term,
        said: Option<(Reason, u64)>,
        is_over: bool,
    ) -> Due {
        let due = due(now, RULES, known, term);
        let warning = said.map(|(reason, at)| Warning { reason, at });
        assert_eq!((due.life.warning, due.is_over), (warning, is_over), "{now} {known:?} {term:?}");
        due
    }

    #[test]
    fn what_nobody_uses_is_warned_of_and_ended() {
        use Reason::Idle;
        let warned = Term { warned: Some(3240), ..TERM };
        check(0, used(0, false), TERM, None, false);
        check(3239, used(0, false), TERM, None, false);
        check(3240, used(0, false), TERM, Some((Idle, 3600)), false);
        check(3599, used(0, false), warned, Some((Idle, 3600)), false);
        check(3600, used(0, false), warned, Some((Idle, 3600)), true);
        check(3600, used(3500, false), warned, None, false);
        check(9999, None, warned, None, false);
    }

    #[test]
    fn what_computes_is_not_idle() {
        check(9000, used(9000, true), TERM, None, false);
        check(9000, used(9000, true), Term { warned: Some(3240), ..TERM }, None, false);
        assert_eq!(due(9000, RULES, used(9000, true), TERM).life.idle_at, None);
    }

    #[test]
    fn an_end_seen_late_is_still_warned_of() {
        use Reason::Idle;
        check(50_000, used(0, false), TERM, Some((Idle, 50_360)), false);
        let warned = Term { warned: Some(50_000), ..TERM };
        check(50_359, used(0, false), warned, Some((Idle, 50_360)), false);
        check(50_360, used(0, false), warned, Some((Idle, 50_360)), true);
    }

    #[test]
    fn the_kill_timeout_is_warned_of_whoever_works() {
        use Reason::KillTimeout;
        let term = Term { kill_at: Some(28_800), ..TERM };
        check(28_199, used(28_199, true), term, None, false);
        check(28_200, used(28_200, true), term, Some((KillTimeout, 28_800)), false);
        check(28_200, None, term, Some((KillTimeout, 28_800)), false);
        check(28_900, used(28_900, true), term, Some((KillTimeout, 28_800)), false);
    }

    #[test]
    fn it_is_looked_at_when_it_matters_and_not_too_often() {
        let check = |now, known, warned, expected| {
            let term = Term { warned, ..TERM };
            assert_eq!(due(now, RULES, known, term).again, expected, "{now} {known:?}");
        };
        check(0, used(0, false), None, 60);
        check(3230, used(0, false), None, 10);
        check(3240, used(0, false), Some(3240), 36);
        check(3590, used(0, false), Some(3240), 10);
        check(9000, used(9000, true), None, 60);
        check(0, None, None, 60);
    }

    #[test]
    fn nothing_ends_that_is_never_to_end() {
        let rules = Rules::new(Duration::ZERO, None);
        let due = due(1 << 40, rules, used(0, false), TERM);
        assert_eq!((due.life.idle_at, due.life.warning, due.is_over), (None, None, false));
    }

    #[test]
    fn pages_ask_often_enough_to_warn() {
        let check = |idle, warn_before, kill, expected| {
            assert_eq!(Rules { idle, warn_before }.pause_of_pages(kill), expected);
        };
        check(3600, None, None, 30);
        check(3600, Some(20), None, 5);
        check(0, None, None, 30);
        check(0, None, Some(100), 2);
        check(4, Some(3), Some(600), 1);
    }

    #[test]
    fn spans_are_said_in_words() {
        for (seconds, words) in [(3600, "1 h"), (90, "90 s"), (120, "2 min"), (86_400, "24 h")] {
            assert_eq!(in_words(seconds), words);
        }
    }
}
