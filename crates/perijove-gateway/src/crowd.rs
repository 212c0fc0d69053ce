//! How many connections each client has.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::clock;

/// The open connections by client.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// Held for a moment whenever a connection begins or ends.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<Seen, usize>,
    /// When the log was last told that some were turned away, in seconds, and how many were since.
    told: u64,
    turned_away: u64,
}

/// A client: an address, or the network of an address of IPv6, of which one client has as many as it
/// likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen(IpAddr);

/// The client has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Seconds between two words to the log.
const PAUSE: u64 = 60;

impl Crowd {
    /// Counts a connection, unless the client has as many as `limit` already.
    pub(crate) fn enter(&self, address: IpAddr, limit: usize) -> Result<Seen, Full> {
        let seen = Seen::of(address);
        let mut state = self.lock();
        let open = state.open.entry(seen).or_default();
        if *open < limit {
            *open += 1;
            return Ok(seen);
        }
        state.turned_away += 1;
        let now = clock::unix_seconds();
        if now.saturating_sub(state.told) >= PAUSE {
            let count = std::mem::take(&mut state.turned_away);
            state.told = now;
            tracing::warn!(client = %seen.0, limit, count, "connections above a client's limit were closed");
        }
        Err(Full)
    }

    pub(crate) fn leave(&self, seen: Seen) {
        let mut state = self.lock();
        if let Some(open) = state.open.get_mut(&seen) {
            *open -= 1;
            if *open == 0 {
                state.open.remove(&seen);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Crowd, Full};

    #[test]
    fn each_client_has_its_own_limit() {
        let crowd = Crowd::default();
        let enter = |address: &str| crowd.enter(address.parse().unwrap(), 2);
        let first = enter("192.0.2.1").unwrap();
        enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1"), Err(Full));
        enter("192.0.2.2").unwrap();
        crowd.leave(first);
        enter("192.0.2.1").unwrap();
        enter("2001:db8::1").unwrap();
        enter("2001:db8::2").unwrap();
        assert_eq!(enter("2001:db8::3"), Err(Full));
        enter("2001:db8:0:1::3").unwrap();
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let crowd = Crowd::default();
        for _ in 0..3 {
            let seen = crowd.enter("192.0.2.1".parse().unwrap(), 1).unwrap();
            crowd.leave(seen);
        }
        assert!(crowd.lock().open.is_empty());
    }
}
