//! A connection of the gateway that carries requests: read when the loop says so, written once for
//! each turn of it.

use std::{
    borrow::Cow,
    os::fd::{AsFd, AsRawFd},
    sync::{
        Arc, Mutex, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use pyo3::{intern, prelude::*};

use super::{
    awaited::{Future, join, wake_all},
    exchange::Exchange,
    shared::Shared,
};
use crate::{
    connection::{Connection, Incoming},
    exchange::Piece,
    frames::{self, BodyLength, FrameError, Header, Kind, Request},
    lock,
    shelf::Tray,
};

/// Reads of one connection before the others have their turn.
const READS: usize = 16;
/// Answers wait no longer than this for those of the requests that came with theirs.
const TICK: Duration = Duration::from_millis(1);

/// The gateway does not read while so many bytes wait for it: then applications wait, too.
const BACKLOG: usize = 1 << 20;

/// A connection that has greeted.
#[pyclass(frozen, module = "perijove._worker")]
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    connection: Connection,
    /// Held while what has come is taken apart, never while an application runs.
    reading: Mutex<Reading>,
    /// What is put in line will be sent without anybody asking for it.
    will_flush: AtomicBool,
    is_watching_room: AtomicBool,
    /// Those who wait until the gateway has read. Not with their requests: an answer may be complete,
    /// and its id another's, before its last piece has left.
    waiting: Mutex<Vec<Future>>,
}

#[derive(Debug)]
struct Reading {
    incoming: Incoming,
    exchanges: Vec<Option<Py<Exchange>>>,
}

/// What a look at the connection brought.
#[derive(Default)]
struct Arrived {
    requests: Vec<(Py<Exchange>, Request)>,
    woken: Vec<Future>,
    needs_watching: bool,
}

impl Link {
    /// Answers the greeting, and watches the connection from now on.
    pub(super) fn open(
        py: Python<'_>,
        shared: &Arc<Shared>,
        connection: Connection,
        incoming: Incoming,
    ) -> PyResult<()> {
        let ready = frames::ready(shared.limits.capacity, frames::IS_ASGI | frames::TAKES_TRAYS);
        connection.put(|outgoing| outgoing.frame(Kind::Ready, false, 0, &ready));
        let link = Self {
            shared: shared.clone(),
            connection,
            reading: Mutex::new(Reading { incoming, exchanges: Vec::new() }),
            will_flush: AtomicBool::new(false),
            is_watching_room: AtomicBool::new(false),
            waiting: Mutex::default(),
        };
        let link = Bound::new(py, link)?;
        shared.add_link(link.clone().unbind());
        let readable = link.getattr(intern!(py, "readable"))?;
        shared.host.watch(py, link.get().connection.as_fd().as_raw_fd(), readable)?;
        Self::readable(&link)
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// True while so much waits to be sent that applications are to wait, too.
    pub(super) fn is_congested(&self) -> bool {
        self.connection.backlog() > BACKLOG
    }

    /// Has somebody woken when the gateway has read.
    pub(super) fn add_waiting(&self, py: Python<'_>, waiter: Future) {
        let mut waiting = std::mem::take(&mut *lock(&self.waiting));
        join(py, &mut waiting, waiter);
        lock(&self.waiting).append(&mut waiting);
    }

    /// Sees to it that what was put in line is sent in this turn of the loop, or in the next.
    pub(super) fn flush_soon(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.will_flush.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let flush = slf.getattr(intern!(slf.py(), "flush"))?;
        this.shared.host.soon(slf.py(), flush)
    }

    /// True when nothing waits to be sent, after another attempt.
    pub(super) fn is_flushed(&self) -> bool {
        self.connection.push();
        self.connection.is_gone() || self.connection.backlog() == 0
    }

    /// Has the loop tell when the gateway reads again; ends the link when it is gone.
    pub(super) fn watch_room(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.connection.is_gone() {
            return Self::end(slf);
        }
        if this.is_watching_room.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let writable = slf.getattr(intern!(slf.py(), "writable"))?;
        let descriptor = this.connection.as_fd().as_raw_fd();
        this.shared.host.watch_room(slf.py(), descriptor, writable)
    }

    /// Reads and takes apart what has come; `None` when that is being done already, which happens
    /// where an application runs the loop from inside itself.
    fn read(slf: &Bound<'_, Self>) -> Option<Arrived> {
        let this = slf.get();
        let mut reading = match this.reading.try_lock() {
            Ok(reading) => reading,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let mut arrived = Arrived::default();
        for _ in 0..READS {
            let more = reading.incoming.read(&this.connection);
            if reading.take_frames(slf, &mut arrived).is_err() {
                this.connection.abandon();
                break;
            }
            match more {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    this.connection.abandon();
                    break;
                }
            }
        }
        Some(arrived)
    }

    /// Tells everybody inside a request of a connection that ended.
    fn end(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        this.connection.abandon();
        let descriptor = this.connection.as_fd().as_raw_fd();
        this.shared.host.unwatch(py, descriptor)?;
        if this.is_watching_room.swap(false, Ordering::Relaxed) {
            this.shared.host.unwatch_room(py, descriptor)?;
        }
        this.shared.forget_link(slf);
        wake_all(py, std::mem::take(&mut lock(&this.waiting)));
        let exchanges = std::mem::take(&mut lock(&this.reading).exchanges);
        for exchange in exchanges.into_iter().flatten() {
            wake_all(py, exchange.get().cancel());
        }
        Ok(())
    }
}

#[pymethods]
impl Link {
    /// Takes what has come and enters the application for each request.
    fn readable(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let Some(arrived) = Self::read(slf) else { return Ok(()) };
        wake_all(py, arrived.woken);
        if arrived.needs_watching {
            Self::watch_room(slf)?;
        }
        // Answers that are there by then are sent below.
        let is_ours = !this.will_flush.swap(true, Ordering::Relaxed);
        let mut since = Instant::now();
        for (exchange, request) in arrived.requests {
            Exchange::begin(exchange.bind(py), &request);
            if since.elapsed() >= TICK {
                Self::send_pending(slf)?;
                since = Instant::now();
            }
        }
        if is_ours {
            Self::flush(slf)?;
        }
        if this.connection.is_gone() {
            Self::end(slf)?;
        }
        Ok(())
    }

    /// Sends what is in line.
    fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().will_flush.store(false, Ordering::Relaxed);
        Self::send_pending(slf)
    }

    /// Sends on after the gateway has read.
    fn writable(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        this.connection.push();
        if this.connection.is_gone() {
            return Self::end(slf);
        }
        if this.connection.backlog() < BACKLOG / 2 {
            wake_all(py, std::mem::take(&mut lock(&this.waiting)));
        }
        if this.connection.is_blocked() {
            return Ok(());
        }
        this.is_watching_room.store(false, Ordering::Relaxed);
        this.shared.host.unwatch_room(py, this.connection.as_fd().as_raw_fd())
    }
}

impl Link {
    fn send_pending(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().connection.flush() { Self::watch_room(slf) } else { Ok(()) }
    }
}

impl Reading {
    fn take_frames(
        &mut self,
        link: &Bound<'_, Link>,
        arrived: &mut Arrived,
    ) -> Result<(), FrameError> {
        while let Some((header, payload)) = self.incoming.next()? {
            let slot = usize::from(header.id);
            if header.kind == Kind::Request {
                let request = Request::read(payload.into_owned())?;
                check_carried(&request)?;
                let shared = &link.get().shared;
                let exchange = Exchange::new(
                    shared,
                    link.clone().unbind(),
                    header.id,
                    &request,
                    header.is_last,
                );
                let exchange = Py::new(link.py(), exchange)
                    .map_err(|_| FrameError::Malformed("no memory for a request"))?;
                if self.exchanges.len() <= slot {
                    self.exchanges.resize_with(slot + 1, || None);
                }
                if let Some(place) = self.exchanges.get_mut(slot) {
                    *place = Some(exchange.clone_ref(link.py()));
                }
                arrived.requests.push((exchange, request));
            } else if header.kind == Kind::TrayIn {
                // Taken up even if nobody wants it, so that the tray is free again.
                let piece = Piece::on(take_up(&link.get().connection, &payload)?);
                if let Some(Some(exchange)) = self.exchanges.get(slot) {
                    arrived.woken.extend(exchange.get().push(piece, header.is_last));
                }
            } else if let Some(Some(exchange)) = self.exchanges.get(slot) {
                go_on(exchange.get(), header, payload, arrived)?;
            }
        }
        Ok(())
    }
}

fn take_up(connection: &Connection, payload: &[u8]) -> Result<Tray, FrameError> {
    let (number, length) = frames::read_tray(payload)?;
    let tray = connection.shelf().and_then(|shelf| shelf.take_up(number, length));
    tray.ok_or(FrameError::Malformed("a tray with nothing on it"))
}

fn check_carried(request: &Request) -> Result<(), FrameError> {
    let carried = request.body_start().len() as u64;
    let is_too_much = match request.body {
        BodyLength::None => carried > 0,
        BodyLength::Known(length) => carried > length,
        BodyLength::Unknown => false,
    };
    if is_too_much {
        return Err(FrameError::Malformed("more body than was announced"));
    }
    Ok(())
}

/// Takes a frame of a request that is known.
fn go_on(
    exchange: &Exchange,
    header: Header,
    payload: Cow<'_, [u8]>,
    arrived: &mut Arrived,
) -> Result<(), FrameError> {
    match header.kind {
        Kind::BodyIn => {
            let piece = Piece::new(payload.into_owned());
            arrived.woken.extend(exchange.push(piece, header.is_last));
        }
        Kind::CreditIn => {
            let (woken, sending) = exchange.grant(frames::read_credit(&payload)?);
            arrived.woken.extend(woken);
            arrived.needs_watching |= sending.needs_watching;
        }
        Kind::Cancel => arrived.woken.extend(exchange.cancel()),
        _ => return Err(FrameError::Malformed("a frame of a kind that the worker sends")),
    }
    Ok(())
}
