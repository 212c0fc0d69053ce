//! Lengths of time and numbers of bytes, as people write them.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// A length of time: `"30s"`, `"1h 30m"`, `"500ms"`, or a number of seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A number of bytes: `"64K"`, `"100M"`, `"2 GiB"`, or a plain number. Each step is 1024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const TIMES: [(&str, u64); 6] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Period {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expects a length of time such as \"30s\", \"10m\" or \"8h\"";
        let mut rest = text.trim();
        let mut total = 0_u64;
        if rest.is_empty() {
            return Err(WRONG);
        }
        while !rest.is_empty() {
            let (number, after) = split_number(rest).ok_or(WRONG)?;
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, further) = after.split_at_checked(end).ok_or(WRONG)?;
            let unit = if unit.is_empty() && total == 0 && further.is_empty() { "s" } else { unit };
            let (_, factor) = TIMES.iter().find(|(name, _)| *name == unit).ok_or(WRONG)?;
            total = number.checked_mul(*factor).and_then(|n| n.checked_add(total)).ok_or(WRONG)?;
            rest = further.trim_start();
        }
        Ok(Self(Duration::from_millis(total)))
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expects a number of bytes such as \"64K\", \"100M\" or \"2G\"";
        let (number, unit) = split_number(text.trim()).ok_or(WRONG)?;
        let unit = unit.to_ascii_lowercase();
        let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return Err(WRONG),
        };
        number.checked_mul(1 << shift).map(Self).ok_or(WRONG)
    }
}

/// The number at the front and what follows it, without the space between.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest.trim_start()))
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_millis();
        if total == 0 {
            return f.write_str("0s");
        }
        let mut rest = total;
        let steps = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
        let mut is_first = true;
        for (unit, factor) in steps {
            let count = rest / factor;
            rest %= factor;
            if count > 0 {
                write!(f, "{}{count}{unit}", if is_first { "" } else { " " })?;
                is_first = false;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
        match steps.iter().find(|(_, shift)| self.0 > 0 && self.0.trailing_zeros() >= *shift) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Reads text by `FromStr`, or a number by `T::from_number`.
struct Written<T>(std::marker::PhantomData<T>);

trait FromNumber: Sized {
    const WANTED: &'static str;
    fn from_number(number: u64) -> Self;
}

impl FromNumber for Period {
    const WANTED: &'static str = "a length of time such as \"30s\", \"10m\" or \"8h\"";

    fn from_number(seconds: u64) -> Self {
        Self::seconds(seconds)
    }
}

impl FromNumber for Size {
    const WANTED: &'static str = "a number of bytes such as \"64K\", \"100M\" or \"2G\"";

    fn from_number(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl<T: FromNumber + FromStr<Err = &'static str>> de::Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WANTED)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Ok(T::from_number(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        let wrong = || E::invalid_value(de::Unexpected::Signed(number), &self);
        u64::try_from(number).map(T::from_number).map_err(|_| wrong())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Period, Size};

    #[test]
    fn times_are_read_and_written() {
        let check = |text: &str, expected: Option<(u64, &str)>| {
            let read = text.parse::<Period>().ok();
            let shown = read.map(|period| (period, period.to_string()));
            let expected = expected
                .map(|(millis, shown)| (Period(Duration::from_millis(millis)), shown.to_owned()));
            assert_eq!(shown, expected, "{text}");
        };
        check("30s", Some((30_000, "30s")));
        check("90", Some((90_000, "1m 30s")));
        check(" 1h 30m ", Some((5_400_000, "1h 30m")));
        check("1h30m", Some((5_400_000, "1h 30m")));
        check("500ms", Some((500, "500ms")));
        check("0", Some((0, "0s")));
        check("2 d", Some((172_800_000, "2d")));
        check("", None);
        check("soon", None);
        check("5 fortnights", None);
        check("-5s", None);
        check("99999999999999999999d", None);
    }

    #[test]
    fn sizes_are_read_and_written() {
        let check = |text: &str, expected: Option<(u64, &str)>| {
            let read = text.parse::<Size>().ok();
            let shown = read.map(|size| (size.0, size.to_string()));
            assert_eq!(shown, expected.map(|(n, shown)| (n, shown.to_owned())), "{text}");
        };
        check("64K", Some((65_536, "64K")));
        check("2 GiB", Some((2 << 30, "2G")));
        check("100mb", Some((100 << 20, "100M")));
        check("1500", Some((1500, "1500")));
        check("0", Some((0, "0")));
        check("many", None);
        check("5X", None);
        check("99999999999999999T", None);
    }
}
