//! What the threads of a worker share: the turn, the connections, the clock. Knows no Python.
//!
//! A thread that works on requests holds the interpreter lock and none of the locks here for longer
//! than a few instructions; whoever waits (for bytes, for credit, for its turn) has let go of the
//! interpreter lock first.

mod door;
mod link;
mod reading;

use std::{
    cell::Cell,
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

pub(crate) use door::Door;
use link::Link;
pub(crate) use link::Secret;
use reading::Reading;

use crate::{
    connection::Connection,
    exchange::Exchange,
    frames::Request,
    lock,
    platform::{self, Timer},
    turn::{Seat, Step, Turn, Wait},
};

/// A request inside the application for longer than this holds nobody else up.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// How long a thread inside a request waits for the client to take or send something. The gateway's
/// own limits are shorter; this one is for a gateway that forgot.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// Sleeping threads look again this often, whatever happens.
const REST: Duration = Duration::from_secs(30);
/// From here on are the seats of threads that the application made. They wait and read like the
/// others, but nobody can wake them to take over, hence they look more often whether nobody reads.
const OUTSIDERS: Seat = Seat::MAX / 2;
const OUTSIDERS_REST: Duration = Duration::from_millis(50);

thread_local! {
    /// The seat of a thread that serves requests.
    static SEAT: Cell<Option<Seat>> = const { Cell::new(None) };
}

/// The seat of the calling thread. One that the application made gets one of its own: two with the
/// same seat would both take themselves for the leader.
fn own_seat() -> Seat {
    static NEXT: AtomicUsize = AtomicUsize::new(OUTSIDERS);
    SEAT.get().unwrap_or_else(|| {
        let seat = NEXT.fetch_add(1, Ordering::Relaxed);
        SEAT.set(Some(seat));
        seat
    })
}

/// A request that waits for the application.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) request: Request,
}

/// Why a wait amid a request ended without what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmet {
    Cancelled,
    Late,
}

/// What the threads of a worker share.
#[derive(Debug)]
pub(crate) struct Server {
    /// Held by the leading thread while it reads, never while it is inside the application.
    reading: Mutex<Reading>,
    /// Whose turn it is. Held for moments, and never while waiting for the interpreter lock.
    turn: Mutex<Turn<Pending>>,
    /// For flushing; edited by the leading thread.
    connections: Mutex<Vec<Arc<Connection>>>,
    seats: Vec<OnceLock<Thread>>,
    timer: Timer,
    /// Those who were greeted and are not read yet.
    newcomers: Mutex<Vec<Link>>,
    /// Interrupts the leading thread's wait for bytes.
    wake: OwnedFd,
    /// Tells the door that the worker drains.
    close_door: OwnedFd,
    is_draining: AtomicBool,
}

impl Server {
    /// Serves the connections of a listening socket with so many threads. The door is for a thread
    /// of its own.
    pub(crate) fn new(listener: OwnedFd, secret: Secret, threads: u16) -> io::Result<(Self, Door)> {
        let (woken, wake) = platform::pipe()?;
        let (closing, close_door) = platform::pipe()?;
        let server = Self {
            reading: Mutex::new(Reading::new(woken)),
            turn: Mutex::new(Turn::new()),
            connections: Mutex::default(),
            seats: (0..threads).map(|_| OnceLock::new()).collect(),
            timer: Timer::new()?,
            newcomers: Mutex::default(),
            wake,
            close_door,
            is_draining: AtomicBool::new(false),
        };
        Ok((server, Door::new(listener, closing, secret, threads)?))
    }

    /// Names the calling thread as the one of that seat; false when there is no such seat, or
    /// somebody has it.
    pub(crate) fn sit(&self, seat: Seat) -> bool {
        let is_free =
            self.seats.get(seat).is_some_and(|place| place.set(thread::current()).is_ok());
        if is_free {
            SEAT.set(Some(seat));
        }
        is_free
    }

    /// What the thread of this seat does next.
    pub(crate) fn step(&self, seat: Seat, was_inside: bool) -> Step<Pending> {
        let step = lock(&self.turn).step(seat, was_inside);
        match &step {
            Step::Enter { arm: true, .. } => self.timer.arm(TICK),
            Step::End => self.wake_all(),
            _ => {}
        }
        step
    }

    /// Sends what is pending, then waits for bytes and reads them, as the leading thread.
    pub(crate) fn read(&self, within: Duration) {
        self.flush();
        let mut reading = lock(&self.reading);
        let arrived = reading.turn(self, within);
        if !arrived.is_empty() {
            lock(&self.turn).push(arrived);
        }
    }

    /// Sleeps until somebody has something to do for this seat.
    pub(crate) fn park(&self) {
        self.flush();
        thread::park_timeout(REST);
    }

    /// Sends what is pending on all connections, as far as the gateway takes it.
    pub(crate) fn flush(&self) {
        let mut needs_watching = false;
        for connection in lock(&self.connections).iter() {
            needs_watching |= connection.flush();
        }
        if needs_watching {
            self.interrupt();
        }
    }

    /// Runs the clock. For a thread of its own, which never touches the interpreter.
    pub(crate) fn watch(&self) {
        while self.timer.wait().is_ok() {
            let tick = lock(&self.turn).tick();
            if let Some(seat) = tick.wake {
                self.wake_seat(seat);
            }
            if tick.again {
                self.timer.arm(TICK);
            }
            self.flush();
        }
    }

    /// Waits, amid a request, until `ready` gives something. The connections are read meanwhile, by
    /// this thread or another.
    pub(crate) fn wait<T>(
        &self,
        exchange: &Exchange,
        ready: impl Fn() -> Option<T>,
    ) -> Result<T, Unmet> {
        self.flush();
        let seat = own_seat();
        let until = Instant::now() + PATIENCE;
        exchange.add_waiter(thread::current());
        let result = loop {
            if let Some(found) = ready() {
                break Ok(found);
            }
            if exchange.is_cancelled() || exchange.is_finished() {
                break Err(Unmet::Cancelled);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Err(Unmet::Late);
            }
            self.wait_once(seat, left);
        };
        exchange.remove_waiter(thread::current().id());
        if lock(&self.turn).end_wait(seat) {
            self.timer.arm(TICK);
        }
        result
    }

    fn wait_once(&self, seat: Seat, left: Duration) {
        let wait = lock(&self.turn).wait(seat);
        match wait {
            Wait::Read => self.read(left.min(REST)),
            Wait::Park { wake } => {
                if let Some(successor) = wake {
                    self.wake_seat(successor);
                }
                let rest = if seat >= OUTSIDERS { OUTSIDERS_REST } else { REST };
                thread::park_timeout(left.min(rest));
            }
        }
    }

    /// True while the calling thread leads: what it puts in line is then sent within two ticks.
    pub(crate) fn is_leading(&self) -> bool {
        SEAT.get().is_some_and(|seat| lock(&self.turn).is_leader(seat))
    }

    /// Takes no new connections, finishes what has come, then lets all threads end.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        lock(&self.turn).close();
        notify(&self.close_door);
        self.wake_all();
    }

    /// Takes in a connection that was greeted.
    fn let_in(&self, link: Link) {
        lock(&self.newcomers).push(link);
        self.interrupt();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Sends what is left when all threads have ended, for as long as that.
    pub(crate) fn send_rest(&self, within: Duration) {
        let until = Instant::now() + within;
        let connections = lock(&self.connections).clone();
        for connection in connections {
            connection.push();
            while connection.is_blocked() && !connection.is_gone() && Instant::now() < until {
                thread::sleep(TICK);
                connection.push();
            }
        }
    }

    fn wake_all(&self) {
        let idle = lock(&self.turn).idle().to_vec();
        for seat in idle {
            self.wake_seat(seat);
        }
        self.interrupt();
    }

    /// Wakes threads that wait for room in a connection.
    fn wake_waiting(&self) {
        let waiting = lock(&self.turn).waiting().to_vec();
        for seat in waiting {
            self.wake_seat(seat);
        }
    }

    fn wake_seat(&self, seat: Seat) {
        if let Some(thread) = self.seats.get(seat).and_then(OnceLock::get) {
            thread.unpark();
        }
    }

    /// Interrupts the leading thread's wait for bytes, so that it sees what else it is to wait for.
    pub(crate) fn interrupt(&self) {
        notify(&self.wake);
    }
}

/// Makes the other end of a pipe readable.
fn notify(pipe: &OwnedFd) {
    // A full pipe is readable already.
    let written = rustix::io::write(pipe, &[1]);
    debug_assert!(
        written.is_ok() || written == Err(rustix::io::Errno::AGAIN),
        "a thread could not be woken"
    );
}
