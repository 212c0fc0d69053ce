//! Reading and writing of sockets that two tasks may share: one reads, one writes.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use bytes::{BufMut, BytesMut};
use tokio::io::Interest;

use crate::stream::Socket;

/// Bytes that are read at once at most.
pub(super) const PIECE: usize = 64 << 10;

thread_local! {
    /// One buffer for all that is read and passed on at once, so that what waits holds none.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends this thread's buffer of [`PIECE`] bytes.
pub(super) fn with_scratch<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(PIECE, 0);
        work(scratch)
    })
}

impl Socket {
    /// Reads what is there, at most [`PIECE`] bytes, behind what `buffer` holds, which grows by
    /// just that: for messages of unknown, mostly small size. 0 at the end.
    pub(super) fn poll_read_some(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        with_scratch(|scratch| {
            let read = ready!(self.poll_read_into(context, scratch))?;
            buffer.extend_from_slice(scratch.get(..read).unwrap_or_default());
            Poll::Ready(Ok(read))
        })
    }

    /// Reads into `bytes`; 0 at the end.
    pub(super) fn poll_read_into(
        &self,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let size = bytes.len();
        self.poll_reading(context, size, || match self {
            Self::Tcp(stream) => stream.try_read(bytes),
            Self::Unix(stream) => stream.try_read(bytes),
        })
    }

    /// Reads into the space of `buffer` that is left, without copying; 0 at the end.
    pub(super) fn poll_read_rest(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let space = buffer.chunk_mut().len();
        self.poll_reading(context, space, || match self {
            Self::Tcp(stream) => stream.try_read_buf(buffer),
            Self::Unix(stream) => stream.try_read_buf(buffer),
        })
    }

    fn poll_reading(
        &self,
        context: &mut Context<'_>,
        space: usize,
        mut read: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_read_ready(context))?;
            match read() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(count) => {
                    if (1..space).contains(&count) {
                        self.expect_no_more();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// A read that did not fill its space has emptied the socket: the next one waits for an event
    /// rather than asking the operating system in vain.
    pub(super) fn expect_no_more(&self) {
        let nothing: io::Result<()> =
            self.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
        drop(nothing);
    }

    /// Writes some of `parts`.
    pub(super) fn poll_write_parts(
        &self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing(context, || match self {
            Self::Tcp(stream) => stream.try_write_vectored(parts),
            Self::Unix(stream) => stream.try_write_vectored(parts),
        })
    }

    /// Writes some of `bytes`.
    pub(super) fn poll_write_some(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing(context, || match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        })
    }

    fn poll_writing(
        &self,
        context: &mut Context<'_>,
        write: impl Fn() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(context))?;
            match write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                result => return Poll::Ready(result),
            }
        }
    }

    /// Whether nothing has come since the last read, not even an end.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::Unix(stream) => stream.try_read(&mut byte),
        };
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
