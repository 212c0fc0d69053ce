//! One connection as the leading thread sees it: before the greeting, and after.

use std::{borrow::Cow, io, os::fd::OwnedFd, sync::Arc, time::Instant};

use super::Pending;
use crate::{
    claims::Claims,
    connection::{Connection, Incoming, receive_greeting},
    exchange::{Exchange, Piece},
    forked::Kept,
    frames::{self, BodyLength, FrameError, Header, Kind, Request},
    shelf::{Shelf, Tray},
};

/// Reads of one connection before the others have their turn.
const READS: usize = 16;

/// A connection that has yet to say `HELLO`.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) socket: Kept,
    pub(super) since: Instant,
    incoming: Incoming,
    claims: Option<OwnedFd>,
}

impl Guest {
    pub(super) fn new(socket: Kept, since: Instant) -> Self {
        Self { socket, since, incoming: Incoming::new(), claims: None }
    }

    /// Reads what has come. The claims, once the greeting is complete and right.
    pub(super) fn hear(&mut self, secret: &Secret) -> Result<Option<Shared>, &'static str> {
        let mut bytes = [0; 4096];
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
        if header.kind != Kind::Hello {
            return Err("it did not greet");
        }
        let (version, given) = frames::read_hello(&payload).map_err(|_| "it did not greet")?;
        if version != frames::VERSION {
            return Err("it speaks another version of the frames");
        }
        if !secret.is(given) {
            return Err("its secret is wrong");
        }
        let file = self.claims.take().ok_or("it brought no claims")?;
        let claims = Claims::map(&file).map_err(|_| "its claims could not be mapped")?;
        let shelf = Shelf::map(&file).map_err(|_| "its shelf could not be mapped")?;
        Ok(Some(Shared { claims, shelf }))
    }

    /// Answers the greeting.
    pub(super) fn welcome(self, shared: Shared, threads: u16) -> Link {
        let Shared { claims, shelf } = shared;
        let connection = Arc::new(Connection::new(self.socket, claims, shelf));
        let ready = frames::ready(threads, frames::TAKES_TRAYS);
        connection.put(|outgoing| outgoing.frame(Kind::Ready, false, 0, &ready));
        connection.flush();
        Link { connection, incoming: self.incoming, exchanges: Vec::new() }
    }
}

/// What a gateway brings with its greeting.
#[derive(Debug)]
pub(super) struct Shared {
    claims: Claims,
    shelf: Option<Shelf>,
}

/// What a gateway must know to be let in.
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    pub(crate) fn new(secret: &str) -> Self {
        Self(secret.as_bytes().to_vec())
    }

    /// Compares in a time that does not tell where the two differ.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        given.len() == self.0.len()
            && given.iter().zip(&self.0).fold(0, |different, (a, b)| different | (a ^ b)) == 0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A connection that has greeted, and its requests by id.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Arc<Connection>,
    incoming: Incoming,
    exchanges: Vec<Option<Arc<Exchange>>>,
}

impl Link {
    /// Reads what has come and adds the requests to `arrived`.
    pub(super) fn read(&mut self, arrived: &mut Vec<Pending>) {
        for _ in 0..READS {
            let more = self.incoming.read(&self.connection);
            if !matches!(self.take_frames(arrived), Ok(())) {
                return self.connection.abandon();
            }
            match more {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => return self.connection.abandon(),
            }
        }
    }

    fn take_frames(&mut self, arrived: &mut Vec<Pending>) -> Result<(), FrameError> {
        while let Some((header, payload)) = self.incoming.next()? {
            let slot = usize::from(header.id);
            if header.kind == Kind::Request {
                let pending = begin(&self.connection, header, payload)?;
                if self.exchanges.len() <= slot {
                    self.exchanges.resize(slot + 1, None);
                }
                if let Some(place) = self.exchanges.get_mut(slot) {
                    *place = Some(pending.exchange.clone());
                }
                arrived.push(pending);
            } else if header.kind == Kind::TrayIn {
                // Taken up even if nobody wants it, so that the tray is free again.
                let piece = Piece::on(take_up(&self.connection, &payload)?);
                if let Some(Some(exchange)) = self.exchanges.get(slot) {
                    exchange.push(piece, header.is_last);
                }
            } else if let Some(Some(exchange)) = self.exchanges.get(slot) {
                go_on(exchange, header, payload)?;
            }
        }
        Ok(())
    }

    /// Tells everybody inside a request of a connection that ended.
    pub(super) fn end_if_gone(&mut self) {
        if self.connection.is_gone() {
            self.connection.abandon();
            for exchange in self.exchanges.drain(..).flatten() {
                exchange.cancel();
            }
        }
    }
}

fn begin(
    connection: &Arc<Connection>,
    header: Header,
    payload: Cow<'_, [u8]>,
) -> Result<Pending, FrameError> {
    let request = Request::read(payload.into_owned())?;
    let carried = request.body_start().len() as u64;
    let is_too_much = match request.body {
        BodyLength::None => carried > 0,
        BodyLength::Known(length) => carried > length,
        BodyLength::Unknown => false,
    };
    if is_too_much {
        return Err(FrameError::Malformed("more body than was announced"));
    }
    let exchange =
        Exchange::new(header.id, connection.clone(), request.body, carried, header.is_last);
    Ok(Pending { exchange: Arc::new(exchange), request })
}

fn take_up(connection: &Connection, payload: &[u8]) -> Result<Tray, FrameError> {
    let (number, length) = frames::read_tray(payload)?;
    let tray = connection.shelf().and_then(|shelf| shelf.take_up(number, length));
    tray.ok_or(FrameError::Malformed("a tray with nothing on it"))
}

/// Takes a frame of a request that is known.
fn go_on(exchange: &Exchange, header: Header, payload: Cow<'_, [u8]>) -> Result<(), FrameError> {
    match header.kind {
        Kind::BodyIn => exchange.push(Piece::new(payload.into_owned()), header.is_last),
        Kind::CreditIn => exchange.grant(frames::read_credit(&payload)?),
        Kind::Cancel => exchange.cancel(),
        _ => return Err(FrameError::Malformed("a frame of a kind that the worker sends")),
    }
    Ok(())
}
