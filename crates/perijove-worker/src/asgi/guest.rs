//! A connection that has yet to say who it is: it greets with `HELLO`, or opens a websocket.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Mutex},
};

use pyo3::{intern, prelude::*};

use super::{link::Link, shared::Shared, websocket::Websocket};
use crate::{
    claims::Claims,
    connection::{Connection, Incoming, receive_greeting},
    forked,
    frames::{self, Kind, Request},
    lock,
    shelf::Shelf,
};

/// Seconds that a connection may take to say who it is.
const GREETING_TIME: f64 = 5.0;

/// A connection that has yet to say who it is.
#[pyclass(frozen, module = "perijove._worker")]
#[derive(Debug)]
pub(super) struct Guest {
    shared: Arc<Shared>,
    arrival: Mutex<Option<Arrival>>,
}

#[derive(Debug)]
struct Arrival {
    socket: OwnedFd,
    incoming: Incoming,
    claims: Option<OwnedFd>,
}

/// Who a connection turned out to be.
enum Caller {
    Gateway(Claims, Option<Shelf>),
    Websocket(Request),
}

impl Guest {
    /// Watches a new connection until it has said who it is.
    pub(super) fn receive(py: Python<'_>, shared: &Arc<Shared>, socket: OwnedFd) -> PyResult<()> {
        let descriptor = socket.as_raw_fd();
        let arrival = Arrival { socket, incoming: Incoming::new(), claims: None };
        let guest = Self { shared: shared.clone(), arrival: Mutex::new(Some(arrival)) };
        let guest = Bound::new(py, guest)?;
        // Mostly the greeting is here already.
        Self::readable(&guest)?;
        if lock(&guest.get().arrival).is_some() {
            shared.host.watch(py, descriptor, guest.getattr(intern!(py, "readable"))?)?;
            shared.host.later(py, GREETING_TIME, guest.getattr(intern!(py, "dismiss"))?)?;
        }
        Ok(())
    }

    /// Takes the connection out of the loop's hands; `None` when that was done.
    fn leave(&self, py: Python<'_>) -> PyResult<Option<Arrival>> {
        let arrival = lock(&self.arrival).take();
        if let Some(arrival) = &arrival {
            self.shared.host.unwatch(py, arrival.socket.as_raw_fd())?;
        }
        Ok(arrival)
    }
}

#[pymethods]
impl Guest {
    fn readable(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let heard = match &mut *lock(&this.arrival) {
            Some(arrival) => arrival.hear(&this.shared),
            None => return Ok(()),
        };
        let caller = match heard {
            Ok(None) => return Ok(()),
            Ok(Some(caller)) => caller,
            Err(reason) => {
                complain(reason);
                return this.leave(py).map(drop);
            }
        };
        let Some(Arrival { socket, incoming, .. }) = this.leave(py)? else { return Ok(()) };
        match caller {
            Caller::Gateway(claims, shelf) => {
                let connection = Connection::new(forked::Kept::new(socket), claims, shelf);
                Link::open(py, &this.shared, connection, incoming)
            }
            Caller::Websocket(request) => Websocket::open(py, &this.shared, socket, &request),
        }
    }

    /// It has taken too long.
    fn dismiss(&self, py: Python<'_>) -> PyResult<()> {
        self.leave(py).map(drop)
    }
}

impl Arrival {
    /// Reads what has come.
    fn hear(&mut self, shared: &Shared) -> Result<Option<Caller>, &'static str> {
        let mut bytes = [0; 16384];
        let (count, descriptor) = match receive_greeting(&self.socket, &mut bytes) {
            Ok((0, _)) => return Err("it ended without a greeting"),
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(_) => return Err("it could not be read"),
        };
        self.incoming.push(bytes.get(..count).unwrap_or_default());
        self.claims = self.claims.take().or(descriptor);
        let frame = self.incoming.next().map_err(|_| "it does not speak frames")?;
        let Some((header, payload)) = frame else { return Ok(None) };
        let given = match header.kind {
            Kind::Hello => {
                frames::read_hello(&payload).map(|(version, secret)| (version, secret, None))
            }
            Kind::Open => frames::read_open(&payload)
                .map(|(version, secret, request)| (version, secret, Some(request))),
            _ => return Err("it did not greet"),
        };
        let (version, secret, request) = given.map_err(|_| "it did not greet")?;
        if version != frames::VERSION {
            return Err("it speaks another version of the frames");
        }
        if !shared.secret.is(secret) {
            return Err("its secret is wrong");
        }
        if let Some(request) = request {
            let request =
                Request::read(request.to_vec()).map_err(|_| "its request is malformed")?;
            return Ok(Some(Caller::Websocket(request)));
        }
        let file = self.claims.take().ok_or("it brought no claims")?;
        let claims = Claims::map(&file).map_err(|_| "its claims could not be mapped")?;
        let shelf = Shelf::map(&file).map_err(|_| "its shelf could not be mapped")?;
        Ok(Some(Caller::Gateway(claims, shelf)))
    }
}

#[expect(clippy::print_stderr, reason = "a worker's log is its standard error")]
fn complain(reason: &str) {
    eprintln!("perijove: a connection to the worker was refused: {reason}");
}
