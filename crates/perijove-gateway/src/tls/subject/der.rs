//! The encoding of certificates (X.690, distinguished): a tag, a length, and so many bytes.

use std::fmt::Write;

/// Tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Der(u8);

impl Der {
    pub(super) const BOOLEAN: Self = Self(1);
    pub(super) const INTEGER: Self = Self(2);
    pub(super) const OCTETS: Self = Self(4);
    pub(super) const OBJECT: Self = Self(6);
    pub(super) const SEQUENCE: Self = Self(0x30);
    pub(super) const SET: Self = Self(0x31);

    /// One whose meaning depends on where it stands, and that holds others.
    pub(super) const fn context(number: u8) -> Self {
        Self(0xa0 | number)
    }

    /// The same without others in it.
    pub(super) const fn context_plain(number: u8) -> Self {
        Self(0x80 | number)
    }
}

/// Takes the next value off the front if it has this tag; otherwise nothing is taken.
pub(super) fn next<'a>(bytes: &mut &'a [u8], tag: Der) -> Option<&'a [u8]> {
    let mut rest = *bytes;
    let (found, value) = any(&mut rest)?;
    if found != tag.0 {
        return None;
    }
    *bytes = rest;
    Some(value)
}

/// Takes the next value off the front, with its tag.
pub(super) fn any<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length >= 0x80 {
        let (digits, after) = rest.split_at_checked(length & 0x7f)?;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        rest = after;
    }
    let (value, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some((*tag, value))
}

/// An object identifier in the form with dots.
pub(super) fn dotted(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut number = 0_u64;
    for byte in bytes {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        // Writing to a string does not fail.
        let _ = if text.is_empty() {
            let first = (number / 40).min(2);
            write!(text, "{first}.{}", number - first * 40)
        } else {
            write!(text, ".{number}")
        };
        number = 0;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::dotted;

    #[test]
    fn identifiers_are_written_with_dots() {
        let check = |bytes: &[u8], expected| assert_eq!(dotted(bytes), expected);
        check(&[0x55, 4, 3], "2.5.4.3");
        check(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "1.2.840.113549.1.9.1");
        check(&[], "");
    }
}
