//! What must hold for the path of any request; used by the fuzzer and by an ordinary test.

use perijove_gateway::clean_path;

/// What comes out of a path leads nowhere but down, into no hidden folder, and means one thing.
pub(super) fn check(data: &[u8]) {
    for prefix in [b"".as_slice(), b"/s"] {
        let Some(found) = clean_path(data, prefix) else { continue };
        assert!(found.is_empty() || found.starts_with(b"/"));
        assert!(!found.iter().any(|b| b.is_ascii_control() || *b == b'\\'));
        let names = found.strip_prefix(b"/").unwrap_or_default();
        let names = names.strip_suffix(b"/").unwrap_or(names);
        for name in names.split(|b| *b == b'/') {
            assert!(!name.is_empty() || names.is_empty());
            assert!(!name.starts_with(b".") || name == b".well-known");
            assert!(name.len() <= 255);
        }
        if !data.contains(&b'%') {
            assert_eq!([prefix, &found].concat(), data);
        }
    }
}
