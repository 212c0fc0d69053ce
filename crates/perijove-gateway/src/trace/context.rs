//! The ids of traces as header fields carry them.

use std::{cell::Cell, fmt};

use crate::Head;

/// That the span is recorded.
const SAMPLED: u8 = 1;
/// That the id of the trace was drawn at random (level 2 of the specification).
pub(super) const RANDOM: u8 = 2;

/// 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub(super) u128);

/// 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId(pub(super) u64);

impl TraceId {
    /// Whether the trace is among a part of all, the same one for all who ask: by its last 56 bits,
    /// which are random even where the first are not.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a bound between 0 and 2 to the 56th"
    )]
    pub(super) fn is_within(self, ratio: f64) -> bool {
        const ALL: u64 = 1 << 56;
        let bound = (ratio.clamp(0.0, 1.0) * ALL as f64) as u64;
        ((self.0 as u64) & (ALL - 1)) < bound
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a caller says of the trace that a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace_id: TraceId,
    pub(super) span: SpanId,
    pub(super) flags: u8,
}

impl Parent {
    /// None when there is no `traceparent`, or more than one, or one that is malformed: then a new
    /// trace begins (section 4.3 of the specification).
    pub(super) fn of(head: &Head) -> Option<Self> {
        let mut values = head.get_all("traceparent");
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Self::parse(value)
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let version = hexadecimal(value.get(..2)?)?;
        // A later version may say more behind what is known.
        let is_whole = match (version, value.get(55)) {
            (0xff, _) | (0, Some(_)) => false,
            (_, None) => true,
            (_, Some(next)) => *next == b'-',
        };
        let has_dashes = [2, 35, 52].iter().all(|at| value.get(*at) == Some(&b'-'));
        if !is_whole || !has_dashes {
            return None;
        }
        let trace_id = hexadecimal(value.get(3..35)?)?;
        let span = hexadecimal(value.get(36..52)?)?;
        let flags = hexadecimal(value.get(53..55)?)?;
        (trace_id != 0 && span != 0).then_some(Self {
            trace_id: TraceId(trace_id),
            span: SpanId(u64::try_from(span).ok()?),
            flags: u8::try_from(flags).ok()?,
        })
    }

    pub(super) fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// Digits in lower case only.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(value))
    })
}

/// A number that is not zero, from a generator of this thread's own, seeded by the system.
pub(super) fn random<T: Draw>() -> T {
    T::draw()
}

pub(super) trait Draw {
    fn draw() -> Self;
}

impl Draw for u64 {
    fn draw() -> Self {
        thread_local! {
            static STATE: Cell<u64> = const { Cell::new(0) };
        }
        STATE.with(|state| {
            let mut next = state.get();
            if next == 0 {
                let mut seed = [0; 8];
                // Without randomness threads still differ by where their state lies.
                let fallback = std::ptr::from_ref(state).addr() as Self;
                next = match getrandom::fill(&mut seed) {
                    Ok(()) => Self::from_le_bytes(seed),
                    Err(_) => fallback,
                };
            }
            // SplitMix64.
            next = next.wrapping_add(0x9e37_79b9_7f4a_7c15);
            state.set(next);
            let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)).max(1)
        })
    }
}

impl Draw for u128 {
    fn draw() -> Self {
        (Self::from(u64::draw()) << 64) | Self::from(u64::draw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_parents_are_believed() {
        let check = |text: &str, is_believed: bool| {
            assert_eq!(Parent::parse(text.as_bytes()).is_some(), is_believed, "{text}");
        };
        let id = "0af7651916cd43dd8448eb211c80319c";
        let span = "b7ad6b7169203331";
        check(&format!("00-{id}-{span}-01"), true);
        check(&format!("00-{id}-{span}-00"), true);
        check(&format!("00-{id}-{span}-ff"), true);
        // A later version.
        check(&format!("cc-{id}-{span}-01"), true);
        check(&format!("cc-{id}-{span}-01-what-the-future-brings"), true);
        check(&format!("cc-{id}-{span}-01.x"), false);
        check(&format!("00-{id}-{span}-01-x"), false);
        check(&format!("00-{id}-{span}-01 "), false);
        check(&format!("ff-{id}-{span}-01"), false);
        check(&format!("00-{}-{span}-01", "0".repeat(32)), false);
        check(&format!("00-{id}-{}-01", "0".repeat(16)), false);
        check(&format!("00-{}-{span}-01", id.to_uppercase()), false);
        check(&format!("00-{id}-{span}-0"), false);
        check(&format!("00-{id}{span}-01"), false);
        check(&format!("0-{id}-{span}-01"), false);
        check(&format!("00_{id}_{span}_01"), false);
        check("", false);
        check("00", false);
    }

    #[test]
    fn ids_are_drawn_once() {
        let ids: std::collections::HashSet<u128> = (0..1000).map(|_| random()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
