//! Whether a client's copy of a file is still good (RFC 9110 13).

use std::time::{Duration, SystemTime};

use crate::Head;

/// What tells one version of a file from another.
#[derive(Clone, Debug)]
pub(super) struct Validators {
    /// Strong, with its quotes.
    pub(super) tag: Box<str>,
    /// Whole seconds since the Unix epoch; `None` when it lies in the future or before the epoch,
    /// where it must not be told.
    pub(super) modified: Option<u64>,
}

/// What the preconditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Proceed,
    /// 304
    NotModified,
    /// 412
    Failed,
}

impl Validators {
    pub(super) fn new(modified: SystemTime, size: u64, inode: u64, now: SystemTime) -> Self {
        let since = modified.duration_since(SystemTime::UNIX_EPOCH).ok();
        let nanoseconds = since.map_or(0, |since| since.as_nanos());
        Self {
            tag: format!("\"{nanoseconds:x}-{size:x}-{inode:x}\"").into(),
            modified: since.filter(|_| modified <= now).map(|since| since.as_secs()),
        }
    }

    /// Of the same version in a coding that is made of it.
    pub(super) fn of_coding(&self, coding: &str) -> Self {
        let tag = format!("{}-{coding}\"", self.tag.trim_end_matches('"'));
        Self { tag: tag.into(), modified: self.modified }
    }

    /// The value of Last-Modified.
    pub(super) fn last_modified(&self) -> Option<String> {
        let seconds = Duration::from_secs(self.modified?);
        Some(httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + seconds))
    }

    /// The preconditions in the order of RFC 9110 13.2.2, for GET and HEAD.
    pub(super) fn judge(&self, head: &Head) -> Outcome {
        if head.get("if-match").is_some() {
            if !head.get_all("if-match").any(|list| self.is_listed(list, false)) {
                return Outcome::Failed;
            }
        } else if let Some(limit) = head.get("if-unmodified-since").and_then(date)
            && self.modified.is_none_or(|modified| modified > limit)
        {
            return Outcome::Failed;
        }
        if head.get("if-none-match").is_some() {
            if head.get_all("if-none-match").any(|list| self.is_listed(list, true)) {
                return Outcome::NotModified;
            }
        } else if let Some(since) = head.get("if-modified-since").and_then(date)
            && self.modified.is_some_and(|modified| modified <= since)
        {
            return Outcome::NotModified;
        }
        Outcome::Proceed
    }

    /// Whether a range may be given: without If-Range, or when it names this very version. A date
    /// does so only when the file was old enough at `now` not to change twice within its second.
    pub(super) fn allows_range(&self, head: &Head, now: SystemTime) -> bool {
        let Some(value) = head.get("if-range") else { return true };
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        match date(value) {
            Some(date) => self.modified.is_some_and(|modified| modified == date && now > date + 1),
            None => value == self.tag.as_bytes(),
        }
    }

    /// Whether a list of tags names this version; a weak tag never names it strongly.
    fn is_listed(&self, list: &[u8], is_weak_enough: bool) -> bool {
        let mut rest = list;
        loop {
            rest = rest.trim_ascii_start();
            if let Some(after) = rest.strip_prefix(b",") {
                rest = after;
                continue;
            }
            if rest.starts_with(b"*") {
                return true;
            }
            let strong = rest.strip_prefix(b"W/");
            let tag = strong.unwrap_or(rest);
            let Some(end) = tag.get(1..).and_then(|tag| memchr::memchr(b'"', tag)) else {
                return false;
            };
            let (tag, after) = tag.split_at(end + 2);
            if tag == self.tag.as_bytes() && (strong.is_none() || is_weak_enough) {
                return true;
            }
            rest = after;
        }
    }
}

/// Seconds since the Unix epoch.
fn date(value: &[u8]) -> Option<u64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn file() -> Validators {
        let modified = httpdate::parse_http_date(THEN).unwrap() + Duration::from_millis(10);
        let file = Validators::new(modified, 0x10, 0x2a, SystemTime::now());
        assert_eq!(file.tag.as_ref(), "\"ae1b981bce1a080-10-2a\"");
        assert_eq!(file.last_modified().as_deref(), Some(THEN));
        Validators { tag: "\"a\"".into(), ..file }
    }

    fn head(fields: &[(&str, &str)]) -> Head {
        let mut all: Vec<(&[u8], &[u8])> = vec![(b"host", b"a")];
        all.extend(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        Head::from_parts("GET", b"/", &all).unwrap()
    }

    #[track_caller]
    fn check(fields: &[(&str, &str)], expected: Outcome) {
        assert_eq!(file().judge(&head(fields)), expected, "{fields:?}");
    }

    #[test]
    fn preconditions_hold_in_their_order() {
        use Outcome::{Failed, NotModified, Proceed};
        check(&[], Proceed);
        for (list, expected) in [
            ("\"a\"", NotModified),
            ("W/\"a\"", NotModified),
            ("\"b\", \"a\"", NotModified),
            ("*", NotModified),
            ("\"b\",,W/\"a\"", NotModified),
            ("\"b\"", Proceed),
            ("a", Proceed),
            ("", Proceed),
            ("\"a", Proceed),
            ("\"b, \"a\"", Proceed),
            ("\"\"", Proceed),
            ("W/", Proceed),
        ] {
            check(&[("If-None-Match", list)], expected);
        }
        check(&[("If-None-Match", "\"b\""), ("If-None-Match", "\"a\"")], NotModified);
        check(&[("If-Modified-Since", BEFORE)], Proceed);
        check(&[("If-Modified-Since", THEN)], NotModified);
        check(&[("If-Modified-Since", AFTER)], NotModified);
        check(&[("If-Modified-Since", "yesterday")], Proceed);
        check(&[("If-None-Match", "\"b\""), ("If-Modified-Since", AFTER)], Proceed);
        check(&[("If-Match", "\"a\"")], Proceed);
        check(&[("If-Match", "*")], Proceed);
        check(&[("If-Match", "W/\"a\"")], Failed);
        check(&[("If-Match", "\"b\"")], Failed);
        check(&[("If-Match", "\"b\""), ("If-None-Match", "\"a\"")], Failed);
        check(&[("If-Unmodified-Since", BEFORE)], Failed);
        check(&[("If-Unmodified-Since", THEN)], Proceed);
        check(&[("If-Match", "\"a\""), ("If-Unmodified-Since", BEFORE)], Proceed);
        check(&[("If-Match", "\"a\""), ("If-None-Match", "\"a\"")], NotModified);
    }

    #[test]
    fn a_range_is_given_of_the_version_it_was_asked_of() {
        let check = |value: &str, expected| {
            let head = head(&[("If-Range", value)]);
            assert_eq!(file().allows_range(&head, SystemTime::now()), expected, "{value}");
        };
        check("\"a\"", true);
        check("W/\"a\"", false);
        check("\"b\"", false);
        check(THEN, true);
        check(BEFORE, false);
        check(AFTER, false);
        let just = httpdate::parse_http_date(AFTER).unwrap();
        assert!(!file().allows_range(&head(&[("If-Range", THEN)]), just));
    }

    #[test]
    fn a_date_in_the_future_is_not_told() {
        let now = SystemTime::now();
        let file = Validators::new(now + Duration::from_secs(60), 1, 2, now);
        assert_eq!(file.last_modified(), None);
    }
}
