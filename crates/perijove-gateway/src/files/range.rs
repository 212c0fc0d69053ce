//! Which bytes of a file a client asked for (RFC 9110 14).

use smallvec::SmallVec;

/// More ranges than this in one request are not worth their parts.
const MOST: usize = 16;

/// A piece of a file; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// What a Range field asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    /// Nothing we understand, or more than it is wise to give: the whole file then.
    Whole,
    /// Nothing of this lies in the file: 416.
    Outside,
    /// In the order they were asked for; at least one, and no two overlap.
    Pieces(SmallVec<[Piece; 2]>),
}

/// Reads a Range field for a file of so many bytes.
pub(super) fn parse(value: &[u8], length: u64) -> Ranges {
    let Some(list) = strip_unit(value) else { return Ranges::Whole };
    let mut pieces = SmallVec::new();
    let mut count = 0;
    for element in list.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
        if element.is_empty() {
            continue;
        }
        count += 1;
        let Some(range) = Spec::parse(element) else { return Ranges::Whole };
        if count > MOST {
            return Ranges::Whole;
        }
        pieces.extend(range.within(length));
    }
    match (count, pieces.is_empty()) {
        (0, _) => Ranges::Whole,
        // Of nothing, the last bytes are nothing: there is no way to say so but the whole.
        (_, true) if length == 0 && list.contains(&b'-') && is_suffix(list) => Ranges::Whole,
        (_, true) => Ranges::Outside,
        _ if overlap(&pieces) => Ranges::Whole,
        _ => Ranges::Pieces(pieces),
    }
}

fn strip_unit(value: &[u8]) -> Option<&[u8]> {
    let (unit, list) = value.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(list)
}

fn is_suffix(list: &[u8]) -> bool {
    list.trim_ascii().starts_with(b"-")
}

/// One range as it was written.
enum Spec {
    From { first: u64, last: u64 },
    Last { count: u64 },
}

impl Spec {
    fn parse(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|b| *b == b'-')?;
        let (first, last) = (text.get(..dash)?, text.get(dash + 1..)?);
        match (first, last) {
            ([], last) => Some(Self::Last { count: number(last)? }),
            (first, []) => Some(Self::From { first: number(first)?, last: u64::MAX }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From { first, last })
            }
        }
    }

    fn within(self, length: u64) -> Option<Piece> {
        let (first, end) = match self {
            Self::From { first, last } => (first, length.min(last.saturating_add(1))),
            Self::Last { count } => (length.saturating_sub(count), length),
        };
        (first < end).then(|| Piece { offset: first, length: end - first })
    }
}

/// Digits; a number too large for 64 bits lies behind the end of every file.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0u64, |number, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    }))
}

fn overlap(pieces: &[Piece]) -> bool {
    let mut sorted: SmallVec<[Piece; MOST]> = pieces.into();
    sorted.sort_unstable_by_key(|piece| piece.offset);
    sorted.windows(2).any(|pair| match pair {
        [one, next] => one.offset + one.length > next.offset,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(value: &str, length: u64, expected: &[(u64, u64)]) {
        let pieces = expected.iter().map(|&(offset, length)| Piece { offset, length });
        assert_eq!(parse(value.as_bytes(), length), Ranges::Pieces(pieces.collect()), "{value}");
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        check("bytes=0-0", 10, &[(0, 1)]);
        check("bytes=0-9", 10, &[(0, 10)]);
        check("bytes=5-", 10, &[(5, 5)]);
        check("bytes=5-99999999999999999999999", 10, &[(5, 5)]);
        check("bytes=-3", 10, &[(7, 3)]);
        check("bytes=-30", 10, &[(0, 10)]);
        check("BYTES=1-2", 10, &[(1, 2)]);
        check("bytes=0-1,3-4 , -1", 10, &[(0, 2), (3, 2), (9, 1)]);
        check("bytes=5-6,,0-1,", 10, &[(5, 2), (0, 2)]);
        check("bytes=0-1,20-30", 10, &[(0, 2)]);
        check("bytes=0-18446744073709551615", u64::MAX, &[(0, u64::MAX)]);
    }

    #[test]
    fn what_is_not_understood_or_too_much_gets_the_whole() {
        let many = format!("bytes={}", "0-0,".repeat(17));
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "lines=0-1",
            "bytes 0-1",
            "bytes=a-b",
            "bytes=1",
            "bytes=-",
            "bytes=5-4",
            "bytes=0-1,5-4",
            "bytes=+1-2",
            "bytes= 0 - 1",
            "bytes=0x1-2",
            "bytes=0-5,5-6",
            "bytes=0-,0-",
            "bytes=1--2",
            &many,
        ] {
            assert_eq!(parse(value.as_bytes(), 10), Ranges::Whole, "{value}");
        }
        assert_eq!(parse(b"bytes=-5", 0), Ranges::Whole);
    }

    #[test]
    fn what_lies_behind_the_end_is_outside() {
        for (value, length) in
            [("bytes=10-", 10), ("bytes=10-20,30-40", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
        {
            assert_eq!(parse(value.as_bytes(), length), Ranges::Outside, "{value}");
        }
    }

    proptest! {
        #[test]
        fn pieces_lie_in_the_file_and_are_never_more_than_it(value in "bytes=[0-9,-]{0,20}", length in 0u64..1000) {
            if let Ranges::Pieces(pieces) = parse(value.as_bytes(), length) {
                prop_assert!(!pieces.is_empty());
                prop_assert!(pieces.iter().all(|p| p.length > 0 && p.offset + p.length <= length));
                prop_assert!(pieces.iter().map(|p| p.length).sum::<u64>() <= length);
            }
        }
    }
}
