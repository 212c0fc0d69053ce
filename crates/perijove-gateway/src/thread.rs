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
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::io::Errno;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Notify, mpsc},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    AccessLog, access_log,
    connection::{self, Door},
    crowd::{Crowd, Full, Seen},
    forwarded,
    listen::{Bound, Name},
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

/// The threads together.
#[derive(Debug)]
pub(crate) struct Crew {
    seats: Vec<Seat>,
    /// Open connections of all threads.
    open: AtomicUsize,
    limit: usize,
    /// Where the connections of one client are limited.
    crowd: Option<Crowd>,
    /// Told when a connection ends while all places are taken.
    freed: Notify,
}

#[derive(Debug)]
struct Seat {
    open: AtomicUsize,
    /// No longer than the limit of connections.
    handed: mpsc::UnboundedSender<Arrival>,
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
        if let (Some(seen), Some(crowd)) = (self.seen, &self.crew.crowd) {
            crowd.leave(seen);
        }
        if let Some(seat) = self.crew.seats.get(self.seat) {
            seat.open.fetch_sub(1, Ordering::Relaxed);
        }
        if self.crew.open.fetch_sub(1, Ordering::Relaxed) >= self.crew.limit {
            self.crew.freed.notify_waiters();
        }
    }
}

/// What the threads are told.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) threads: usize,
    /// Open connections of all threads.
    pub(crate) connections: usize,
    /// Those of one client.
    pub(crate) per_client: Option<usize>,
    pub(crate) drain_time: Duration,
    pub(crate) log: Option<AccessLog>,
    pub(crate) stop: CancellationToken,
    pub(crate) now: CancellationToken,
}

/// What one thread begins with.
struct Start {
    crew: Arc<Crew>,
    seat: usize,
    listeners: Vec<(OwnedFd, Name, Arc<Door>)>,
    handed: mpsc::UnboundedReceiver<Arrival>,
    terms: Terms,
}

impl Crew {
    /// Starts the threads; the future ends with the last of them.
    pub(crate) fn start(
        bound: &[(Bound, Arc<Door>)],
        terms: &Terms,
    ) -> impl Future<Output = ()> + use<> {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..terms.threads).map(|_| mpsc::unbounded_channel()).unzip();
        let seat = |handed| Seat { open: AtomicUsize::new(0), handed };
        let crew = Arc::new(Self {
            seats: senders.into_iter().map(seat).collect(),
            open: AtomicUsize::new(0),
            limit: terms.connections,
            crowd: terms.per_client.map(Crowd::new),
            freed: Notify::new(),
        });
        let (alive, mut ended) = mpsc::channel::<()>(1);
        for (seat, handed) in receivers.into_iter().enumerate() {
            let listeners = bound
                .iter()
                .filter_map(|(bound, door)| {
                    Some((bound.socket.try_clone().ok()?, bound.name.clone(), door.clone()))
                })
                .collect();
            let start = Start { crew: crew.clone(), seat, listeners, handed, terms: terms.clone() };
            let alive = alive.clone();
            let thread = std::thread::Builder::new().name(format!("gateway-{seat}"));
            let started = thread.spawn(move || {
                start.run();
                drop(alive);
            });
            if let Err(error) = started {
                crew.give_up(seat, &error);
            }
        }
        drop(alive);
        async move {
            // Nothing is ever sent: the channel closes when the last thread has ended.
            ended.recv().await;
        }
    }

    /// A thread that does not run gets no connections.
    fn give_up(&self, seat: usize, error: &io::Error) {
        tracing::error!(%error, "could not start a thread for traffic");
        if let Some(seat) = self.seats.get(seat) {
            seat.open.store(usize::MAX / 2, Ordering::Relaxed);
        }
    }

    /// Which thread is to have the next connection.
    fn seat_for(&self, own: usize) -> usize {
        let load = |seat: &Seat| seat.open.load(Ordering::Relaxed);
        let least = self.seats.iter().enumerate().min_by_key(|(_, seat)| load(seat));
        match (least, self.seats.get(own)) {
            (Some((at, least)), Some(own_seat)) if load(own_seat) > load(least) + SLACK => at,
            _ => own,
        }
    }

    fn occupy(self: &Arc<Self>, seat: usize, seen: Option<Seen>) -> Place {
        self.open.fetch_add(1, Ordering::Relaxed);
        if let Some(seat) = self.seats.get(seat) {
            seat.open.fetch_add(1, Ordering::Relaxed);
        }
        Place { crew: self.clone(), seat, seen }
    }

    /// Counts the connections of a client where those are limited.
    ///
    /// # Errors
    /// When it has as many as it may have.
    fn let_in(&self, address: Option<SocketAddr>, door: &Door) -> Result<Option<Seen>, Full> {
        let (Some(crowd), Some(address)) = (&self.crowd, address) else { return Ok(None) };
        if forwarded::contains(&door.rules.trusted_proxies, address.ip()) {
            return Ok(None);
        }
        crowd.enter(address.ip()).map(Some)
    }

    /// Waits until there is a place for a connection that was accepted, and ends an idle one of
    /// this thread to get it.
    async fn room(&self, listener: &Listening) {
        let limit = match listener {
            Listening::Tcp(_) => self.limit,
            Listening::Unix(_) => self.limit.saturating_add(RESERVE),
        };
        loop {
            let freed = self.freed.notified();
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
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.serve()),
            Err(error) => self.crew.give_up(self.seat, &error),
        }
    }

    async fn serve(mut self) {
        let connections = TaskTracker::new();
        let Terms { drain_time, log, stop, now, .. } = self.terms;
        let ticker = tokio::spawn(watch::tick());
        if let Some(log) = &log {
            tokio::spawn(access_log::flush_often(log.clone()));
        }
        for (socket, name, door) in self.listeners {
            let listener = match Listening::register(socket, &name) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!(%error, "could not wait at a listener");
                    continue;
                }
            };
            let taking = take(listener, door, self.crew.clone(), self.seat, connections.clone());
            let stop = stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(taking).await });
        }
        loop {
            tokio::select! {
                arrival = self.handed.recv() => {
                    let Some(arrival) = arrival else { break };
                    arrival.begin(&connections);
                }
                () = stop.cancelled() => break,
            }
        }
        self.handed.close();
        while let Ok(arrival) = self.handed.try_recv() {
            arrival.begin(&connections);
        }
        watch::drain();
        connections.close();
        tokio::select! {
            () = connections.wait() => {}
            () = tokio::time::sleep(drain_time) => {
                let open = connections.len();
                tracing::warn!(open, "requests were cut off: the drain time is over");
            }
            () = now.cancelled() => {}
        }
        ticker.abort();
        if let Some(log) = &log {
            access_log::flush(log);
        }
    }
}

/// Takes the connections of one listener, for ever.
async fn take(
    listener: Listening,
    door: Arc<Door>,
    crew: Arc<Crew>,
    seat: usize,
    connections: TaskTracker,
) {
    loop {
        let (socket, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                wait_out(&error).await;
                continue;
            }
        };
        let Ok(seen) = crew.let_in(address, &door) else { continue };
        crew.room(&listener).await;
        let best = crew.seat_for(seat);
        let place = crew.occupy(best, seen);
        match crew.seats.get(best) {
            Some(other) if best != seat => {
                let Ok(socket) = socket.unregister() else { continue };
                // A thread that has ended meanwhile drops it: the gateway is stopping.
                drop(other.handed.send(Arrival { socket, address, door: door.clone(), place }));
            }
            _ => begin(socket, address, (door.clone(), place), &connections),
        }
        // Another thread may wait for the next one.
        tokio::task::yield_now().await;
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
