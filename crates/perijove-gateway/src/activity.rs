//! When a route last carried a request that changes something, and how many connections are open.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counters of one route, written by the gateway, read by whoever owns the route.
///
/// Idleness is not read from bytes: pings and open tabs are bytes too. Only requests with a method
/// other than GET, HEAD and OPTIONS count as an action.
#[derive(Debug, Default)]
pub struct Activity {
    last_action: AtomicU64,
    open_upgrades: AtomicUsize,
    requests: AtomicU64,
}

impl Activity {
    /// Seconds since the Unix epoch at the last action; 0 when there was none.
    pub fn last_action(&self) -> u64 {
        self.last_action.load(Ordering::Relaxed)
    }

    pub fn record_action(&self, now: u64) {
        self.last_action.fetch_max(now, Ordering::Relaxed);
    }

    pub fn record_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// All requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Upgraded connections open now.
    pub fn open_upgrades(&self) -> usize {
        self.open_upgrades.load(Ordering::Relaxed)
    }

    pub fn upgrade_opened(&self) {
        self.open_upgrades.fetch_add(1, Ordering::Relaxed);
    }

    pub fn upgrade_closed(&self) {
        self.open_upgrades.fetch_sub(1, Ordering::Relaxed);
    }
}
