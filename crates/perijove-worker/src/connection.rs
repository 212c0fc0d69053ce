//! One connection of the gateway: its socket, its claims, what waits to be sent.

mod incoming;
mod outgoing;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

pub(crate) use incoming::{Incoming, receive_greeting};
pub(crate) use outgoing::{Outgoing, Sent};

use crate::{claims::Claims, forked::Kept, frames::Kind, lock, shelf::Shelf};

/// A connection that has said `HELLO`. Read by the leading thread, written to by all.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Kept,
    claims: Claims,
    shelf: Option<Arc<Shelf>>,
    /// What is to be sent; held only while bytes are copied or handed to the system.
    outgoing: Mutex<Outgoing>,
    /// Something waits to be sent that nobody has tried to send.
    is_dirty: AtomicBool,
    /// The last attempt to send ended because the gateway does not read.
    is_blocked: AtomicBool,
    is_gone: AtomicBool,
}

impl Connection {
    pub(crate) fn new(socket: Kept, claims: Claims, shelf: Option<Shelf>) -> Self {
        Self {
            socket,
            claims,
            shelf: shelf.map(Arc::new),
            outgoing: Mutex::default(),
            is_dirty: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
        }
    }

    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Where long pieces of bodies change hands, if the gateway brought one.
    pub(crate) fn shelf(&self) -> Option<&Arc<Shelf>> {
        self.shelf.as_ref()
    }

    /// Puts frames in line; they are sent by the next [`Connection::flush`].
    pub(crate) fn put<T>(&self, write: impl FnOnce(&mut Outgoing) -> T) -> T {
        let mut outgoing = lock(&self.outgoing);
        let result = write(&mut outgoing);
        self.is_dirty.store(true, Ordering::Release);
        result
    }

    /// Ends a request that cannot be answered.
    pub(crate) fn reset(&self, id: u16, reason: &str) {
        self.put(|outgoing| outgoing.frame(Kind::Reset, true, id, reason.as_bytes()));
    }

    /// Sends what is pending, then these, without copying what the system takes at once. True as
    /// for [`Connection::flush`].
    pub(crate) fn send(&self, head: &[u8], body: &[u8]) -> bool {
        let mut outgoing = lock(&self.outgoing);
        let sent = outgoing.send_through(&self.socket, head, body);
        self.note(sent)
    }

    /// Hands what is pending to the system, as far as it takes it. True when the gateway does not
    /// read and somebody must watch for room.
    pub(crate) fn flush(&self) -> bool {
        if !self.is_dirty.swap(false, Ordering::AcqRel) {
            return false;
        }
        self.push()
    }

    /// As [`Connection::flush`], also when nothing new was put in line.
    pub(crate) fn push(&self) -> bool {
        let mut outgoing = lock(&self.outgoing);
        let sent = outgoing.send(&self.socket);
        self.note(sent)
    }

    fn note(&self, sent: io::Result<Sent>) -> bool {
        match sent {
            Ok(Sent::All) => {
                self.is_blocked.store(false, Ordering::Release);
                false
            }
            Ok(Sent::Blocked) => !self.is_blocked.swap(true, Ordering::AcqRel),
            Err(_) => {
                self.is_gone.store(true, Ordering::Release);
                true
            }
        }
    }

    /// Bytes that wait to be sent.
    pub(crate) fn backlog(&self) -> usize {
        lock(&self.outgoing).len()
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Acquire)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    /// Gives the connection up: nothing more is read or sent.
    pub(crate) fn abandon(&self) {
        self.is_gone.store(true, Ordering::Release);
        self.is_blocked.store(false, Ordering::Release);
        lock(&self.outgoing).clear();
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;
