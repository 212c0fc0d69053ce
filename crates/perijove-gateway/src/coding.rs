//! How the bytes of an answer may be coded, and which coding a client gets.

/// How the bytes of an answer are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Brotli,
    Zstd,
    Gzip,
    Identity,
}

impl Coding {
    pub(crate) const NEIGHBOURS: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// What is appended to a file's name.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Identity => "",
        }
    }

    /// The name in Content-Encoding.
    pub(crate) fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Identity => "identity",
        }
    }

    fn is_named(self, token: &[u8]) -> bool {
        token.eq_ignore_ascii_case(self.token().as_bytes())
            || (self == Self::Gzip && token.eq_ignore_ascii_case(b"x-gzip"))
    }
}

/// The best of the codings at hand, by the client's Accept-Encoding fields (RFC 9110 12.5.3): the
/// one it weighs most, of equal ones the one that is usually smallest. Identity where nothing else
/// is wanted, even if it is not wanted either: an answer is worth more than a refusal.
pub(crate) fn choose<'a>(
    accepted: impl Iterator<Item = &'a [u8]>,
    at_hand: impl Iterator<Item = Coding>,
) -> Coding {
    let wishes = Wishes::read(accepted);
    let mut best = (Coding::Identity, 0);
    for coding in at_hand {
        let weight = wishes.weight(coding);
        if weight > best.1 {
            best = (coding, weight);
        }
    }
    best.0
}

/// The weights in thousandths that a client gave.
#[derive(Default)]
struct Wishes {
    named: [Option<u16>; 4],
    others: Option<u16>,
}

impl Wishes {
    fn read<'a>(accepted: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut wishes = Self::default();
        for element in accepted.flat_map(|list| list.split(|b| *b == b',')) {
            let mut parts = element.split(|b| *b == b';');
            let token = parts.next().unwrap_or_default().trim_ascii();
            let Some(weight) = parts.next().map_or(Some(1000), weight) else { continue };
            if token == b"*" {
                wishes.others = Some(weight);
            }
            for coding in [Coding::Brotli, Coding::Zstd, Coding::Gzip, Coding::Identity] {
                if let (true, Some(named)) =
                    (coding.is_named(token), wishes.named.get_mut(coding as usize))
                {
                    *named = Some(weight);
                }
            }
        }
        wishes
    }

    fn weight(&self, coding: Coding) -> u16 {
        // Identity is welcome when nobody speaks of it, but less than anything that is named.
        let unnamed = u16::from(coding == Coding::Identity);
        let named = self.named.get(coding as usize).copied().flatten();
        named.or(self.others).unwrap_or(unnamed)
    }
}

/// `q=0.75` as 750.
fn weight(parameter: &[u8]) -> Option<u16> {
    let value = parameter.trim_ascii();
    let value = value.strip_prefix(b"q=").or(value.strip_prefix(b"Q="))?;
    let (whole, fraction) = value.split_first()?;
    let digits = match fraction {
        [] => fraction,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, unit) in digits.iter().zip([100, 10, 1]) {
        thousandths += u16::from(digit.is_ascii_digit().then(|| digit - b'0')?) * unit;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(accepted: &str, at_hand: &[Coding], expected: Coding) {
        let lists = accepted.split('|').map(str::as_bytes);
        assert_eq!(choose(lists, at_hand.iter().copied()), expected, "{accepted}");
    }

    #[test]
    fn the_client_chooses_by_weight_and_we_among_equals() {
        use Coding::{Brotli, Gzip, Identity, Zstd};
        let all = [Brotli, Zstd, Gzip, Identity];
        check("", &all, Identity);
        check("gzip, deflate, br, zstd", &all, Brotli);
        check("gzip, deflate, br, zstd", &[Gzip, Identity], Gzip);
        check("gzip, deflate, br, zstd", &[Identity], Identity);
        check("GZIP", &all, Gzip);
        check("x-gzip", &all, Gzip);
        check("gzip|zstd", &all, Zstd);
        check("br;q=0.5, gzip;q=0.8", &all, Gzip);
        check("br;q=0, *", &all, Zstd);
        check("*;q=0", &all, Identity);
        check("*", &all, Brotli);
        check("identity;q=1, gzip;q=0.5", &all, Identity);
        check("identity;q=0, gzip;q=0.001", &all, Gzip);
        check("identity;q=0", &all, Identity);
        check("gzip;q=0.001", &all, Gzip);
        check("br;q=0", &[Brotli, Identity], Identity);
        check("br;q=1.5, zstd;q=a, gzip;q=0.1111", &all, Identity);
        check("br ; q=0.9 , gzip ;q=1.000", &all, Gzip);
        check("brotli, gzipped", &all, Identity);
        check(",,;q=1,gzip", &all, Gzip);
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_one_at_hand_is_chosen(list in "[a-z*;=q.,01 ]{0,40}") {
            let all = [Coding::Zstd, Coding::Gzip, Coding::Brotli];
            let chosen = choose(std::iter::once(list.as_bytes()), all.into_iter());
            let is_named = list.contains(chosen.token()) || list.contains('*');
            prop_assert!(chosen == Coding::Identity || is_named || list.contains("x-gzip"), "{}", list);
        }
    }
}
