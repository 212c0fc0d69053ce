//! The upstreams of a route: which there are, how busy each is, who waits for one.

mod line;
mod member;
#[cfg(test)]
mod tests;
mod turns;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::time::timeout;

use crate::{CookieNames, Histogram, Secret, UpstreamTls, meter::Times};

use line::Line;
pub(crate) use member::{Member, Slot};
use turns::Turns;

/// A set of equal upstreams, edited by whoever runs them while the gateway uses it.
///
/// Requests that find none free wait in line, first come, first served, across all threads: a slot
/// that becomes free is handed to the first in line rather than thrown into the crowd. A set that
/// has no upstream yet makes requests wait too, so that a start looks like a busy moment.
pub struct Upstreams {
    settings: ArcSwap<UpstreamSettings>,
    members: ArcSwap<Vec<Arc<Member>>>,
    /// Taken out, perhaps with requests still under way.
    leaving: Mutex<Vec<Weak<Member>>>,
    line: Line,
    /// They work on many requests at once, so that a body may come slowly.
    takes_streams: AtomicBool,
    /// How long requests waited in line.
    waits: Times,
    /// Of the cookies that its answers set on their origin.
    cookies: Arc<CookieNames>,
    /// Of those that take turns.
    round: Arc<AtomicU64>,
    this: Weak<Self>,
}

#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// How long a request waits in line for a free upstream before it is answered with 503.
    pub wait: Duration,
    /// How many may wait; more are answered with 503 at once.
    pub queue: usize,
    /// For a connection to be made.
    pub connect_time: Duration,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self { wait: Duration::from_secs(30), queue: 4096, connect_time: Duration::from_secs(5) }
    }
}

/// One upstream.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub address: UpstreamAddress,
    pub protocol: Protocol,
    /// How many requests it takes at once; `None`: as many as come.
    pub capacity: Option<usize>,
    /// On a Unix socket: the account that must answer (`SO_PEERCRED`), checked on every connect.
    pub account: Option<u32>,
    /// Whoever runs it starts another one when it ends: requests that could not be sent wait in
    /// line for that, or for another upstream.
    pub is_replaced: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// Host and port.
    Tcp(String),
    Unix(PathBuf),
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Upstream {
    /// Its address with the way in which it is spoken to, such as `https://app.internal:8443`.
    pub(crate) fn origin(&self) -> String {
        match (&self.protocol, &self.address) {
            (Protocol::Https(_), UpstreamAddress::Tcp(address)) => format!("https://{address}"),
            (Protocol::Http1, UpstreamAddress::Tcp(address)) => format!("http://{address}"),
            (_, address) => address.to_string(),
        }
    }

    /// What it is called in Host: the port is left out where it is the usual one.
    pub(crate) fn host(&self) -> &str {
        match (&self.protocol, &self.address) {
            (Protocol::Https(_), UpstreamAddress::Tcp(address)) => {
                address.strip_suffix(":443").unwrap_or(address)
            }
            (_, UpstreamAddress::Tcp(address)) => address.strip_suffix(":80").unwrap_or(address),
            (_, UpstreamAddress::Unix(_)) => "localhost",
        }
    }
}

/// How an upstream is spoken to.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// HTTP/1.1 with kept-alive connections.
    Http1,
    /// The same under TLS, at an address of host and port.
    Https(Arc<UpstreamTls>),
    /// The frames of native workers (decision 0001); the secret opens a connection.
    Frames {
        secret: Secret,
        /// Whether it takes websockets, each on a connection of its own.
        takes_websockets: bool,
    },
}

/// What an upstream has to do and has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Requests it was given since it was added.
    pub served: u64,
    /// Requests it has now, upgraded connections included.
    pub under_way: usize,
    pub upgraded: usize,
}

/// How an upstream is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// As people write it.
    pub address: String,
    /// Requests it was given since it was added.
    pub served: u64,
    /// Requests it has now, upgraded connections included.
    pub under_way: usize,
    /// How often it could not be reached, or was lost before it had answered.
    pub failures: u64,
    /// Whether it is left alone because of that.
    pub rests: bool,
}

/// A request in line; notes how long it was there, also when its client has left.
struct Waiting<'a> {
    since: Instant,
    waits: &'a Times,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waited = self.since.elapsed().as_micros();
        self.waits.record_shared(u64::try_from(waited).unwrap_or(u64::MAX));
    }
}

/// Names one upstream of one set; never used twice while the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub(crate) u64);

/// Why no upstream was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// As many wait as may.
    LineFull,
    /// None became free by the deadline.
    Late,
}

impl Upstreams {
    pub fn new(settings: UpstreamSettings) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            line: Line::new(settings.queue),
            settings: ArcSwap::from_pointee(settings),
            waits: Times::default(),
            members: ArcSwap::default(),
            leaving: Mutex::default(),
            takes_streams: AtomicBool::new(false),
            cookies: Arc::default(),
            round: Arc::default(),
            this: this.clone(),
        })
    }

    /// Takes over other settings; those who wait in line already keep their deadline.
    pub fn change(&self, settings: UpstreamSettings) {
        self.line.set_limit(settings.queue);
        self.settings.store(Arc::new(settings));
    }

    /// Adds an upstream: requests go to it from now on.
    pub fn add(&self, upstream: Upstream) -> UpstreamId {
        self.add_as(upstream, None)
    }

    /// Adds one that takes turns with its equals, which nobody of ours runs: among those that are
    /// as busy each is asked in turn, one of weight 2 twice as often. One that fails is left alone
    /// for a while that grows from half a second to half a minute, and what it had not begun to
    /// answer is sent to another one where that is safe.
    pub fn add_weighed(&self, upstream: Upstream, weight: u32) -> UpstreamId {
        self.add_as(upstream, Some(Turns::new(weight, self.round.clone())))
    }

    fn add_as(&self, upstream: Upstream, turns: Option<Turns>) -> UpstreamId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = UpstreamId(NEXT.fetch_add(1, Ordering::Relaxed));
        // Who carries websockets carries many requests at once; the newest tells how all are.
        let takes_streams =
            matches!(upstream.protocol, Protocol::Frames { takes_websockets: true, .. });
        self.takes_streams.store(takes_streams, Ordering::Relaxed);
        let member = Arc::new(Member::new(id, upstream, turns, self.this.clone()));
        self.members.rcu(|members| {
            let mut members = Vec::clone(members);
            members.push(member.clone());
            members
        });
        self.serve_line();
        id
    }

    /// Takes an upstream out: no new requests go to it, those under way are finished.
    pub fn remove(&self, id: UpstreamId) {
        if let Some(member) = self.take_out(id) {
            member.leave();
        }
    }

    /// Takes all but these out, as by [`Upstreams::remove`].
    pub fn remove_others(&self, kept: &[UpstreamId]) {
        let members = self.members.load_full();
        let others = members.iter().map(|member| member.id()).filter(|id| !kept.contains(id));
        others.for_each(|id| self.remove(id));
    }

    /// Takes an upstream that died out at once: requests that never reached its application are
    /// sent to another upstream, the rest is answered with 502. It may have been removed before.
    pub fn fail(&self, id: UpstreamId) {
        if let Some(member) = self.take_out(id).or_else(|| self.find(id)) {
            member.fail();
        }
    }

    /// Notes that an upstream which could not be reached a moment ago is well.
    pub fn reached(&self, id: UpstreamId) {
        if let Some(member) = self.find(id) {
            member.wake();
        }
    }

    /// Waits until nothing is under way at an upstream, upgraded connections included.
    pub async fn drained(&self, id: UpstreamId) {
        if let Some(member) = self.find(id) {
            member.until(|member| member.busy() == 0).await;
        }
    }

    /// Waits until nothing is under way at an upstream but upgraded connections.
    pub async fn answered(&self, id: UpstreamId) {
        if let Some(member) = self.find(id) {
            member.until(|member| member.busy() <= member.upgraded()).await;
        }
    }

    /// Waits until no upgraded connection stands to an upstream.
    pub async fn hung_up(&self, id: UpstreamId) {
        if let Some(member) = self.find(id) {
            member.until(|member| member.upgraded() == 0).await;
        }
    }

    /// Ends the upgraded connections to an upstream; clients of websockets are told that it goes
    /// away (RFC 6455 7.4.1, 1001).
    pub fn dismiss(&self, id: UpstreamId) {
        if let Some(member) = self.find(id) {
            member.dismiss();
        }
    }

    /// Waits until an upstream could not be reached, or a connection to it broke. It may have
    /// happened since the last call.
    pub async fn troubled(&self, id: UpstreamId) {
        match self.find(id) {
            Some(member) => member.troubled().await,
            None => std::future::pending().await,
        }
    }

    /// What an upstream has to do and has done; `None` when it is gone.
    pub fn work(&self, id: UpstreamId) -> Option<Work> {
        let member = self.find(id)?;
        Some(Work {
            served: member.served(),
            under_way: member.busy(),
            upgraded: member.upgraded(),
        })
    }

    /// How each upstream is doing, in the order in which they were added.
    pub fn health(&self) -> Vec<Health> {
        let members = self.members.load();
        let health = |member: &Arc<Member>| Health {
            address: member.upstream().origin(),
            served: member.served(),
            under_way: member.busy(),
            failures: member.failures(),
            rests: member.rests(),
        };
        members.iter().map(health).collect()
    }

    /// Requests under way and in line.
    pub fn load(&self) -> (usize, usize) {
        let members = self.members.load();
        let leaving: Vec<_> = self.leaving().iter().filter_map(Weak::upgrade).collect();
        let busy = members.iter().chain(&leaving).map(|member| member.busy()).sum();
        (busy, self.line.len())
    }

    /// Whether they work on many requests at once, so that bodies are passed on as they come.
    pub(crate) fn takes_streams(&self) -> bool {
        self.takes_streams.load(Ordering::Relaxed)
    }

    /// How long requests have waited in line, those that gave up included, since the start.
    pub fn waits(&self) -> Histogram {
        self.waits.snapshot()
    }

    /// The names of the cookies that answers of these upstreams have set, where they are not
    /// confined: what a [`Confinement`](crate::Confinement) on the same origin stands beside.
    pub fn cookie_names(&self) -> &Arc<CookieNames> {
        &self.cookies
    }

    pub(crate) fn settings(&self) -> Arc<UpstreamSettings> {
        self.settings.load_full()
    }

    /// Takes a place at the least busy upstream, if there is one and nobody waits in line.
    pub(crate) fn take_now(&self) -> Option<Slot> {
        self.line.is_empty().then(|| self.pick(None)).flatten()
    }

    /// Takes a place at the least busy upstream, or waits in line for one.
    pub(crate) async fn take(&self) -> Result<Slot, Unavailable> {
        if let Some(slot) = self.take_now() {
            return Ok(slot);
        }
        let ticket = self.line.join().ok_or(Unavailable::LineFull)?;
        let _waiting = Waiting { since: Instant::now(), waits: &self.waits };
        // One may have become free between the look above and the place in line.
        self.serve_line();
        timeout(self.settings().wait, ticket).await.map_err(|_| Unavailable::Late)
    }

    /// A place at an upstream other than this one that would begin a request at once.
    pub(crate) fn take_idle(&self, except: UpstreamId) -> Option<Slot> {
        self.line.is_empty().then(|| self.pick(Some(except))).flatten()
    }

    /// How many upstreams there are to choose from.
    pub(crate) fn count(&self) -> usize {
        self.members.load().len()
    }

    /// Takes a place at the least busy upstream that has one. Those that could not be reached a
    /// moment ago come last, or not at all where they are replaced. With `except`, only one that
    /// has nobody waiting inside, and not that.
    fn pick(&self, except: Option<UpstreamId>) -> Option<Slot> {
        let members = self.members.load();
        loop {
            let best = members
                .iter()
                .filter(|member| except.is_none_or(|id| member.id() != id && member.is_idle()))
                .filter_map(|member| Some((member.rank()?, member)))
                .min_by_key(|(rank, _)| *rank);
            let (rank, member) = best?;
            if let Some(slot) = member.enter(rank) {
                return Some(slot);
            }
        }
    }

    /// Hands what is free to those in line.
    fn serve_line(&self) {
        self.line.serve(|| self.pick(None));
    }

    fn take_out(&self, id: UpstreamId) -> Option<Arc<Member>> {
        let before = self.members.rcu(|members| {
            let mut members = Vec::clone(members);
            members.retain(|member| member.id() != id);
            members
        });
        let member = before.iter().find(|member| member.id() == id)?.clone();
        let mut leaving = self.leaving();
        leaving.retain(|member| member.strong_count() > 0);
        leaving.push(Arc::downgrade(&member));
        Some(member)
    }

    fn find(&self, id: UpstreamId) -> Option<Arc<Member>> {
        let members = self.members.load();
        if let Some(member) = members.iter().find(|member| member.id() == id) {
            return Some(member.clone());
        }
        self.leaving().iter().filter_map(Weak::upgrade).find(|member| member.id() == id)
    }

    fn leaving(&self) -> MutexGuard<'_, Vec<Weak<Member>>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Upstreams {
    /// Nobody can ask for them any more: what is under way is finished, and connections that are
    /// kept for later are closed.
    fn drop(&mut self) {
        self.members.load().iter().for_each(|member| member.leave());
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (busy, waiting) = self.load();
        f.debug_struct("Upstreams")
            .field("members", &self.members.load())
            .field("busy", &busy)
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}
