//! Kept-alive connections to upstreams, those of each thread by themselves.

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{conduit::Conduit, upstreams::Member};
use crate::UpstreamId;

/// Idle connections that one thread keeps to one upstream.
const MOST: usize = 256;
/// How often those that idled too long are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// What is not safe to repeat is sent only on connections that idled less than this: an upstream
/// that closes idle connections does so after some seconds.
const FRESH: Duration = Duration::from_secs(1);

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

#[derive(Default)]
struct Pool {
    idle: HashMap<UpstreamId, Shelf>,
    is_swept: bool,
}

/// The idle connections to one upstream, those that idle longest first.
struct Shelf {
    member: Arc<Member>,
    connections: Vec<Idle>,
}

struct Idle {
    socket: Arc<Conduit>,
    since: Instant,
    until: Instant,
}

/// An idle connection to an upstream, if there is one that is alive as far as can be seen.
/// `is_safe`: whether the request may be sent again should it turn out not to be.
pub(super) fn take(member: &Member, is_safe: bool) -> Option<Arc<Conduit>> {
    POOL.with_borrow_mut(|pool| {
        let shelf = pool.idle.get_mut(&member.id())?;
        let now = Instant::now();
        let is_usable = |idle: &mut Idle| is_safe || now < idle.since + FRESH;
        while let Some(idle) = shelf.connections.pop_if(is_usable) {
            if now < idle.until && idle.socket.is_quiet() {
                return Some(idle.socket);
            }
        }
        None
    })
}

/// Keeps a connection for the next request, for as long as the upstream is thought to.
pub(super) fn put(member: &Arc<Member>, socket: Arc<Conduit>, keep: Duration) {
    if member.leaving().is_cancelled() {
        return;
    }
    let since = Instant::now();
    let idle = Idle { socket, since, until: since + keep };
    POOL.with_borrow_mut(|pool| {
        let shelf = pool
            .idle
            .entry(member.id())
            .or_insert_with(|| Shelf { member: member.clone(), connections: Vec::new() });
        if shelf.connections.len() < MOST {
            shelf.connections.push(idle);
        }
        if !std::mem::replace(&mut pool.is_swept, true) {
            // Ends by itself when nothing is left to be swept, or with the thread's runtime.
            drop(tokio::spawn(sweep(Sweeping)));
        }
    });
}

/// Closes what idles too long, or leads to an upstream that was taken out.
async fn sweep(sweeping: Sweeping) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let is_empty = POOL.with_borrow_mut(|pool| {
            pool.idle.retain(|_, shelf| {
                shelf.sweep();
                !shelf.connections.is_empty()
            });
            pool.idle.is_empty()
        });
        if is_empty {
            return drop(sweeping);
        }
    }
}

impl Shelf {
    fn sweep(&mut self) {
        let now = Instant::now();
        let is_kept = !self.member.leaving().is_cancelled();
        self.connections.retain(|idle| is_kept && idle.until > now && idle.socket.is_quiet());
    }
}

/// Says that the sweeping has ended, however it did.
struct Sweeping;

impl Drop for Sweeping {
    fn drop(&mut self) {
        // The thread may be ending, and its pool with it.
        let _ = POOL.try_with(|pool| {
            if let Ok(mut pool) = pool.try_borrow_mut() {
                pool.is_swept = false;
            }
        });
    }
}
