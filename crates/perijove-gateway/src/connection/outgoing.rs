//! Bytes on their way to the client.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use crate::{FieldBlock, buffers, stream::Stream};

use super::answer::push_chunk_size;

/// Pieces up to this size are copied behind what waits already; larger ones are written from where
/// they are.
const COPIED: usize = 8 << 10;
/// No more is gathered than this.
const ENOUGH: usize = 32 << 10;

/// What is to be written next: small things gathered, one large piece, and what follows it.
#[derive(Debug)]
pub(super) struct Outgoing {
    small: Vec<u8>,
    large: Bytes,
    tail: &'static [u8],
    /// Bytes of all three that were written.
    sent: usize,
    /// Bytes that were written from the beginning on.
    written: u64,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self { small: buffers::writer(), large: Bytes::new(), tail: &[], sent: 0, written: 0 }
    }

    /// Where heads are written.
    pub(super) fn small(&mut self) -> &mut Vec<u8> {
        &mut self.small
    }

    /// Takes a piece as it is; only while there [is room](Self::has_room).
    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.len() <= COPIED {
            self.small.extend_from_slice(&piece);
        } else {
            self.large = piece;
        }
    }

    /// Takes a piece as a chunk; only while there [is room](Self::has_room).
    pub(super) fn push_chunk(&mut self, piece: Bytes) {
        push_chunk_size(&mut self.small, piece.len());
        self.push(piece);
        if self.large.is_empty() {
            self.small.extend_from_slice(b"\r\n");
        } else {
            self.tail = b"\r\n";
        }
    }

    /// The end of a chunked body, and what comes behind it; only while there
    /// [is room](Self::has_room).
    pub(super) fn push_last_chunk(&mut self, trailers: Option<&FieldBlock>) {
        self.small.extend_from_slice(b"0\r\n");
        if let Some(trailers) = trailers {
            self.small.extend_from_slice(trailers.as_bytes());
        }
        self.small.extend_from_slice(b"\r\n");
    }

    pub(super) fn has_room(&self) -> bool {
        self.large.is_empty() && self.sent == 0 && self.small.len() < ENOUGH
    }

    /// How many bytes were written from the beginning on.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// What of the gathered small things is not written yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.small.get(self.sent..).unwrap_or_default()
    }

    /// Some of it, or of [`Outgoing::rest`] by somebody else, was written.
    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
        self.written += count as u64;
    }

    /// Writes all of it.
    pub(super) fn poll_flush(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let total = self.small.len() + self.large.len() + self.tail.len();
        while self.sent < total {
            let mut skip = self.sent;
            let parts = [&self.small, self.large.as_ref(), self.tail].map(|part: &[u8]| {
                let left = part.get(skip.min(part.len())..).unwrap_or_default();
                skip = skip.saturating_sub(part.len());
                IoSlice::new(left)
            });
            let parts = if self.large.is_empty() { parts.get(..1) } else { parts.get(..) };
            let written = match parts.unwrap_or_default() {
                [part] => Pin::new(&mut *stream).poll_write(context, part),
                parts => Pin::new(&mut *stream).poll_write_vectored(context, parts),
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.advance(count),
            }
        }
        self.small.clear();
        self.large = Bytes::new();
        self.tail = &[];
        self.sent = 0;
        buffers::poll_flush(stream, context)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        buffers::written(std::mem::take(&mut self.small));
    }
}
