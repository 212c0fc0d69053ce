//! A stream as hyper wants it, with what was read of it already.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::AsyncWrite;

use crate::{buffers, stream::Stream};

#[derive(Debug)]
pub(super) struct Rewound {
    stream: Stream,
    /// Read and not taken yet.
    buffer: BytesMut,
}

impl Rewound {
    pub(super) fn new(stream: Stream, buffer: BytesMut) -> Self {
        Self { stream, buffer }
    }
}

impl Read for Rewound {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, buffer } = self.get_mut();
        if buffer.is_empty() {
            ready!(buffers::poll_fill(stream, buffer, context))?;
        }
        let count = buffer.len().min(cursor.remaining());
        cursor.put_slice(buffer.get(..count).unwrap_or_default());
        buffer.advance(count);
        buffers::give_back(buffer);
        Poll::Ready(Ok(()))
    }
}

impl Write for Rewound {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
