//! The bytes that flow one way of an upgraded connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use super::pipes;
#[cfg(target_os = "linux")]
use crate::linux::Pipe;
#[cfg(not(target_os = "linux"))]
use crate::portable::Pipe;
use crate::{
    proxy::wire::{PIECE, with_scratch},
    stream::{Socket, Stream},
};

/// Messages from this size on go through a pipe.
const BULK: usize = 16 << 10;
/// Steps before others have their turn.
const STEPS: usize = 16;

/// One direction. Nothing is held while nothing flows.
#[derive(Debug)]
pub(super) struct Flow {
    /// What was read and could not be written at once.
    rest: Bytes,
    /// Holds bytes on their way, when those go through a pipe.
    pipe: Option<Pipe>,
    /// How many bytes came since the last wait.
    burst: usize,
    /// Whether the last burst was worth a pipe.
    is_bulk: bool,
    /// Whether something was written that may be held back (by TLS).
    is_unflushed: bool,
    /// Whether the reading side has reported its end.
    has_ended: bool,
    is_over: bool,
    /// Bytes carried so far, to see whether anything moves.
    pub(super) carried: u64,
}

impl Flow {
    /// `rest` goes first.
    pub(super) fn new(rest: Bytes) -> Self {
        Self {
            rest,
            pipe: None,
            burst: 0,
            is_bulk: false,
            is_unflushed: false,
            has_ended: false,
            is_over: false,
            carried: 0,
        }
    }

    /// Whether the source has ended, and all that came from it was passed on.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether all that came was passed on.
    pub(super) fn is_at_rest(&self) -> bool {
        self.rest.is_empty() && self.pipe.is_none() && !self.is_unflushed
    }

    /// Carries what there is; ready when this direction is over.
    pub(super) fn poll(
        &mut self,
        from: &mut Stream,
        to: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        for _ in 0..STEPS {
            if self.is_over {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_drain(to, context))?;
            if self.has_ended {
                ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                self.is_over = true;
                continue;
            }
            if self.poll_step(from, to, context)?.is_pending() {
                return self.poll_flush(to, context);
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves some bytes; pending when none have come.
    fn poll_step(
        &mut self,
        from: &mut Stream,
        to: &mut Stream,
        context: &mut Context<'_>,
    ) -> io::Result<Poll<()>> {
        let is_plain = to.plain().is_some();
        let step = match from.plain().filter(|_| is_plain && self.is_bulk) {
            Some(source) if self.has_pipe() => self.poll_splice(source, context),
            _ => self.poll_copy(from, to, context),
        };
        let count = match step {
            Poll::Ready(count) => count?,
            Poll::Pending => {
                // Without a burst the other direction woke us, which says nothing about this one.
                if self.burst > 0 {
                    self.is_bulk = self.burst >= BULK;
                    self.burst = 0;
                }
                self.give_back();
                return Ok(Poll::Pending);
            }
        };
        if count == 0 {
            self.has_ended = true;
        }
        self.carried += count as u64;
        self.burst = self.burst.saturating_add(count);
        Ok(Poll::Ready(()))
    }

    /// Reads into the thread's buffer and writes what is taken at once.
    fn poll_copy(
        &mut self,
        from: &mut Stream,
        to: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        with_scratch(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(from).poll_read(context, &mut buffer))?;
            let mut bytes = buffer.filled();
            let count = bytes.len();
            while !bytes.is_empty() {
                match Pin::new(&mut *to).poll_write(context, bytes)? {
                    Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(written) => {
                        self.is_unflushed = to.plain().is_none();
                        bytes = bytes.get(written..).unwrap_or_default();
                    }
                    Poll::Pending => {
                        self.rest = Bytes::copy_from_slice(bytes);
                        break;
                    }
                }
            }
            // There is more: no need to wait for the end of the burst.
            self.is_bulk |= count == PIECE;
            Poll::Ready(Ok(count))
        })
    }

    /// Whether there is a pipe. Where none can be had, bytes are copied.
    fn has_pipe(&mut self) -> bool {
        if self.pipe.is_none() {
            self.pipe = pipes::take().ok();
        }
        self.pipe.is_some()
    }

    /// Moves bytes into the pipe.
    fn poll_splice(
        &mut self,
        source: &Socket,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(source.poll_read_ready(context))?;
            let Some(pipe) = &mut self.pipe else { return Poll::Pending };
            match source.try_io(Interest::READABLE, || pipe.fill(source)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Passes on what was read before.
    fn poll_drain(&mut self, to: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let written = ready!(Pin::new(&mut *to).poll_write(context, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_unflushed = to.plain().is_none();
            self.rest.advance(written);
        }
        self.rest = Bytes::new();
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(())) };
        let Some(target) = to.plain() else { return Poll::Ready(Ok(())) };
        while !pipe.is_empty() {
            match target.try_io(Interest::WRITABLE, || pipe.empty_into(target)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(target.poll_write_ready(context))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, to: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_unflushed {
            ready!(Pin::new(to).poll_flush(context))?;
            self.is_unflushed = false;
        }
        Poll::Pending
    }

    fn give_back(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            pipes::give_back(pipe);
        }
    }
}
