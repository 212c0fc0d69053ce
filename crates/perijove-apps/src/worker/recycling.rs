//! When a worker that is well is replaced: it has had so many requests, is old, or has grown.

use std::{fmt, time::Duration};

use perijove_gateway::{UpstreamId, Upstreams, Work};
use perijove_process::Usage;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Recycling;

/// How often requests, memory and time on processors are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Why a worker is replaced while it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Requests(u64),
    Age(Duration),
    Memory(u64),
    Cpu(Duration),
    Idle(Duration),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(count) => write!(f, "it was given {count} requests"),
            Self::Age(age) => write!(f, "it has run for {} s", age.as_secs()),
            Self::Memory(bytes) => write!(f, "it uses {} MiB of memory", bytes >> 20),
            Self::Cpu(time) => write!(f, "it has used {} s of processor time", time.as_secs()),
            Self::Idle(time) => write!(f, "it has had no request for {} s", time.as_secs()),
        }
    }
}

/// The worker that is looked at.
pub(super) struct Watched<'a> {
    pub(super) upstreams: &'a Upstreams,
    pub(super) id: UpstreamId,
    pub(super) pid: u32,
    pub(super) begun: Instant,
}

/// Waits until there is reason to replace a worker.
pub(super) async fn until_due(recycling: &Recycling, watched: Watched<'_>) -> Reason {
    let aged = async {
        match recycling.age {
            Some(age) => sleep_until(watched.begun + age).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = aged => Reason::Age(watched.begun.elapsed()),
        reason = until_grown(recycling, &watched) => reason,
    }
}

async fn until_grown(recycling: &Recycling, watched: &Watched<'_>) -> Reason {
    let mut judge = Judge::new(recycling, by_chance(recycling.jitter));
    if !judge.has_limits() {
        return std::future::pending().await;
    }
    loop {
        sleep(LOOK).await;
        let Some(work) = watched.upstreams.work(watched.id) else { continue };
        if let Some(reason) = judge.of_work(work, Instant::now()) {
            return reason;
        }
        let usage = || Usage::of(watched.pid);
        let shared = || Usage::proportional_memory(watched.pid);
        if let Some(reason) = judge.of_usage(usage, shared) {
            return reason;
        }
    }
}

/// Up to so many, each as likely.
fn by_chance(most: u64) -> u64 {
    let mut bytes = [0; 8];
    // Without chance all are replaced after as many requests, one after another.
    if most == 0 || getrandom::fill(&mut bytes).is_err() {
        return 0;
    }
    u64::from_le_bytes(bytes) % (most + 1)
}

struct Judge<'a> {
    recycling: &'a Recycling,
    requests: Option<u64>,
    /// How many requests it had been given, and when that was seen first.
    seen: Option<(u64, Instant)>,
}

impl<'a> Judge<'a> {
    fn new(recycling: &'a Recycling, more: u64) -> Self {
        let requests = recycling.requests.map(|most| most.saturating_add(more));
        Self { recycling, requests, seen: None }
    }

    fn has_limits(&self) -> bool {
        let Recycling { requests, memory, cpu, idle, .. } = self.recycling;
        requests.is_some() || memory.is_some() || cpu.is_some() || idle.is_some()
    }

    fn of_work(&mut self, work: Work, now: Instant) -> Option<Reason> {
        if self.requests.is_some_and(|most| work.served >= most) {
            return Some(Reason::Requests(work.served));
        }
        let since = match self.seen {
            Some((served, since)) if served == work.served && work.under_way == 0 => since,
            _ => {
                self.seen = Some((work.served, now));
                now
            }
        };
        // One that had nothing to do yet would be replaced by its like.
        let idle = self.recycling.idle.filter(|_| work.served > 0)?;
        let silence = now.saturating_duration_since(since);
        (silence >= idle).then_some(Reason::Idle(silence))
    }

    /// What is shared is looked at only where it matters: that is slow.
    fn of_usage(
        &self,
        usage: impl FnOnce() -> Option<Usage>,
        shared: impl FnOnce() -> Option<u64>,
    ) -> Option<Reason> {
        let Recycling { memory, cpu, .. } = self.recycling;
        if memory.is_none() && cpu.is_none() {
            return None;
        }
        let usage = usage()?;
        if cpu.is_some_and(|most| usage.cpu >= most) {
            return Some(Reason::Cpu(usage.cpu));
        }
        let most = memory.filter(|most| usage.memory > *most)?;
        let memory = shared().unwrap_or(usage.memory);
        (memory > most).then_some(Reason::Memory(memory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(served: u64, under_way: usize) -> Work {
        Work { served, under_way, upgraded: 0 }
    }

    #[test]
    fn requests_and_silence_are_counted() {
        let idle = Some(Duration::from_secs(60));
        let recycling = Recycling { requests: Some(100), idle, ..Recycling::default() };
        let mut judge = Judge::new(&recycling, 10);
        let begun = Instant::now();
        let mut check = |work: Work, seconds: u64, expected: Option<Reason>| {
            let now = begun + Duration::from_secs(seconds);
            assert_eq!(judge.of_work(work, now), expected, "{work:?} after {seconds} s");
        };
        check(work(0, 0), 0, None);
        check(work(0, 0), 500, None);
        check(work(1, 1), 501, None);
        check(work(1, 1), 600, None);
        check(work(1, 0), 601, None);
        check(work(1, 0), 659, None);
        check(work(1, 0), 660, Some(Reason::Idle(Duration::from_secs(60))));
        check(work(2, 0), 661, None);
        check(work(109, 0), 662, None);
        check(work(110, 3), 663, Some(Reason::Requests(110)));
    }

    #[test]
    fn memory_and_time_have_limits() {
        let check = |memory, cpu, shared, expected| {
            let (most, time) = (Some(1000), Some(Duration::from_secs(9)));
            let recycling = Recycling { memory: most, cpu: time, ..Recycling::default() };
            let usage = Usage { memory, cpu: Duration::from_secs(cpu) };
            let judge = Judge::new(&recycling, 0);
            assert_eq!(judge.of_usage(|| Some(usage), || shared), expected, "{usage:?}");
        };
        check(1000, 8, None, None);
        check(1001, 8, None, Some(Reason::Memory(1001)));
        check(2000, 8, Some(900), None);
        check(2000, 8, Some(1900), Some(Reason::Memory(1900)));
        check(1, 9, None, Some(Reason::Cpu(Duration::from_secs(9))));
    }

    #[test]
    fn chance_stays_within_bounds() {
        assert_eq!(by_chance(0), 0);
        assert!((0..100).all(|_| by_chance(3) <= 3));
        assert!((0..1000).any(|_| by_chance(3) == 3));
    }
}
