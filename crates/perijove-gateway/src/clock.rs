//! The time, as exact as a gateway needs it and cheap enough to ask for with every request.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime},
};

#[cfg(target_os = "linux")]
use crate::linux::coarse_milliseconds;
#[cfg(not(target_os = "linux"))]
use crate::portable::coarse_milliseconds;

/// Milliseconds of a clock that never goes back, some milliseconds behind at most.
pub(crate) fn now() -> u64 {
    coarse_milliseconds()
}

/// A length of time in the milliseconds of [`now`].
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The wall clock of this thread, read once a second.
struct Wall {
    /// By [`now`], when it must be read again.
    until: u64,
    seconds: u64,
    /// As in `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 5.6.7).
    date: String,
    /// As in `06/Nov/1994:08:49:37 +0000`, which logs have.
    log_date: String,
}

thread_local! {
    static WALL: RefCell<Wall> = const {
        RefCell::new(Wall {
            until: 0,
            seconds: 0,
            date: String::new(),
            log_date: String::new(),
        })
    };
}

/// Seconds since the Unix epoch.
pub(crate) fn unix_seconds() -> u64 {
    with_wall(|wall| wall.seconds)
}

/// Appends the time in the form of the Date field.
pub(crate) fn push_date(out: &mut Vec<u8>) {
    with_wall(|wall| out.extend_from_slice(wall.date.as_bytes()));
}

/// Appends the time as `06/Nov/1994:08:49:37 +0000`.
pub(crate) fn push_log_date(out: &mut Vec<u8>) {
    with_wall(|wall| out.extend_from_slice(wall.log_date.as_bytes()));
}

fn with_wall<R>(read: impl FnOnce(&Wall) -> R) -> R {
    WALL.with_borrow_mut(|wall| {
        let now = now();
        if now >= wall.until {
            let time = SystemTime::now();
            let epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            wall.seconds = epoch.as_secs();
            wall.date = httpdate::fmt_http_date(time);
            wall.log_date = log_date(&wall.date).unwrap_or_default();
            wall.until = now + u64::from(1000 - epoch.subsec_millis().min(999));
        }
        read(wall)
    })
}

/// The same time in the other form.
fn log_date(date: &str) -> Option<String> {
    let (day, month) = (date.get(5..7)?, date.get(8..11)?);
    let (year, time) = (date.get(12..16)?, date.get(17..25)?);
    Some(format!("{day}/{month}/{year}:{time} +0000"))
}
