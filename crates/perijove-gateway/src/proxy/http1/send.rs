//! Sending a request: its head at once, its body as it comes.

use std::{
    io::{self, IoSlice, Write},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};

use crate::{
    BodyError, Upstream, buffers,
    proxy::{Errand, Upload, conduit::Conduit, headers::push_forwarded},
};

/// A request that is being sent.
#[derive(Debug)]
pub(super) struct Sending {
    /// The head, or the size line of a chunk.
    before: Vec<u8>,
    /// How much of it was taken.
    sent: usize,
    piece: Bytes,
    /// What follows the piece.
    after: &'static [u8],
    framing: BodyFraming,
    /// Whether the body waits for the upstream to ask for it.
    is_held: bool,
    /// Whether the last piece was taken.
    is_last: bool,
    written: u64,
}

#[derive(Clone, Copy, Debug)]
enum BodyFraming {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
}

/// Why sending ended early.
#[derive(Debug)]
pub(super) enum SendError {
    /// The client's body failed.
    Body(BodyError),
    /// The upstream takes no more.
    Io(io::Error),
}

impl Sending {
    pub(super) fn new(errand: &Errand<'_>, upstream: &Upstream) -> Self {
        let upload = &errand.upload;
        let is_held = errand.head.expects_continue() && upload.is_stream();
        let mut head = request_head(errand, upstream);
        if let Some(handshake) = &errand.handshake {
            for part in [b"Connection: Upgrade\r\nUpgrade: ", handshake.protocol(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        let framing = match upload.length() {
            Some(0) => {
                if matches!(errand.head.method(), "POST" | "PUT" | "PATCH") {
                    head.extend_from_slice(b"Content-Length: 0\r\n");
                }
                BodyFraming::Length(0)
            }
            Some(length) => {
                // Writing to a `Vec` cannot fail.
                drop(write!(head, "Content-Length: {length}\r\n"));
                BodyFraming::Length(length)
            }
            None => {
                head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                BodyFraming::Chunked
            }
        };
        if is_held {
            head.extend_from_slice(b"Expect: 100-continue\r\n");
        }
        head.extend_from_slice(b"\r\n");
        Self {
            before: head,
            sent: 0,
            piece: Bytes::new(),
            after: b"",
            framing,
            is_held,
            is_last: matches!(framing, BodyFraming::Length(0)),
            written: 0,
        }
    }

    /// Whether the body waits for `100 Continue`.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Lets the body go.
    pub(super) fn release(&mut self) {
        self.is_held = false;
    }

    /// Bytes that the operating system took.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Whether all was sent.
    pub(super) fn is_over(&self) -> bool {
        self.is_last && self.is_flushed()
    }

    /// Sends until all is sent; pending while the client or the upstream is waited for.
    pub(super) fn poll(
        &mut self,
        socket: &Conduit,
        upload: &mut Upload,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        loop {
            // The first piece leaves together with the head, if it is there.
            let is_waiting = !self.is_last
                && self.piece.is_empty()
                && self.after.is_empty()
                && self.take(upload, context).map_err(SendError::Body)?.is_pending();
            while !self.is_flushed() {
                ready!(self.poll_write(socket, context)).map_err(SendError::Io)?;
            }
            ready!(socket.poll_flush(context)).map_err(SendError::Io)?;
            if is_waiting {
                return Poll::Pending;
            }
            if self.is_last {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Takes the next piece of the body.
    fn take(
        &mut self,
        upload: &mut Upload,
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, BodyError> {
        if self.is_held {
            return Ok(Poll::Pending);
        }
        let piece = match upload.poll(context) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(piece) => piece.transpose()?,
        };
        match (&mut self.framing, piece) {
            (BodyFraming::Length(0), None) => self.is_last = true,
            (BodyFraming::Length(_), None) => return Err(BodyError::CutOff),
            (BodyFraming::Length(left), Some(piece)) => {
                *left = left.checked_sub(piece.len() as u64).ok_or(BodyError::CutOff)?;
                self.is_last = *left == 0;
                self.piece = piece;
            }
            (BodyFraming::Chunked, None) => {
                self.after = b"0\r\n\r\n";
                self.is_last = true;
            }
            (BodyFraming::Chunked, Some(piece)) => {
                // Writing to a `Vec` cannot fail.
                drop(write!(self.before, "{:x}\r\n", piece.len()));
                self.piece = piece;
                self.after = b"\r\n";
            }
        }
        Ok(Poll::Ready(()))
    }

    fn is_flushed(&self) -> bool {
        self.before.is_empty() && self.piece.is_empty() && self.after.is_empty()
    }

    /// What of the head or the size line is still to be sent.
    fn rest(&self) -> &[u8] {
        self.before.get(self.sent..).unwrap_or_default()
    }

    fn poll_write(&mut self, socket: &Conduit, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut count = if self.piece.is_empty() && self.after.is_empty() {
            ready!(socket.poll_write_some(context, self.rest()))?
        } else {
            let parts = [self.rest(), &*self.piece, self.after].map(IoSlice::new);
            ready!(socket.poll_write_parts(context, &parts))?
        };
        self.written += count as u64;
        let of_before = count.min(self.before.len() - self.sent);
        self.sent += of_before;
        count -= of_before;
        if self.sent == self.before.len() {
            self.before.clear();
            self.sent = 0;
        }
        let of_piece = count.min(self.piece.len());
        self.piece.advance(of_piece);
        self.after = self.after.get(count - of_piece..).unwrap_or_default();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        buffers::written(std::mem::take(&mut self.before));
    }
}

/// The request line and the fields that go on, without framing and without the empty line.
fn request_head(errand: &Errand<'_>, upstream: &Upstream) -> Vec<u8> {
    let mut head = buffers::writer();
    head.extend_from_slice(errand.head.method().as_bytes());
    head.push(b' ');
    head.extend_from_slice(errand.head.target());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    let takes_trailers = errand.onward().each(errand.host_at(upstream), |name, value| {
        head.extend_from_slice(name);
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    });
    push_forwarded(&errand.client, &mut head);
    if takes_trailers && errand.handshake.is_none() && errand.may_have_trailers() {
        head.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
    }
    head
}
