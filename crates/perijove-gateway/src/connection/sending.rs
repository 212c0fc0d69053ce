//! An answer's body on its way to the client.

use std::{
    io::ErrorKind,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::Interest;

#[cfg(target_os = "linux")]
use crate::linux::{send_file, send_more};
#[cfg(not(target_os = "linux"))]
use crate::portable::{send_file, send_more};
use crate::{
    Body, FileBody, Source,
    body::FileSource,
    stream::{Socket, Stream},
};

use super::{answer::Wire, http1::Connection, outgoing::Outgoing, upload::Upload};

/// After so many bytes sent at once, other connections have their turn.
const TURN: usize = 4 << 20;

/// Who cut an answer off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It left, or took nothing for too long.
    Client,
    /// The body ended before its end, or went on behind it.
    Source,
}

/// An answer on its way: what was gathered, the head first of all, and the body behind it.
pub(super) enum Sending {
    /// All of it is at hand.
    Whole {
        out: Outgoing,
        length: u64,
        is_sent: bool,
    },
    /// A piece of a file, sent without carrying it through this process.
    ByKernel(ByKernel),
    Streaming(Streaming),
}

impl Sending {
    pub(super) fn begin(mut out: Outgoing, (body, wire): (Body, Wire), stream: &Stream) -> Self {
        let source: Box<dyn Source> = match body {
            _ if wire == Wire::Nothing => return Self::Whole { out, length: 0, is_sent: false },
            Body::Empty | Body::Tunnel(_) => {
                return Self::Whole { out, length: 0, is_sent: false };
            }
            Body::Full(body) => {
                let length = body.len() as u64;
                out.push(body);
                return Self::Whole { out, length, is_sent: false };
            }
            Body::File(file) if file.length > 0 && stream.plain().is_some() => {
                let (offset, left) = (file.offset, file.length);
                return Self::ByKernel(ByKernel { out, file, offset, left });
            }
            Body::File(file) => Box::new(FileSource(file)),
            Body::Stream(source) => source,
        };
        let left = match wire {
            Wire::Sized(length) => length,
            _ => u64::MAX,
        };
        let stream = Streaming { out, source, wire, left, bytes: 0, is_over: false, end: Ok(()) };
        Self::Streaming(stream)
    }

    /// Writes all of it.
    pub(super) fn poll(
        &mut self,
        connection: &mut Connection,
        upload: &mut Option<Upload>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Cut>> {
        match self {
            Self::Whole { out, is_sent, .. } => {
                match out.poll_flush(&mut connection.stream, context) {
                    Poll::Ready(flushed) => {
                        *is_sent = flushed.is_ok();
                        Poll::Ready(flushed.map_err(|_| Cut::Client))
                    }
                    Poll::Pending => connection.poll_blocked(out.written(), context).map(Err),
                }
            }
            Self::ByKernel(sending) => sending.poll(connection, context),
            Self::Streaming(streaming) => streaming.poll(connection, upload, context),
        }
    }

    /// Bytes of the body that were sent.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Whole { length, is_sent, .. } => {
                if *is_sent {
                    *length
                } else {
                    0
                }
            }
            Self::ByKernel(sending) => sending.file.length - sending.left,
            Self::Streaming(streaming) => streaming.bytes,
        }
    }
}

/// The head waits in the kernel for the first bytes of the body.
pub(super) struct ByKernel {
    out: Outgoing,
    file: FileBody,
    offset: u64,
    left: u64,
}

impl ByKernel {
    fn poll(
        &mut self,
        connection: &mut Connection,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Cut>> {
        let Some(socket) = connection.stream.plain() else {
            return Poll::Ready(Err(Cut::Client));
        };
        let mut moved = 0;
        while self.left > 0 {
            if moved >= TURN {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.step(socket) {
                Ok(0) => return Poll::Ready(Err(Cut::Source)),
                Ok(count) => moved += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(Cut::Client));
                }
                Err(_) => match socket.poll_write_ready(context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Cut::Client)),
                    Poll::Pending => {
                        let written = self.out.written() + self.file.length - self.left;
                        return connection.poll_blocked(written, context).map(Err);
                    }
                },
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Some of the head, or some of the body once that is gone; 0 when the file has become
    /// shorter.
    fn step(&mut self, socket: &Socket) -> std::io::Result<usize> {
        let head = self.out.rest();
        if !head.is_empty() {
            let count = socket.try_io(Interest::WRITABLE, || send_more(socket, head))?;
            self.out.advance(count);
            return Ok(count);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(TURN);
        let count = socket.try_io(Interest::WRITABLE, || {
            send_file(socket, &self.file.file, &mut self.offset, most)
        })?;
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

/// A body that streams.
pub(super) struct Streaming {
    out: Outgoing,
    source: Box<dyn Source>,
    wire: Wire,
    /// What was announced and has not come yet.
    left: u64,
    bytes: u64,
    is_over: bool,
    end: Result<(), Cut>,
}

impl Streaming {
    fn poll(
        &mut self,
        connection: &mut Connection,
        upload: &mut Option<Upload>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Cut>> {
        loop {
            let is_starved = self.gather(context);
            let before = self.out.written();
            let flushed = self.out.poll_flush(&mut connection.stream, context);
            if self.out.written() > before {
                connection.has_taken();
            }
            let blocked = flushed.is_pending().then(|| self.out.written());
            match flushed {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Cut::Client)),
                Poll::Ready(Ok(())) if self.is_over => {
                    self.tell_end(connection);
                    return Poll::Ready(self.end);
                }
                Poll::Ready(Ok(())) if !is_starved => continue,
                _ => {}
            }
            match connection.poll_upload(upload, blocked, context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Cut::Client)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// When the end of the connection means the end of the body, a failure must not be mistaken for
    /// it: then the connection is reset. Should that fail, the client cannot tell, no more.
    fn tell_end(&self, connection: &Connection) {
        if self.end.is_err() && self.wire == Wire::Close {
            let socket = SockRef::from(connection.stream.socket());
            drop(socket.set_linger(Some(Duration::ZERO)));
        }
    }

    /// Takes pieces until there is enough to write; true when there was nothing to take. What came
    /// before a failure is still written.
    fn gather(&mut self, context: &mut Context<'_>) -> bool {
        while !self.is_over && self.out.has_room() {
            let taken = match self.source.poll_chunk(context) {
                Poll::Pending => return true,
                Poll::Ready(Some(Ok(piece))) => self.take(piece),
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "the body of an answer was cut off");
                    Err(Cut::Source)
                }
                Poll::Ready(None) => self.finish(),
            };
            if taken.is_err() {
                self.is_over = true;
                self.end = taken;
            }
        }
        false
    }

    fn take(&mut self, piece: Bytes) -> Result<(), Cut> {
        let length = piece.len() as u64;
        self.left = self.left.checked_sub(length).ok_or(Cut::Source)?;
        self.bytes += length;
        match self.wire {
            _ if piece.is_empty() => {}
            Wire::Chunked => self.out.push_chunk(piece),
            _ => self.out.push(piece),
        }
        // A body of known length is over with its last byte, whatever its source still does.
        self.is_over = self.left == 0;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Cut> {
        self.is_over = true;
        match self.wire {
            Wire::Sized(_) if self.left > 0 => return Err(Cut::Source),
            Wire::Chunked => self.out.push_last_chunk(self.source.trailers().as_ref()),
            _ => {}
        }
        Ok(())
    }
}
