//! What ends a wait on a client: its time limit, the gateway's stop, a lack of connections.
//!
//! Every I/O thread has one table of all its waits and one timer that looks through it, so that a
//! request arms and disarms its limits by writing a number.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;

use crate::clock;

/// Limits are watched no more exactly than this, in milliseconds.
const GRAIN: u64 = 20;
const NEVER: u64 = u64::MAX;

thread_local! {
    static WATCHES: RefCell<Watches> = const { RefCell::new(Watches::new()) };
}

/// The waits of one thread.
struct Watches {
    entries: Slab<Entry>,
    /// When the ticker looks next.
    next: u64,
    ticker: Option<Waker>,
    is_draining: bool,
    is_farewell: bool,
}

struct Entry {
    /// When the time is over, by `clock::now`.
    due: u64,
    /// Since when the connection has had nothing to do; `NEVER` while it has.
    idle_since: u64,
    waker: Option<Waker>,
}

impl Watches {
    const fn new() -> Self {
        Self {
            entries: Slab::new(),
            next: NEVER,
            ticker: None,
            is_draining: false,
            is_farewell: false,
        }
    }

    fn arm(&mut self, key: usize, due: u64, idle_since: u64) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.due = due;
            entry.idle_since = idle_since;
        }
        if due < self.next {
            self.next = due;
            if let Some(ticker) = &self.ticker {
                ticker.wake_by_ref();
            }
        }
    }

    /// Wakes all whose time is over; how long until it is worth to look again.
    fn look(&mut self) -> Option<Duration> {
        let now = clock::now();
        let mut next = NEVER;
        for (_, entry) in &mut self.entries {
            if entry.due <= now {
                if let Some(waker) = entry.waker.take() {
                    waker.wake();
                }
            } else {
                next = next.min(entry.due);
            }
        }
        self.next = next;
        (next != NEVER).then(|| Duration::from_millis((next - now).max(GRAIN)))
    }
}

/// The wait of one connection, or of one request of HTTP/2. It belongs to the thread it was made
/// on, and a connection never leaves its thread.
#[derive(Debug)]
pub(crate) struct Watch {
    key: usize,
}

impl Watch {
    /// A wait without a limit.
    pub(crate) fn new() -> Self {
        let entry = Entry { due: NEVER, idle_since: NEVER, waker: None };
        Self { key: WATCHES.with_borrow_mut(|watches| watches.entries.insert(entry)) }
    }

    /// From now on there is this much time.
    pub(crate) fn arm(&self, time: Duration) {
        let due = clock::now().saturating_add(clock::milliseconds(time));
        WATCHES.with_borrow_mut(|watches| watches.arm(self.key, due, NEVER));
    }

    /// Whether time is running.
    pub(crate) fn is_armed(&self) -> bool {
        self.with(|entry| entry.due) != Some(NEVER)
    }

    /// The connection has nothing to do, for this long at most.
    pub(crate) fn idle(&self, time: Duration) {
        let now = clock::now();
        let due = now.saturating_add(clock::milliseconds(time));
        WATCHES.with_borrow_mut(|watches| watches.arm(self.key, due, now));
    }

    /// There is something to do, and no limit to it.
    pub(crate) fn disarm(&self) {
        self.with(|entry| {
            entry.due = NEVER;
            entry.idle_since = NEVER;
        });
    }

    /// Ready when the time is over.
    pub(crate) fn poll_late(&self, context: &mut Context<'_>) -> Poll<()> {
        let due = self.with(|entry| {
            entry.remember(context);
            entry.due
        });
        if due.is_none_or(|due| due != NEVER && due <= clock::now()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Ready when upgraded connections are to come to an end.
    pub(crate) fn poll_farewell(&self, context: &mut Context<'_>) -> Poll<()> {
        self.with(|entry| entry.remember(context));
        let is_farewell = WATCHES.with_borrow(|watches| watches.is_farewell);
        if is_farewell { Poll::Ready(()) } else { Poll::Pending }
    }

    fn with<R>(&self, change: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        WATCHES.with_borrow_mut(|watches| watches.entries.get_mut(self.key).map(change))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // When the thread ends, the table may be gone before the last connection.
        drop(WATCHES.try_with(|watches| watches.borrow_mut().entries.try_remove(self.key)));
    }
}

impl Entry {
    fn remember(&mut self, context: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            self.waker = Some(context.waker().clone());
        }
    }
}

/// Whether this thread finishes what is under way and begins nothing new.
pub(crate) fn is_draining() -> bool {
    WATCHES.with_borrow(|watches| watches.is_draining)
}

/// Tells every connection of this thread to come to an end, those apart that were upgraded.
pub(crate) fn drain() {
    tell_all(|watches| watches.is_draining = true);
}

/// Tells those too.
pub(crate) fn bid_farewell() {
    tell_all(|watches| watches.is_farewell = true);
}

fn tell_all(what: impl FnOnce(&mut Watches)) {
    let wakers = WATCHES.with_borrow_mut(|watches| {
        what(watches);
        watches.entries.iter_mut().filter_map(|(_, entry)| entry.waker.take()).collect::<Vec<_>>()
    });
    wakers.into_iter().for_each(Waker::wake);
}

/// Ends the connection of this thread that has had nothing to do for longest; false when all are
/// busy.
pub(crate) fn shed() -> bool {
    WATCHES.with_borrow_mut(|watches| {
        let idlest = watches.entries.iter_mut().map(|(_, entry)| entry);
        let idlest = idlest.filter(|entry| entry.idle_since != NEVER && entry.due != 0);
        let Some(entry) = idlest.min_by_key(|entry| entry.idle_since) else { return false };
        entry.due = 0;
        if let Some(waker) = entry.waker.take() {
            waker.wake();
        }
        true
    })
}

/// Looks after the waits of this thread; never returns.
pub(crate) async fn tick() {
    loop {
        let wait = WATCHES.with_borrow_mut(Watches::look);
        let next = WATCHES.with_borrow(|watches| watches.next);
        let mut sleep = pin!(async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        });
        poll_fn(|context| {
            let is_earlier = WATCHES.with_borrow_mut(|watches| {
                watches.ticker = Some(context.waker().clone());
                watches.next < next
            });
            if is_earlier { Poll::Ready(()) } else { sleep.as_mut().poll(context) }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn late(watch: &Watch) {
        poll_fn(|context| watch.poll_late(context)).await;
    }

    #[tokio::test]
    async fn limits_end_waits_in_their_order() {
        let ticker = tokio::spawn(tick());
        let (long, short) = (Watch::new(), Watch::new());
        long.arm(Duration::from_secs(3600));
        tokio::task::yield_now().await;
        short.arm(Duration::from_millis(30));
        tokio::select! {
            () = late(&long) => panic!("an hour has not passed"),
            () = late(&short) => {}
        }
        ticker.abort();
    }

    #[tokio::test]
    async fn a_disarmed_limit_ends_nothing() {
        let ticker = tokio::spawn(tick());
        let (first, second) = (Watch::new(), Watch::new());
        first.arm(Duration::from_millis(10));
        second.arm(Duration::from_millis(60));
        first.disarm();
        tokio::select! {
            () = late(&first) => panic!("it was disarmed"),
            () = late(&second) => {}
        }
        ticker.abort();
    }

    #[tokio::test]
    async fn the_idlest_is_shed_first_and_the_busy_never() {
        let (busy, idle) = (Watch::new(), Watch::new());
        busy.arm(Duration::from_secs(60));
        idle.idle(Duration::from_secs(60));
        assert!(shed());
        late(&idle).await;
        assert!(!shed(), "the busy one stays");
    }
}
