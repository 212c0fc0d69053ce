//! How fast passwords may be tried: the more have failed, the longer the wait for the next.
//!
//! An attempt counts as failed until it succeeds, so that many at once gain nothing.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use super::network;

/// After this long without an attempt, nothing is held against anybody.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// Addresses, and names, that are remembered; of more, those that were quiet for longest go.
const MOST: usize = 4096;

/// From an address many people may come.
const BY_ADDRESS: Rule = Rule { free: 20, longest: Duration::from_secs(900) };
/// The wait for a name is short: it keeps the user out, too.
const BY_NAME: Rule = Rule { free: 5, longest: Duration::from_secs(30) };

#[derive(Clone, Copy, Debug)]
struct Rule {
    /// Attempts without a wait.
    free: u32,
    longest: Duration,
}

impl Rule {
    /// Seconds, doubled with each attempt.
    fn wait(self, attempts: u32) -> Duration {
        match attempts.checked_sub(self.free) {
            None | Some(0) => Duration::ZERO,
            Some(more) => Duration::from_secs(1 << (more - 1).min(16)).min(self.longest),
        }
    }
}

/// Attempts of one address or for one name.
#[derive(Clone, Copy, Debug)]
struct Attempts {
    count: u32,
    last: Instant,
    /// Before this the next one is not looked at.
    next: Instant,
}

/// Who has tried lately.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Held for a moment.
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    addresses: HashMap<Option<IpAddr>, Attempts>,
    /// By their hash: names are as long as strangers like.
    names: HashMap<[u8; 32], Attempts>,
}

impl Pace {
    /// Counts an attempt.
    ///
    /// # Errors
    /// It comes too early, by this much: it is not to be looked at.
    pub(super) fn admit(
        &self,
        address: Option<IpAddr>,
        name: &str,
        now: Instant,
    ) -> Result<(), Duration> {
        let (address, name) = keys(address, name);
        let mut tables = self.tables();
        let waits = [wait(&tables.addresses, &address, now), wait(&tables.names, &name, now)];
        if let Some(wait) = waits.into_iter().max().filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        count(&mut tables.addresses, address, BY_ADDRESS, now);
        count(&mut tables.names, name, BY_NAME, now);
        Ok(())
    }

    /// An attempt succeeded: nothing is held against the name, and this one not against the address.
    pub(super) fn forgive(&self, address: Option<IpAddr>, name: &str) {
        let (address, name) = keys(address, name);
        let mut tables = self.tables();
        tables.names.remove(&name);
        if let Some(attempts) = tables.addresses.get_mut(&address) {
            attempts.count = attempts.count.saturating_sub(1);
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keys(address: Option<IpAddr>, name: &str) -> (Option<IpAddr>, [u8; 32]) {
    (address.map(network), Sha256::digest(name.as_bytes()).into())
}

fn wait<K: Hash + Eq>(table: &HashMap<K, Attempts>, key: &K, now: Instant) -> Duration {
    table.get(key).map_or(Duration::ZERO, |attempts| attempts.next.saturating_duration_since(now))
}

fn count<K: Hash + Eq + Clone>(table: &mut HashMap<K, Attempts>, key: K, rule: Rule, now: Instant) {
    let is_old = |attempts: &Attempts| now.saturating_duration_since(attempts.last) > FORGOTTEN;
    if table.len() >= MOST && !table.contains_key(&key) {
        table.retain(|_, attempts| !is_old(attempts));
        if table.len() >= MOST
            && let Some(quietest) =
                table.iter().min_by_key(|(_, attempts)| attempts.last).map(|(key, _)| key.clone())
        {
            table.remove(&quietest);
        }
    }
    let attempts = table.entry(key).or_insert(Attempts { count: 0, last: now, next: now });
    if is_old(attempts) {
        attempts.count = 0;
    }
    attempts.count = attempts.count.saturating_add(1);
    attempts.last = now;
    attempts.next = now + rule.wait(attempts.count);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_wait_doubles_up_to_an_end() {
        let check = |attempts, seconds| {
            assert_eq!(BY_NAME.wait(attempts), Duration::from_secs(seconds), "{attempts}");
        };
        check(0, 0);
        check(5, 0);
        check(6, 1);
        check(7, 2);
        check(10, 16);
        check(11, 30);
        check(u32::MAX, 30);
    }

    #[test]
    fn guessing_one_name_is_slow_from_wherever() {
        let (pace, mut now, mut tried) = (Pace::default(), Instant::now(), 0);
        let end = now + Duration::from_secs(3600);
        while now < end {
            let from = Some(address(&format!("198.51.{}.{}", tried / 250, tried % 250)));
            match pace.admit(from, "ada", now) {
                Ok(()) => tried += 1,
                Err(wait) => now += wait,
            }
        }
        assert!((100..130).contains(&tried), "{tried}");
        // Nobody else waits for that.
        assert_eq!(pace.admit(Some(address("203.0.113.1")), "bob", now), Ok(()));
    }

    #[test]
    fn guessing_names_from_one_network_is_slow() {
        let (pace, now) = (Pace::default(), Instant::now());
        for n in 0..21 {
            let from = Some(address(&format!("2001:db8::{n}")));
            assert_eq!(pace.admit(from, &format!("name{n}"), now), Ok(()), "{n}");
        }
        assert_eq!(pace.admit(Some(address("2001:db8::ffff")), "ada", now), Err(SECOND));
        assert_eq!(pace.admit(Some(address("2001:db8:0:1::1")), "ada", now), Ok(()));
        assert_eq!(pace.admit(None, "ada", now), Ok(()));
    }

    #[test]
    fn who_gets_in_is_forgiven() {
        let (pace, now) = (Pace::default(), Instant::now());
        for _ in 0..50 {
            assert_eq!(pace.admit(Some(address("192.0.2.1")), "ada", now), Ok(()));
            pace.forgive(Some(address("192.0.2.1")), "ada");
        }
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let (pace, now) = (Pace::default(), Instant::now());
        for n in 0..u32::try_from(MOST).unwrap() + 100 {
            let from = Some(IpAddr::V4((0x0a00_0000 + n).into()));
            assert_eq!(pace.admit(from, &n.to_string(), now), Ok(()));
        }
        let tables = pace.tables();
        assert_eq!((tables.addresses.len(), tables.names.len()), (MOST, MOST));
    }

    #[test]
    fn an_hour_of_quiet_forgets() {
        let (pace, now) = (Pace::default(), Instant::now());
        for _ in 0..6 {
            pace.admit(None, "ada", now).unwrap();
        }
        assert_eq!(pace.admit(None, "ada", now), Err(SECOND));
        let later = now + FORGOTTEN + SECOND;
        for _ in 0..5 {
            assert_eq!(pace.admit(None, "ada", later), Ok(()));
        }
    }
}
