//! The threads that carry traffic, each with an event loop of its own, and who takes a connection.
//!
//! Every thread waits at every listener, which works for inherited sockets too and leaves nothing
//! stranded when a thread ends. A thread that has more connections open than another hands a new
//! one over, so that all carry the same.

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rustix::io::Errno;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[cfg(target_os = "linux")]
use crate::linux::{keep_freed_memory, wait_in_turn};
#[cfg(not(target_os = "linux"))]
use crate::portable::{keep_freed_memory, wait_in_turn};
use crate::{
    Plan, access_log,
    connection::{self, Door},
    crowd::{Crowd, Full, Seen},
    forwarded,
    listen::Name,
    meter,
    stream::Socket,
    watch,
};

/// A thread keeps a new connection as long as it has no more than this many more than the least.
const SLACK: usize = 2;
/// So many connections more are taken at Unix sockets: whoever runs the program must reach it when
/// the rest of the world has taken all places.
const RESERVE: usize = 64;
/// How long to wait when the process has no descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How long idle connections may wait for a last request when another program has taken over.
const LINGER: Duration = Duration::from_secs(10);
/// How often it is looked whether the last listener is closed.
const LOOK: Duration = Duration::from_millis(10);

/// The threads together.
#[derive(Debug)]
pub(crate) struct Crew {
    /// From the start of the threads on.
    seats: OnceLock<Vec<Seat>>,
    /// Open connections of all threads.
    open: AtomicUsize,
    limit: AtomicUsize,
    /// The connections of each client, counted where they are limited.
    crowd: Crowd,
    /// Of one client; 0 is as many as it likes.
    per_client: AtomicUsize,
    /// Listeners at which a thread waits, each counted once for every thread.
    manned: AtomicUsize,
    /// Another program has taken over; what is under way may go on until then.
    leaving: OnceLock<Instant>,
    /// Told when a connection ends while all places are taken.
    freed: Notify,
}

#[derive(Debug)]
struct Seat {
    open: AtomicUsize,
    /// No longer than the limit of connections, and the number of listeners.
    words: mpsc::UnboundedSender<Word>,
}

/// What a thread is told.
#[derive(Debug)]
enum Word {
    Take(Arrival),
    Listen(Post),
    Close(u64),
}

/// A listener for one thread.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) id: u64,
    pub(crate) socket: OwnedFd,
    pub(crate) name: Name,
    pub(crate) door: Arc<ArcSwap<Door>>,
}

/// A connection that another thread accepted.
#[derive(Debug)]
struct Arrival {
    socket: Unregistered,
    address: Option<SocketAddr>,
    door: Arc<Door>,
    place: Place,
}

/// A socket that belongs to no event loop.
#[derive(Debug)]
enum Unregistered {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// A listening socket in the event loop of a thread.
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What an open connection occupies.
#[derive(Debug)]
pub(crate) struct Place {
    crew: Arc<Crew>,
    seat: usize,
    /// Whose it is, where those are counted.
    seen: Option<Seen>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(seen) = self.seen {
            self.crew.crowd.leave(seen);
        }
        if let Some(seat) = self.crew.seats().get(self.seat) {
            seat.open.fetch_sub(1, Ordering::Relaxed);
        }
        let limit = self.crew.limit.load(Ordering::Relaxed);
        if self.crew.open.fetch_sub(1, Ordering::Relaxed) >= limit {
            self.crew.freed.notify_waiters();
        }
    }
}

/// What the threads are told at the start.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) threads: usize,
    /// The rules in use.
    pub(crate) rules: Arc<ArcSwap<Plan>>,
    pub(crate) stop: CancellationToken,
    pub(crate) now: CancellationToken,
}

/// What one thread begins with.
struct Start {
    crew: Arc<Crew>,
    seat: usize,
    words: mpsc::UnboundedReceiver<Word>,
    terms: Terms,
}

impl Crew {
    pub(crate) fn new(rules: &Plan) -> Arc<Self> {
        Arc::new(Self {
            seats: OnceLock::new(),
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(rules.connections.max(1)),
            crowd: Crowd::default(),
            per_client: AtomicUsize::new(rules.connections_per_client.unwrap_or(0)),
            manned: AtomicUsize::new(0),
            leaving: OnceLock::new(),
            freed: Notify::new(),
        })
    }

    /// Starts the threads; the future ends with the last of them.
    pub(crate) fn start(self: &Arc<Self>, terms: &Terms) -> impl Future<Output = ()> + use<> {
        keep_freed_memory();
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..terms.threads).map(|_| mpsc::unbounded_channel()).unzip();
        let seat = |words| Seat { open: AtomicUsize::new(0), words };
        self.seats.get_or_init(|| senders.into_iter().map(seat).collect());
        let (alive, mut ended) = mpsc::channel::<()>(1);
        for (seat, words) in receivers.into_iter().enumerate() {
            let start = Start { crew: self.clone(), seat, words, terms: terms.clone() };
            let alive = alive.clone();
            let thread = std::thread::Builder::new().name(format!("gateway-{seat}"));
            let started = thread.spawn(move || {
                start.run();
                drop(alive);
            });
            if let Err(error) = started {
                self.give_up(seat, &error);
            }
        }
        drop(alive);
        async move {
            // Nothing is ever sent: the channel closes when the last thread has ended.
            ended.recv().await;
        }
    }

    fn seats(&self) -> &[Seat] {
        self.seats.get().map_or(&[], Vec::as_slice)
    }

    /// Has every thread wait at a listener.
    pub(crate) fn listen(&self, post: impl Fn() -> io::Result<Post>) {
        for seat in self.seats() {
            match post() {
                // A thread that has ended needs no listener.
                Ok(post) => drop(seat.words.send(Word::Listen(post))),
                Err(error) => tracing::error!(%error, "a thread cannot wait at a listener"),
            }
        }
    }

    /// Has no thread wait there any more.
    pub(crate) fn close(&self, id: u64) {
        for seat in self.seats() {
            drop(seat.words.send(Word::Close(id)));
        }
    }

    /// Limits the connections that come from now on.
    pub(crate) fn limit(&self, rules: &Plan) {
        self.limit.store(rules.connections.max(1), Ordering::Relaxed);
        self.per_client.store(rules.connections_per_client.unwrap_or(0), Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    /// The stop, when it comes, ends what is under way only then.
    pub(crate) fn leave(&self, until: Instant) {
        self.leaving.get_or_init(|| until);
    }

    /// A thread that does not run gets no connections.
    fn give_up(&self, seat: usize, error: &io::Error) {
        tracing::error!(%error, "could not start a thread for traffic");
        if let Some(seat) = self.seats().get(seat) {
            seat.open.store(usize::MAX / 2, Ordering::Relaxed);
        }
    }

    /// Which thread is to have the next connection.
    fn seat_for(&self, own: usize) -> usize {
        let load = |seat: &Seat| seat.open.load(Ordering::Relaxed);
        let least = self.seats().iter().enumerate().min_by_key(|(_, seat)| load(seat));
        match (least, self.seats().get(own)) {
            (Some((at, least)), Some(own_seat)) if load(own_seat) > load(least) + SLACK => at,
            _ => own,
        }
    }

    fn occupy(self: &Arc<Self>, seat: usize, seen: Option<Seen>) -> Place {
        self.open.fetch_add(1, Ordering::Relaxed);
        if let Some(seat) = self.seats().get(seat) {
            seat.open.fetch_add(1, Ordering::Relaxed);
        }
        Place { crew: self.clone(), seat, seen }
    }

    /// Counts the connections of a client where those are limited.
    ///
    /// # Errors
    /// When it has as many as it may have.
    fn let_in(&self, address: Option<SocketAddr>, door: &Door) -> Result<Option<Seen>, Full> {
        let limit = self.per_client.load(Ordering::Relaxed);
        let Some(address) = address.filter(|_| limit > 0) else { return Ok(None) };
        if forwarded::contains(&door.rules.trusted_proxies, address.ip()) {
            return Ok(None);
        }
        self.crowd.enter(address.ip(), limit).map(Some)
    }

    /// Waits until there is a place for a connection that was accepted, and ends an idle one of
    /// this thread to get it.
    async fn room(&self, listener: &Listening) {
        let more = match listener {
            Listening::Tcp(_) => 0,
            Listening::Unix(_) => RESERVE,
        };
        loop {
            let freed = self.freed.notified();
            let limit = self.limit.load(Ordering::Relaxed).saturating_add(more);
            if self.open.load(Ordering::Relaxed) < limit {
                return;
            }
            watch::shed();
            // Another thread may have idle connections only: look again now and then.
            let _ = tokio::time::timeout(Duration::from_secs(1), freed).await;
        }
    }
}

impl Start {
    fn run(self) {
        meter::take_seat(self.seat);
        if let Err(error) = wait_in_turn() {
            tracing::debug!(%error, "a thread for traffic interrupts others");
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.serve()),
            Err(error) => self.crew.give_up(self.seat, &error),
        }
    }

    async fn serve(mut self) {
        let connections = TaskTracker::new();
        let Terms { rules, stop, now, .. } = self.terms.clone();
        let ticker = tokio::spawn(watch::tick());
        let log = move || rules.load().access_log.clone();
        tokio::spawn(access_log::flush_often(log.clone()));
        let mut posts = Vec::new();
        loop {
            tokio::select! {
                word = self.words.recv() => {
                    let Some(word) = word else { break };
                    self.hear(word, &mut posts, &connections);
                }
                () = stop.cancelled() => break,
            }
        }
        // Each of them is cancelled with `stop`.
        drop(posts);
        tokio::select! {
            () = self.close_down(&connections) => {}
            () = now.cancelled() => {}
        }
        ticker.abort();
        access_log::flush(log().as_ref());
    }

    fn hear(
        &self,
        word: Word,
        posts: &mut Vec<(u64, CancellationToken)>,
        connections: &TaskTracker,
    ) {
        match word {
            Word::Take(arrival) => arrival.begin(connections),
            Word::Listen(Post { id, socket, name, door }) => {
                let listener = match Listening::register(socket, &name) {
                    Ok(listener) => listener,
                    Err(error) => return tracing::error!(%error, "could not wait at a listener"),
                };
                let closed = self.terms.stop.child_token();
                posts.push((id, closed.clone()));
                let manned = Manned::new(&self.crew);
                let taker = Taker { crew: self.crew.clone(), seat: self.seat, door, closed };
                let connections = connections.clone();
                tokio::spawn(async move {
                    taker.take(listener, connections).await;
                    drop(manned);
                });
            }
            Word::Close(id) => posts.retain(|(post, closed)| {
                if *post == id {
                    closed.cancel();
                }
                *post != id
            }),
        }
    }

    /// Brings what is under way to its end, or lets it go when its time is over.
    async fn close_down(&mut self, connections: &TaskTracker) {
        let leaving = self.crew.leaving.get().copied();
        let linger = leaving.map(|until| until.min(Instant::now() + LINGER));
        self.finish_taking(connections, linger).await;
        watch::drain();
        connections.close();
        if let Some(until) = leaving {
            let ended = connections.wait();
            if tokio::time::timeout_at(until, ended).await.is_ok() {
                return;
            }
        }
        watch::bid_farewell();
        let drain_time = self.terms.rules.load().drain_time;
        tokio::select! {
            () = connections.wait() => {}
            () = tokio::time::sleep(drain_time) => {
                let open = connections.len();
                tracing::warn!(open, "requests were cut off: the drain time is over");
            }
        }
    }

    /// Takes what other threads still hand over, until none has a listener any more. Where another
    /// program has taken over, idle connections may bring one more request until `linger`.
    async fn finish_taking(&mut self, connections: &TaskTracker, linger: Option<Instant>) {
        loop {
            let word = tokio::time::timeout(LOOK, self.words.recv()).await;
            match word {
                Ok(None) => return,
                Ok(Some(Word::Take(arrival))) => arrival.begin(connections),
                Ok(Some(_)) => {}
                Err(_) => {
                    let is_closed = self.crew.manned.load(Ordering::Acquire) == 0;
                    let is_idle = self.crew.open.load(Ordering::Relaxed) == 0;
                    let is_over = linger.is_none_or(|linger| is_idle || Instant::now() >= linger);
                    if is_closed && is_over {
                        return;
                    }
                }
            }
        }
    }
}

/// Counts a listener at which a thread waits.
struct Manned(Arc<Crew>);

impl Manned {
    fn new(crew: &Arc<Crew>) -> Self {
        crew.manned.fetch_add(1, Ordering::AcqRel);
        Self(crew.clone())
    }
}

impl Drop for Manned {
    fn drop(&mut self) {
        self.0.manned.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes the connections of one listener on one thread.
struct Taker {
    crew: Arc<Crew>,
    seat: usize,
    door: Arc<ArcSwap<Door>>,
    closed: CancellationToken,
}

impl Taker {
    /// Until the listener is closed. A connection that was accepted is served, whatever comes.
    async fn take(self, listener: Listening, connections: TaskTracker) {
        let Self { crew, seat, door, closed } = self;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closed.cancelled() => return,
            };
            let (socket, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    closed.run_until_cancelled(wait_out(&error)).await;
                    continue;
                }
            };
            let door = door.load_full();
            let Ok(seen) = crew.let_in(address, &door) else { continue };
            closed.run_until_cancelled(crew.room(&listener)).await;
            let best = crew.seat_for(seat);
            let place = crew.occupy(best, seen);
            match crew.seats().get(best) {
                Some(other) if best != seat => {
                    let Ok(socket) = socket.unregister() else { continue };
                    // A thread that could not be started drops it.
                    drop(other.words.send(Word::Take(Arrival { socket, address, door, place })));
                }
                _ => begin(socket, address, (door, place), &connections),
            }
            // Another thread may wait for the next one.
            tokio::task::yield_now().await;
        }
    }
}

/// A client that left while it waited concerns nobody; a lack of descriptors is waited out.
async fn wait_out(error: &io::Error) {
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    let is_short = Errno::from_io_error(error).is_some_and(|errno| short.contains(&errno));
    if is_short {
        tracing::warn!(%error, "no connection can be taken now");
        watch::shed();
        tokio::time::sleep(EXHAUSTED).await;
    }
}

fn begin(
    socket: Socket,
    address: Option<SocketAddr>,
    (door, place): (Arc<Door>, Place),
    connections: &TaskTracker,
) {
    connections.spawn(connection::serve(socket, address, door, place));
}

impl Arrival {
    /// Takes part in this thread's event loop from here on.
    fn begin(self, connections: &TaskTracker) {
        let socket = match self.socket {
            Unregistered::Tcp(stream) => TcpStream::from_std(stream).map(Socket::Tcp),
            Unregistered::Unix(stream) => UnixStream::from_std(stream).map(Socket::Unix),
        };
        match socket {
            Ok(socket) => begin(socket, self.address, (self.door, self.place), connections),
            Err(error) => tracing::warn!(%error, "a connection could not change threads"),
        }
    }
}

impl Socket {
    fn unregister(self) -> io::Result<Unregistered> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Unregistered::Tcp),
            Self::Unix(stream) => stream.into_std().map(Unregistered::Unix),
        }
    }
}

impl Listening {
    fn register(socket: OwnedFd, name: &Name) -> io::Result<Self> {
        match name {
            Name::Tcp(_) => TcpListener::from_std(socket.into()).map(Self::Tcp),
            Name::Unix(_) => UnixListener::from_std(socket.into()).map(Self::Unix),
        }
    }

    /// The next connection; the address is that of a TCP client.
    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Some(address)))
            }
            Self::Unix(listener) => Ok((Socket::Unix(listener.accept().await?.0), None)),
        }
    }
}
