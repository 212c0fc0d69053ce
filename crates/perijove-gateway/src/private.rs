//! Answers behind a guard are for the one who was let pass: no cache on the way may give them to
//! the next.

use crate::FieldBlock;

const NAME: &str = "Cache-Control";

/// Has shared caches leave an answer alone (RFC 9111 5.2.2.7). What the browser's own cache was
/// told stays.
pub(crate) fn keep_private(fields: &mut FieldBlock) {
    let mut is_private = false;
    let mut is_shared = false;
    let mut kept = Vec::new();
    for (_, value) in fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(NAME.as_bytes())) {
        for directive in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            let name = directive.split(|b| *b == b'=').next().unwrap_or_default();
            let is = |known: &[&[u8]]| known.iter().any(|known| name.eq_ignore_ascii_case(known));
            if is(&[b"public", b"s-maxage", b"proxy-revalidate"]) {
                is_shared = true;
            } else if !directive.is_empty() {
                // `private="field"` is about that field alone.
                is_private |= is(&[b"no-store"]) || directive.eq_ignore_ascii_case(b"private");
                kept.push(directive.to_vec());
            }
        }
    }
    if is_private && !is_shared {
        return;
    }
    if !is_private {
        kept.insert(0, b"private".to_vec());
    }
    fields.set(NAME, kept.join(b", ".as_slice()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], expected: &str) {
        let mut fields = FieldBlock::new();
        for value in values {
            fields.push("cache-control", value);
        }
        keep_private(&mut fields);
        let got: Vec<_> = fields.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect();
        assert_eq!(got.join(" | "), expected, "{values:?}");
    }

    #[test]
    fn only_the_browser_may_keep_an_answer() {
        check(&[], "private");
        check(&["no-cache"], "private, no-cache");
        check(&["max-age=60"], "private, max-age=60");
        check(&["public, max-age=31536000, immutable"], "private, max-age=31536000, immutable");
        check(&["Public", "S-MaxAge=5"], "private");
        check(&["private, s-maxage=5"], "private");
        check(&["private=\"x-a\""], "private, private=\"x-a\"");
        check(&["no-store"], "no-store");
        check(&["private, max-age=4"], "private, max-age=4");
        check(&["no-store", "public"], "no-store");
    }
}
