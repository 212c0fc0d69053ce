//! What is to be sent on a connection, in order, with the descriptors that travel along.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    cmsg_space,
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};

use crate::frames::{self, HEADER, Kind};

/// A buffer that grew beyond this is given back when it is empty.
const KEPT: usize = 1 << 20;

/// How far sending came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    All,
    /// The gateway must read before more can be sent.
    Blocked,
}

/// The sending end of a connection.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    /// How many of `bytes` have been sent.
    sent: usize,
    /// Position in the whole stream of the first of `bytes`.
    base: u64,
    /// Descriptors, and the position of the byte that each travels with.
    descriptors: VecDeque<(u64, OwnedFd)>,
}

impl Outgoing {
    /// Bytes that are not sent yet.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// The position in the stream of the next byte that is put in line.
    pub(crate) fn position(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// The bytes in line, to write frames to.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Puts a whole frame in line.
    pub(crate) fn frame(&mut self, kind: Kind, is_last: bool, id: u16, payload: &[u8]) {
        frames::write(&mut self.bytes, kind, is_last, id, payload);
    }

    /// Puts a `FILE` in line with its descriptor.
    pub(crate) fn file(&mut self, is_last: bool, id: u16, file: OwnedFd, offset: u64, length: u64) {
        self.descriptors.push_back((self.position(), file));
        self.frame(Kind::File, is_last, id, &frames::file(offset, length));
    }

    /// Marks the frame at a position as the last of its request; false when it was sent already.
    pub(crate) fn mark_last(&mut self, position: u64) -> bool {
        let Some(at) = self.unsent(position) else { return false };
        let Some(header) = self.bytes.get_mut(at..at + HEADER) else { return false };
        frames::mark_last(header);
        true
    }

    /// Adds to the frame at a position, when that is the last in line and not sent; else false.
    pub(crate) fn extend(&mut self, position: u64, more: &[u8], is_last: bool) -> bool {
        let Some(at) = self.unsent(position) else { return false };
        let Some(frame) = self.bytes.get_mut(at..) else { return false };
        if !frames::extend(frame, more.len(), is_last) {
            return false;
        }
        self.bytes.extend_from_slice(more);
        true
    }

    /// Where in the buffer a position is, unless it was sent.
    fn unsent(&self, position: u64) -> Option<usize> {
        let at = usize::try_from(position.checked_sub(self.base)?).ok()?;
        (at >= self.sent).then_some(at)
    }

    pub(crate) fn clear(&mut self) {
        self.base = self.position();
        self.bytes.clear();
        self.sent = 0;
        self.descriptors.clear();
    }

    /// Sends what is in line, as far as the system takes it.
    pub(crate) fn send(&mut self, socket: impl AsFd) -> io::Result<Sent> {
        let socket = socket.as_fd();
        while self.sent < self.bytes.len() {
            let until = self.next_descriptor().unwrap_or(self.bytes.len());
            let sent = if until == self.sent {
                self.send_with_descriptor(socket)
            } else {
                rustix::io::write(socket, self.bytes.get(self.sent..until).unwrap_or_default())
            };
            match sent {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Sent::Blocked),
                Err(error) => return Err(error.into()),
            }
        }
        self.forget_sent();
        Ok(Sent::All)
    }

    /// Sends what is in line, then `head` and `body`; only what the system does not take at once
    /// is copied.
    pub(crate) fn send_through(
        &mut self,
        socket: impl AsFd,
        head: &[u8],
        body: &[u8],
    ) -> io::Result<Sent> {
        let socket = socket.as_fd();
        let mut taken = 0;
        if self.descriptors.is_empty() {
            let pending = self.bytes.get(self.sent..).unwrap_or_default();
            let waiting = pending.len();
            let parts = [IoSlice::new(pending), IoSlice::new(head), IoSlice::new(body)];
            match rustix::io::writev(socket, &parts) {
                Ok(count) => {
                    self.sent += count.min(waiting);
                    taken = count.saturating_sub(waiting);
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.sent == self.bytes.len() {
            self.forget_sent();
            // What was sent past the buffer counts in the stream all the same.
            self.base += taken as u64;
        }
        let of_head = taken.min(head.len());
        self.bytes.extend_from_slice(head.get(of_head..).unwrap_or_default());
        self.bytes.extend_from_slice(body.get(taken - of_head..).unwrap_or_default());
        self.send(socket)
    }

    fn forget_sent(&mut self) {
        self.base += self.bytes.len() as u64;
        self.bytes.clear();
        self.sent = 0;
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
    }

    /// Where in the buffer the next descriptor travels.
    fn next_descriptor(&self) -> Option<usize> {
        self.descriptors.front().and_then(|(position, _)| self.unsent(*position))
    }

    fn send_with_descriptor(&mut self, socket: impl AsFd) -> rustix::io::Result<usize> {
        let Some((_, file)) = self.descriptors.front() else { return Ok(0) };
        // One header only: the next frame may need a descriptor of its own.
        let end = self.bytes.len().min(self.sent + HEADER);
        let parts = [IoSlice::new(self.bytes.get(self.sent..end).unwrap_or_default())];
        let descriptors = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let count = sendmsg(socket, &parts, &mut control, SendFlags::empty())?;
        self.descriptors.pop_front();
        Ok(count)
    }
}
