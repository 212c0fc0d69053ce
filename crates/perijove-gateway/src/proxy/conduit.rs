//! A connection to an upstream of HTTP/1.1, in the clear or under TLS, that two tasks may share: one
//! reads, one writes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::{secure::explained, wire::with_scratch};
use crate::stream::{Socket, Stream};

/// What is in the clear goes to the socket itself: nothing stands between but one comparison.
#[derive(Debug)]
pub(super) enum Conduit {
    Plain(Socket),
    /// Boxed: a session is large.
    Secure(Box<Session>),
}

/// A session of TLS. Its lock is held for moments, never over an await.
#[derive(Debug)]
pub(super) struct Session(Mutex<TlsStream<Socket>>);

impl Conduit {
    pub(super) fn secure(stream: TlsStream<Socket>) -> Self {
        Self::Secure(Box::new(Session(Mutex::new(stream))))
    }

    /// As [`Socket::poll_read_some`].
    pub(super) fn poll_read_some(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_read_some(context, buffer),
            Self::Secure(session) => session.poll_read(context, buffer),
        }
    }

    /// As [`Socket::poll_read_rest`].
    pub(super) fn poll_read_rest(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_read_rest(context, buffer),
            Self::Secure(session) => session.poll_read(context, buffer),
        }
    }

    /// Takes some of `parts`; under TLS they have left only after [`Conduit::poll_flush`].
    pub(super) fn poll_write_parts(
        &self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_write_parts(context, parts),
            Self::Secure(session) => session.poll_write(context, parts),
        }
    }

    /// As [`Conduit::poll_write_parts`], of one part.
    pub(super) fn poll_write_some(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_write_some(context, bytes),
            Self::Secure(session) => session.poll_write(context, &[IoSlice::new(bytes)]),
        }
    }

    /// Sends what was taken.
    pub(super) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Secure(session) => {
                Pin::new(&mut *session.lock()).poll_flush(context).map_err(explained)
            }
        }
    }

    /// Whether nothing has come since the last read, not even an end. Tickets of TLS are nothing.
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_quiet(),
            Self::Secure(session) => session.is_quiet(),
        }
    }

    /// The connection, when nobody else has a part in it.
    pub(super) fn into_stream(self) -> Stream {
        match self {
            Self::Plain(socket) => Stream::Plain(socket),
            Self::Secure(session) => {
                let stream = session.0.into_inner().unwrap_or_else(PoisonError::into_inner);
                Stream::Upstream(Box::new(stream))
            }
        }
    }
}

impl Session {
    fn lock(&self) -> MutexGuard<'_, TlsStream<Socket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        with_scratch(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *self.lock()).poll_read(context, &mut read)).map_err(explained)?;
            buffer.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
    }

    fn poll_write(
        &self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut *self.lock()).poll_write_vectored(context, parts)) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(written.map_err(explained)),
        }
    }

    fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut *self.lock()).poll_read(&mut context, &mut read).is_pending()
    }
}
