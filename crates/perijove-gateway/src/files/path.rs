//! From a request's path to the name of a file below the folder: decoded once, and never out of it.
//!
//! What could mean two things to two programs is refused rather than cleaned.

use std::borrow::Cow;

/// The longest path that is looked up, in bytes; Linux knows none longer than 4096.
const LONGEST: usize = 4000;
/// The longest name between two slashes, as file systems have it.
const LONGEST_NAME: usize = 255;

/// What stands behind the prefix in a request's path, percent-decoded: empty, or a slash and names
/// without `.` and `..`, none of them hidden (but `.well-known`, RFC 8615), with a slash at its end
/// when a folder is meant. `None` when the path lies elsewhere, or can name no file.
///
/// The prefix is given decoded and without a slash at its end.
pub(super) fn clean<'a>(path: &'a [u8], prefix: &[u8]) -> Option<Cow<'a, [u8]>> {
    if path.len() > LONGEST {
        return None;
    }
    let rest = match decode(path)? {
        Cow::Borrowed(path) => Cow::Borrowed(path.strip_prefix(prefix)?),
        Cow::Owned(path) => Cow::Owned(path.strip_prefix(prefix)?.to_vec()),
    };
    is_plain(&rest).then_some(rest)
}

/// Decodes percent-encoding, once. An encoded slash is part of no file's name.
fn decode(path: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = memchr::memchr(b'%', path) else {
        return Some(Cow::Borrowed(path));
    };
    let (front, mut rest) = path.split_at(first);
    let mut decoded = Vec::with_capacity(path.len());
    decoded.extend_from_slice(front);
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        rest = after;
        let byte = digits.iter().try_fold(0, |number, digit| {
            let value = char::from(*digit).to_digit(16)?;
            Some(number << 4 | u8::try_from(value).ok()?)
        })?;
        if byte == b'/' {
            return None;
        }
        decoded.push(byte);
    }
    Some(Cow::Owned(decoded))
}

/// Whether a decoded path names a file or folder without tricks.
fn is_plain(rest: &[u8]) -> bool {
    let Some(names) = rest.strip_prefix(b"/") else {
        return rest.is_empty();
    };
    let names = names.strip_suffix(b"/").unwrap_or(names);
    if rest.iter().any(|b| b.is_ascii_control() || *b == b'\\') {
        return false;
    }
    // The folder itself is `/`; everywhere else an empty name is a doubled slash.
    rest == b"/" || names.split(|b| *b == b'/').all(is_name)
}

fn is_name(name: &[u8]) -> bool {
    match name.first() {
        None => false,
        Some(b'.') => name == b".well-known",
        Some(_) => name.len() <= LONGEST_NAME,
    }
}

#[cfg(test)]
#[path = "../../../../fuzz/checks/static_path.rs"]
mod fuzz;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(path: &str, prefix: &str, expected: Option<&str>) {
        let found = clean(path.as_bytes(), prefix.as_bytes());
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{path}");
    }

    #[test]
    fn plain_paths_stay_and_are_decoded_once() {
        check("/", "", Some("/"));
        check("/a.css", "", Some("/a.css"));
        check("/a/b/", "", Some("/a/b/"));
        check("/a%20b/%C3%A9", "", Some("/a b/é"));
        check("/%252e%252e/x", "", Some("/%2e%2e/x"));
        check("/a..b/c.", "", Some("/a..b/c."));
        check("/.well-known/x", "", Some("/.well-known/x"));
    }

    #[test]
    fn the_prefix_is_cut_off_and_matches_whole_names() {
        check("/static/a.css", "/static", Some("/a.css"));
        check("/st%61tic/a.css", "/static", Some("/a.css"));
        check("/static/", "/static", Some("/"));
        check("/static", "/static", Some(""));
        check("/statics/a.css", "/static", None);
        check("/other", "/static", None);
        check("/static//a", "/static", None);
    }

    #[test]
    fn what_leads_out_or_is_hidden_is_refused() {
        for path in [
            "/..",
            "/../x",
            "/a/../x",
            "/a/..",
            "/./a",
            "/a/.",
            "/%2e%2e/x",
            "/%2e%2E/",
            "/.%2e/x",
            "/a/%2e/b",
            "/..%2fx",
            "/a%2fb",
            "/a%2Fb",
            "//",
            "//x",
            "/a//b",
            "/a//",
            "///",
            "/..\\x",
            "/a\\..\\b",
            "/a%5cb",
            "/a%00.css",
            "/%00",
            "/%",
            "/%1",
            "/%zz",
            "/a%",
            "/.env",
            "/.git/config",
            "/a/.htaccess",
            "/%2egit/config",
            "/.well-known/.x",
            "/.well-knownx",
            "/a%0ab",
            "/a\x7fb",
            "/...",
            "/..%00/",
        ] {
            check(path, "", None);
        }
        check(&format!("/{}", "a".repeat(256)), "", None);
        check(&format!("/{}", "a/".repeat(3000)), "", None);
        check("*", "", None);
        check("", "/", None);
    }

    #[test]
    fn what_the_fuzzer_checks_holds_for_its_corpus() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/static_path");
        let seeds = fs::read_dir(folder).unwrap();
        assert!(
            seeds.map(|seed| fuzz::check(&fs::read(seed.unwrap().path()).unwrap())).count() > 20
        );
    }

    proptest! {
        #[test]
        fn no_path_leads_out(pieces in prop::collection::vec(prop::sample::select(
            &["/", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", "%", "%25", "25", "2e", "a", "%00", "%c0%ae", "s"][..]
        ), 0..12)) {
            let path = format!("/{}", pieces.concat());
            fuzz::check(path.as_bytes());
        }

        #[test]
        fn a_name_is_found_however_it_is_encoded(name in "[ -~&&[^./\\\\]][ -~&&[^/\\\\]]{0,9}", mask in any::<u16>()) {
            let encoded: String = name.bytes().enumerate().map(|(at, byte)| {
                let is_encoded = mask >> at & 1 == 1 || byte == b'%';
                if is_encoded { format!("%{byte:02x}") } else { char::from(byte).to_string() }
            }).collect();
            let (path, expected) = (format!("/{encoded}"), format!("/{name}"));
            let found = clean(path.as_bytes(), b"");
            prop_assert_eq!(found.as_deref(), Some(expected.as_bytes()));
        }
    }
}
