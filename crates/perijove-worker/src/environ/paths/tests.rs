//! Targets taken apart.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(target: &str, mount: &str, script: &str, path: &[u8], query: &str) {
    let paths = Paths::of(target.as_bytes(), mount.as_bytes());
    let expected = (script.as_bytes(), path, query.as_bytes());
    assert_eq!((&*paths.script, &*paths.path, paths.query), expected, "{target}");
}

#[test]
fn targets() {
    check("/", "", "", b"/", "");
    check("/a?b", "", "", b"/a", "b");
    check("/a?b?c%20", "", "", b"/a", "b?c%20");
    check("?b", "", "", b"", "b");
    check("/%41%e9%C3%BC", "", "", b"/A\xe9\xc3\xbc", "");
    check("/%", "", "", b"/%", "");
    check("/%4", "", "", b"/%4", "");
    check("/%4g%g4", "", "", b"/%4g%g4", "");
    check("/%%41", "", "", b"/%A", "");
    check("/%2e%2e/x", "", "", b"/../x", "");
    check("/%2541", "", "", b"/%41", "");
    check("*", "", "", b"", "");
    check("http://h/a?b", "", "", b"/a", "b");
    check("https://h?b", "", "", b"", "b");
    check("http://h", "", "", b"/", "");
}

#[test]
fn mount_points_end_at_a_slash() {
    check("/shop/a", "/shop", "/shop", b"/a", "");
    check("/shop?q", "/shop", "/shop", b"", "q");
    check("/shops", "/shop", "", b"/shops", "");
    check("/other", "/shop", "", b"/other", "");
    check("/a%20b/c", "/a%20b", "/a b", b"/c", "");
}

proptest! {
    #[test]
    fn script_and_path_are_the_decoded_target(target in "/[ -~]{0,30}") {
        let paths = Paths::of(target.as_bytes(), b"");
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        prop_assert_eq!(&*paths.path, &*naively_decoded(path.as_bytes()));
        prop_assert_eq!(paths.query, query.as_bytes());
    }
}

fn naively_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        let plain = |two: &&str| two.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(two) = digits.filter(plain).filter(|_| bytes[at] == b'%') {
            decoded.push(u8::from_str_radix(two, 16).unwrap());
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    decoded
}
