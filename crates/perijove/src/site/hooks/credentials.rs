//! Whom a browser says it signs in (RFC 7617).

/// The name in an Authorization of the kind Basic; `None` when there is none that could be meant.
pub(super) fn user_of(authorization: &[u8]) -> Option<String> {
    let (kind, encoded) = authorization.split_at_checked(6)?;
    if !kind.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let pair = decoded(encoded.trim_ascii())?;
    let end = pair.iter().position(|byte| *byte == b':')?;
    let name = pair.get(..end).filter(|name| !name.is_empty())?;
    let name = match std::str::from_utf8(name) {
        Ok(name) => name.to_owned(),
        Err(_) => name.iter().map(|byte| char::from(*byte)).collect(),
    };
    // What could break a header field is nobody's name.
    (!name.chars().any(char::is_control)).then_some(name)
}

/// Base64 in its standard form, with padding.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for (at, group) in groups.iter().enumerate() {
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && at + 1 < groups.len()) {
            return None;
        }
        let mut value = 0_u32;
        for byte in group.get(..4 - padding)? {
            value = value << 6 | u32::from(digit(*byte)?);
        }
        value <<= 6 * padding;
        let [_, first, second, third] = value.to_be_bytes();
        bytes.extend([first, second, third].get(..3 - padding)?);
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::user_of;

    #[test]
    fn names_are_read() {
        let check = |authorization: &str, expected: Option<&str>| {
            let name = user_of(authorization.as_bytes());
            assert_eq!(name.as_deref(), expected, "{authorization}");
        };
        check("Basic YWRhOnNlY3JldA==", Some("ada"));
        check("basic  YWRhOg==", Some("ada"));
        check("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some("Aladdin"));
        check("Basic w6lhOng=", Some("éa"));
        check("Basic OnNlY3JldA==", None);
        check("Basic YWRh", None);
        check("Basic YWQKYTp4", None);
        check("Basic YWRhOnNlY3JldA", None);
        check("Basic YWRhOnNlY3J=dA==", None);
        check("Bearer YWRhOnNlY3JldA==", None);
        check("Basic", None);
        check("", None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            drop(user_of(&[b"Basic ".as_slice(), &bytes].concat()));
            drop(user_of(&bytes));
        }
    }
}
