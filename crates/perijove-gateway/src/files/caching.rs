//! What clients are told about keeping a file.

use std::time::Duration;

use super::fingerprint;

/// How long clients may keep the files whose names fit a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRule {
    /// `*` is anything but a slash, `**` anything, `?` one character but a slash. Without a slash
    /// in it, the pattern is for the last name of a path; with one, for all that stands behind the
    /// folder.
    pub pattern: String,
    /// Zero: it may be kept, and is to be asked about every time.
    pub age: Duration,
    /// It is another file when its content changes, so that it is never asked about.
    pub is_immutable: bool,
}

/// What is told about the files of a folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Caching {
    /// The first that fits counts.
    pub(super) rules: Vec<CacheRule>,
    /// Files whose names hold a hash of their content are kept for ever where no rule fits.
    pub(super) knows_fingerprints: bool,
}

/// As long as it makes sense to say: a year.
const FOR_EVER: &str = "max-age=31536000, immutable";

impl Caching {
    /// The value of Cache-Control for a file, by its decoded path below the folder; `None` when
    /// clients are to judge by its age.
    pub(super) fn of(&self, path: &[u8]) -> Option<String> {
        match self.rules.iter().find(|rule| rule.fits(path)) {
            Some(CacheRule { age, .. }) if age.is_zero() => Some("no-cache".to_owned()),
            Some(CacheRule { age, is_immutable, .. }) => {
                let further = if *is_immutable { ", immutable" } else { "" };
                Some(format!("max-age={}{further}", age.as_secs().max(1)))
            }
            None if self.knows_fingerprints && fingerprint::is_in(path) => {
                Some(FOR_EVER.to_owned())
            }
            None => None,
        }
    }
}

impl CacheRule {
    fn fits(&self, path: &[u8]) -> bool {
        let pattern = self.pattern.as_bytes();
        if memchr::memchr(b'/', pattern).is_some() {
            let strip = |text| <[u8]>::strip_prefix(text, b"/").unwrap_or(text);
            return fits(strip(pattern), strip(path));
        }
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        fits(pattern, name)
    }
}

/// Whether a pattern fits the whole of a text. It costs no more than the pattern's length times the
/// square of the text's.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let whole = pattern;
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on when what follows does not fit: for the last star, and for the last double
    // one, which passes slashes.
    let mut star: Option<(&[u8], &[u8])> = None;
    let mut stars: Option<(&[u8], &[u8], bool)> = None;
    loop {
        if let Some(rest) = pattern.strip_prefix(b"**") {
            // Where a name begins, `**/` is whole names, or none at all.
            let before = whole.get(..whole.len() - pattern.len()).and_then(<[u8]>::last);
            let is_name = before.is_none_or(|byte| *byte == b'/');
            let names = rest.strip_prefix(b"/").filter(|_| is_name);
            pattern = names.unwrap_or(rest);
            (stars, star) = (Some((pattern, text, names.is_some())), None);
            continue;
        }
        match (pattern.split_first(), text.split_first()) {
            (Some((b'*', rest)), _) => {
                pattern = rest;
                star = Some((rest, text));
                continue;
            }
            (None, None) => return true,
            (Some((wanted, rest)), Some((found, after)))
                if wanted == found || (*wanted == b'?' && *found != b'/') =>
            {
                (pattern, text) = (rest, after);
                continue;
            }
            _ => {}
        }
        if let Some((rest, [passed, from @ ..])) = star
            && *passed != b'/'
        {
            (pattern, text, star) = (rest, from, Some((rest, from)));
        } else if let Some((rest, before, is_whole)) = stars {
            let from = if is_whole { behind_slash(before) } else { before.get(1..) };
            let Some(from) = from else { return false };
            (pattern, text, star, stars) = (rest, from, None, Some((rest, from, is_whole)));
        } else {
            return false;
        }
    }
}

fn behind_slash(text: &[u8]) -> Option<&[u8]> {
    text.get(memchr::memchr(b'/', text)? + 1..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_fit_whole_names_and_whole_paths() {
        let check = |pattern: &str, path: &str, expected| {
            let rule =
                CacheRule { pattern: pattern.to_owned(), age: Duration::ZERO, is_immutable: false };
            assert_eq!(rule.fits(path.as_bytes()), expected, "{pattern} {path}");
        };
        check("*.css", "/a.css", true);
        check("*.css", "/deep/er/a.css", true);
        check("*.css", "/a.css.map", false);
        check("*", "/deep/any", true);
        check("index.html", "/docs/index.html", true);
        check("index.html", "/docs/xindex.html", false);
        check("a?c", "/abc", true);
        check("a?c", "/ac", false);
        check("*a*b*", "/xaxbx", true);
        check("*ab", "/aab", true);
        check("/img/*.png", "/img/a.png", true);
        check("img/*.png", "/img/a.png", true);
        check("/img/*.png", "/img/old/a.png", false);
        check("/img/**.png", "/img/old/a.png", true);
        check("/img/**", "/img/old/a.png", true);
        check("**/x/*.png", "/a/b/x/c.png", true);
        check("**/x/*.png", "/x/c.png", true);
        check("**/x/*.png", "/a/xx/c.png", false);
        check("**/x/*.png", "/x/y/x/c.png", true);
        check("", "/a", false);
        check("a?c/d", "/a/c/d", false);
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = "**a*a*a*a*a*a*a*a*a*a*b";
        assert!(!fits(pattern.as_bytes(), "a".repeat(2000).as_bytes()));
        assert!(!fits(
            "**/a*/".repeat(20).as_bytes(),
            "a/".repeat(1000).trim_end_matches('/').as_bytes()
        ));
    }

    #[test]
    fn the_first_rule_counts_and_then_the_name() {
        let rule = |pattern: &str, age, is_immutable| CacheRule {
            pattern: pattern.to_owned(),
            age: Duration::from_secs(age),
            is_immutable,
        };
        let rules =
            vec![rule("*.css", 3600, false), rule("/v/**", 60, true), rule("*.html", 0, false)];
        let caching = Caching { rules, knows_fingerprints: true };
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(caching.of(path.as_bytes()).as_deref(), expected, "{path}");
        };
        check("/a.css", Some("max-age=3600"));
        check("/v/a.css", Some("max-age=3600"));
        check("/v/a.js", Some("max-age=60, immutable"));
        check("/index.html", Some("no-cache"));
        check("/app.3f2a9c1b.css", Some("max-age=3600"));
        check("/app.3f2a9c1b.js", Some(FOR_EVER));
        check("/app.js", None);
        assert_eq!(Caching::default().of(b"/app.3f2a9c1b.js"), None);
    }

    /// The same as [`fits`], too simple to be wrong and too slow to be used.
    fn fits_slowly(pattern: &[u8], text: &[u8], is_name: bool) -> bool {
        let rests =
            |text: &[u8]| (0..=text.len()).map(|at| text[at..].to_vec()).collect::<Vec<_>>();
        if let Some(rest) = pattern.strip_prefix(b"**/").filter(|_| is_name) {
            let names = (0..text.len()).filter(|at| text[*at] == b'/').map(|at| &text[at + 1..]);
            return std::iter::once(text).chain(names).any(|text| fits_slowly(rest, text, true));
        }
        if let Some(rest) = pattern.strip_prefix(b"**") {
            return rests(text).iter().any(|text| fits_slowly(rest, text, false));
        }
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                let end = text.iter().position(|b| *b == b'/').unwrap_or(text.len());
                (0..=end).any(|at| fits_slowly(rest, &text[at..], false))
            }
            (Some((wanted, rest)), Some((found, after))) => {
                (wanted == found || (*wanted == b'?' && *found != b'/'))
                    && fits_slowly(rest, after, *wanted == b'/')
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_fit_what_a_simple_search_says(pattern in "[ab/*?]{0,8}", text in "[ab/]{0,8}") {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(fits(pattern, text), fits_slowly(pattern, text, true));
        }
    }
}
