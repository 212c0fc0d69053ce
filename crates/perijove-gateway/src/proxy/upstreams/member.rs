//! One upstream of a set: how busy it is, and whether it may still be used.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Upstream, UpstreamId, Upstreams, turns::Turns};
use crate::clock;

/// For how long an upstream that could not be reached is asked only if there is no other, or not at
/// all where it is replaced when it ends.
const REST: Duration = Duration::from_millis(500);
/// For how long one request may find out whether an upstream is there again.
const TRIAL: Duration = Duration::from_secs(10);

/// An upstream and its state, shared by the threads that use it.
pub(crate) struct Member {
    id: UpstreamId,
    upstream: Upstream,
    capacity: usize,
    /// Requests it works on at once, as far as it told: beyond that they wait inside it.
    width: AtomicUsize,
    busy: AtomicUsize,
    /// Of those under way, connections that were upgraded: they may stand for days.
    upgraded: AtomicUsize,
    /// Requests it was given since it is here.
    served: AtomicU64,
    is_open: AtomicBool,
    /// By [`clock::now`], until which it is asked last; 0 for one that was reached.
    rests_until: AtomicU64,
    /// Whether a single request finds out just now whether it is there again.
    is_tried: AtomicBool,
    /// How often it could not be reached, or was lost before it had answered.
    failures: AtomicU64,
    /// Of one that takes turns with its equals.
    turns: Option<Turns>,
    is_failed: AtomicBool,
    /// Cancelled when it was taken out, dead or alive.
    leaving: CancellationToken,
    /// Cancelled when it is dead.
    failed: CancellationToken,
    /// Cancelled when its upgraded connections are to end.
    dismissed: CancellationToken,
    /// Told when it could not be reached, or a connection to it broke.
    trouble: Notify,
    is_watched: AtomicBool,
    /// Told when something under way has ended, while somebody watches.
    changed: Notify,
    owner: Weak<Upstreams>,
}

/// How good a choice a member is, the lower the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    rests: bool,
    /// How busy it is for its weight.
    load: u64,
    turn: u64,
    busy: usize,
}

impl Member {
    pub(super) fn new(
        id: UpstreamId,
        upstream: Upstream,
        turns: Option<Turns>,
        owner: Weak<Upstreams>,
    ) -> Self {
        Self {
            id,
            turns,
            failures: AtomicU64::new(0),
            capacity: upstream.capacity.unwrap_or(usize::MAX),
            upstream,
            width: AtomicUsize::new(1),
            busy: AtomicUsize::new(0),
            upgraded: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            is_open: AtomicBool::new(true),
            is_failed: AtomicBool::new(false),
            rests_until: AtomicU64::new(0),
            is_tried: AtomicBool::new(false),
            leaving: CancellationToken::new(),
            failed: CancellationToken::new(),
            dismissed: CancellationToken::new(),
            trouble: Notify::new(),
            is_watched: AtomicBool::new(false),
            changed: Notify::new(),
            owner,
        }
    }

    pub(crate) fn id(&self) -> UpstreamId {
        self.id
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The set it belongs to, while that exists.
    pub(crate) fn owner(&self) -> Option<Arc<Upstreams>> {
        self.owner.upgrade()
    }

    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Notes how many requests it works on at once.
    pub(crate) fn set_width(&self, width: usize) {
        self.width.store(width.max(1), Ordering::Relaxed);
    }

    /// Whether a request would be begun at once, as far as is known.
    pub(super) fn is_idle(&self) -> bool {
        self.busy() < self.width.load(Ordering::Relaxed) && self.rests_until() == 0
    }

    /// `None` when it has no place. One that is replaced when it ends has none while it rests: most
    /// likely it has ended, and whoever is sent there would be held up.
    pub(super) fn rank(&self) -> Option<Rank> {
        let busy = self.busy();
        let has_room = busy < self.capacity && self.is_open.load(Ordering::SeqCst);
        let rests = self.rests();
        (has_room && !(rests && self.upstream.is_replaced)).then(|| {
            let (load, turn) = match &self.turns {
                None => (busy as u64, 0),
                Some(turns) => (turns.load(busy), turns.next()),
            };
            Rank { rests, load, turn, busy }
        })
    }

    /// Takes a place, if it is as busy as it was when it was ranked.
    pub(super) fn enter(self: &Arc<Self>, rank: Rank) -> Option<Slot> {
        let next = rank.busy + 1;
        let order = Ordering::SeqCst;
        self.busy.compare_exchange(rank.busy, next, order, Ordering::Relaxed).ok()?;
        let slot = Slot { member: self.clone(), is_upgraded: false };
        // Whoever waits for it to be drained either sees this place taken, or closed it before.
        if !self.is_open.load(Ordering::SeqCst) {
            return None;
        }
        self.served.fetch_add(1, Ordering::Relaxed);
        if let Some(turns) = &self.turns {
            turns.take();
            self.try_again();
        }
        Some(slot)
    }

    /// Notes that it could not be reached.
    pub(crate) fn rest(self: &Arc<Self>) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        match &self.turns {
            None => self.rest_for(REST),
            // What was sent before it was found out says nothing new.
            Some(_) if self.rests() && !self.is_tried() => {}
            Some(turns) => self.rest_for(turns.fail()),
        }
        // Kept for whoever asks next, when nobody waits for it now.
        self.trouble.notify_one();
        if self.upstream.is_replaced && !self.is_leaving() {
            // Those in line may wait for this one alone. Ends by itself, or with the thread.
            drop(tokio::spawn(wake_after(REST, Arc::downgrade(self))));
        }
    }

    fn rest_for(&self, time: Duration) {
        self.is_tried.store(false, Ordering::Relaxed);
        self.rests_until.store(clock::now() + clock::milliseconds(time), Ordering::Relaxed);
    }

    /// Has a single request find out whether one that has rested is there again: the others keep
    /// away from it until it has answered, or for a while.
    fn try_again(&self) {
        if self.rests_until() != 0 && !self.rests() {
            self.rest_for(TRIAL);
            self.is_tried.store(true, Ordering::Relaxed);
        }
    }

    fn is_tried(&self) -> bool {
        self.is_tried.load(Ordering::Relaxed)
    }

    /// Notes that a connection was made. One that takes turns must answer too before it counts as
    /// well.
    pub(crate) fn wake(&self) {
        if self.turns.is_some() || self.rests_until() == 0 {
            return;
        }
        self.rests_until.store(0, Ordering::Relaxed);
        if self.upstream.is_replaced
            && let Some(owner) = self.owner()
        {
            owner.serve_line();
        }
    }

    /// Notes that it has begun an answer.
    pub(crate) fn answered(&self) {
        if let Some(turns) = &self.turns
            && self.rests_until() != 0
        {
            turns.answer();
            self.rests_until.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that it ended a new connection without an answer. Only one that has equals rests then:
    /// what we run ourselves is watched by whoever runs it.
    pub(crate) fn lose(self: &Arc<Self>) {
        if self.turns.is_some() {
            self.rest();
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a request that it lost may go to an equal of its.
    pub(crate) fn has_equals(&self) -> bool {
        self.turns.is_some() && self.owner().is_some_and(|set| set.count() > 1)
    }

    /// How often it could not be reached, or was lost before it had answered.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn rests_until(&self) -> u64 {
        self.rests_until.load(Ordering::Relaxed)
    }

    pub(super) fn rests(&self) -> bool {
        match self.rests_until() {
            0 => false,
            until => clock::now() < until,
        }
    }

    pub(super) fn leave(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        self.leaving.cancel();
    }

    pub(super) fn fail(&self) {
        self.is_failed.store(true, Ordering::SeqCst);
        self.failed.cancel();
        self.leave();
    }

    /// Whether no new requests go to it.
    pub(crate) fn is_leaving(&self) -> bool {
        !self.is_open.load(Ordering::SeqCst)
    }

    /// Whether it is dead.
    pub(crate) fn is_failed(&self) -> bool {
        self.is_failed.load(Ordering::SeqCst)
    }

    /// Cancelled when no new requests go to it.
    pub(crate) fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }

    /// Cancelled when it is dead.
    pub(crate) fn failed(&self) -> &CancellationToken {
        &self.failed
    }

    fn tell(&self) {
        if self.is_watched.load(Ordering::SeqCst) {
            self.changed.notify_waiters();
        }
    }

    pub(super) fn upgraded(&self) -> usize {
        self.upgraded.load(Ordering::SeqCst)
    }

    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    pub(super) fn dismiss(&self) {
        self.dismissed.cancel();
    }

    /// Cancelled when its upgraded connections are to end.
    pub(crate) fn dismissed(&self) -> &CancellationToken {
        &self.dismissed
    }

    pub(super) async fn troubled(&self) {
        self.trouble.notified().await;
    }

    /// Waits until something holds of what is under way.
    pub(super) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        self.is_watched.store(true, Ordering::SeqCst);
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if holds(self) {
                return;
            }
            changed.await;
        }
    }
}

async fn wake_after(time: Duration, member: Weak<Member>) {
    sleep(time).await;
    if let Some(member) = member.upgrade() {
        member.wake();
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("id", &self.id.0)
            .field("address", &self.upstream.address)
            .field("busy", &self.busy())
            .finish_non_exhaustive()
    }
}

/// A place at an upstream, held for as long as a request is under way there. Dropping it serves
/// the next in line.
pub(crate) struct Slot {
    member: Arc<Member>,
    is_upgraded: bool,
}

impl Slot {
    pub(crate) fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// From here on it is held by an upgraded connection.
    pub(crate) fn upgrade(&mut self) {
        if !std::mem::replace(&mut self.is_upgraded, true) {
            self.member.upgraded.fetch_add(1, Ordering::SeqCst);
            self.member.tell();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_upgraded {
            self.member.upgraded.fetch_sub(1, Ordering::SeqCst);
        }
        self.member.busy.fetch_sub(1, Ordering::SeqCst);
        self.member.tell();
        if let Some(owner) = self.member.owner.upgrade()
            && !owner.line.is_empty()
        {
            owner.serve_line();
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.member.id.0).finish()
    }
}
