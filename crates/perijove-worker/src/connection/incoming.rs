//! What comes in on a connection: bytes into frames, long payloads without a second copy.

use std::{
    borrow::Cow,
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    buffer::spare_capacity,
    cmsg_space,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, recvmsg},
};

use crate::{
    frames::{FrameError, HEADER, Header},
    platform,
};

/// A frame with its payload, which is owned when it was too long for the buffer.
pub(crate) type Frame<'a> = (Header, Cow<'a, [u8]>);

const BUFFER: usize = 64 << 10;
/// From this length on, the rest of a payload is read to where it stays.
const LONG: usize = 16 << 10;

/// The receiving end of a connection.
#[derive(Debug)]
pub(crate) struct Incoming {
    buffer: Vec<u8>,
    /// Where in the buffer the next frame begins.
    start: usize,
    /// A long frame of which a part has come.
    long: Option<(Header, Vec<u8>)>,
}

impl Incoming {
    pub(crate) fn new() -> Self {
        Self { buffer: Vec::with_capacity(BUFFER), start: 0, long: None }
    }

    /// Takes bytes that were read elsewhere.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Reads once. False when there was less than there was room for: nothing more has come.
    ///
    /// # Errors
    /// When the connection has ended ([`io::ErrorKind::UnexpectedEof`]), or failed.
    pub(crate) fn read(&mut self, socket: impl AsFd) -> io::Result<bool> {
        let target = match &mut self.long {
            Some((_, payload)) => payload,
            None => &mut self.buffer,
        };
        let room = target.capacity() - target.len();
        match rustix::io::read(socket, spare_capacity(target)) {
            Ok(0) if room > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(count == room),
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// The next complete frame.
    ///
    /// # Errors
    /// When what has come is no frame.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        if let Some(long) = self.finish_long() {
            return Ok(Some(long));
        }
        if self.long.is_some() {
            return Ok(None);
        }
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some(header) = Header::read(rest)? else {
            self.keep_rest();
            return Ok(None);
        };
        let end = HEADER + header.length;
        if rest.len() < end {
            self.keep_part(header);
            return Ok(None);
        }
        let from = self.start + HEADER;
        self.start += end;
        let payload = self.buffer.get(from..self.start).unwrap_or_default();
        Ok(Some((header, Cow::Borrowed(payload))))
    }

    fn finish_long(&mut self) -> Option<Frame<'static>> {
        let (header, mut payload) =
            self.long.take_if(|(header, payload)| payload.len() >= header.length)?;
        // An allocation may be larger than was asked for; what follows belongs to the next frame.
        self.buffer.extend_from_slice(payload.get(header.length..).unwrap_or_default());
        payload.truncate(header.length);
        Some((header, Cow::Owned(payload)))
    }

    /// Keeps the beginning of a frame: a long one where its payload will stay.
    fn keep_part(&mut self, header: Header) {
        if header.length < LONG {
            return self.keep_rest();
        }
        let mut payload = Vec::with_capacity(header.length);
        payload.extend_from_slice(self.buffer.get(self.start + HEADER..).unwrap_or_default());
        self.buffer.clear();
        self.start = 0;
        self.long = Some((header, payload));
    }

    /// Moves the beginning of a short frame to the front, so that the rest has room.
    fn keep_rest(&mut self) {
        let start = std::mem::take(&mut self.start);
        if start >= self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..start);
        }
    }
}

/// Reads the first bytes of a connection, and the descriptor that travels with them.
pub(crate) fn receive_greeting(
    socket: impl AsFd,
    bytes: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(bytes)];
    let received = recvmsg(socket, parts, &mut control, platform::RECEIVED)?;
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptor = descriptors.next().and_then(|mut descriptors| descriptors.next());
    Ok((received.bytes, descriptor))
}
