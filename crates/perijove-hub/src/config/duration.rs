//! Spans of time as people write them: `"8h"`, `"1h30m"`, `90`.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// A span of time: whole seconds as a number, or a text such as `"90s"`, `"1h30m"`, `"2d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapse(pub Duration);

/// A century: longer spans are slips of the pen, and would overflow clocks.
const LONGEST: u64 = 100 * 365 * 86_400;

impl Lapse {
    /// Reads a span of time; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return None;
        }
        if rest.bytes().all(|b| b.is_ascii_digit()) {
            return Self::seconds(rest.parse().ok()?);
        }
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, after) = after.split_at(letters);
            let number: u64 = number.parse().ok()?;
            let span = match unit {
                "ms" => Duration::from_millis(number),
                "s" => Duration::from_secs(number),
                "m" | "min" => Duration::from_secs(number.checked_mul(60)?),
                "h" => Duration::from_secs(number.checked_mul(3600)?),
                "d" => Duration::from_secs(number.checked_mul(86_400)?),
                _ => return None,
            };
            total = total.checked_add(span)?;
            rest = after.trim_start();
        }
        (total.as_secs() <= LONGEST).then_some(Self(total))
    }

    fn seconds(number: u64) -> Option<Self> {
        (number <= LONGEST).then(|| Self(Duration::from_secs(number)))
    }
}

impl<'de> Deserialize<'de> for Lapse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Lapse;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a span of time such as \"90s\", \"8h\" or a number of seconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Lapse, E> {
                Lapse::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Lapse, E> {
                Lapse::seconds(number)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Lapse, E> {
                u64::try_from(number)
                    .ok()
                    .and_then(Lapse::seconds)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
