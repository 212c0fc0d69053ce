//! The body of an upstream's answer, as it comes.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    task::AbortHandle,
    time::{Instant, Sleep, sleep_until},
};

use super::{Framing, Sending};
use crate::{
    Body, BodyError, Chunk, ChunkReader, FieldBlock, Source,
    proxy::{Upload, conduit::Conduit, headers::may_trail, pool, upstreams::Slot, wire::PIECE},
};

/// An answer's body that is being received. The connection is kept for the next request when the
/// body has come to its end, and closed when it is dropped before.
pub(super) struct Receiving {
    socket: Arc<Conduit>,
    /// Given back at the end of the body.
    slot: Option<Slot>,
    buffer: BytesMut,
    rest: Rest,
    /// For how long the connection may be kept.
    keep: Option<Duration>,
    /// The longest silence.
    time: Duration,
    last_progress: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// The request's body, when the answer began before it had ended.
    sending: Option<StillSending>,
    /// What came behind the body.
    trailers: Option<FieldBlock>,
}

/// What is still to come.
enum Rest {
    Length(u64),
    Chunked(Box<ChunkReader>),
    UntilClose,
    Nothing,
}

impl Receiving {
    /// For an answer whose head was taken off the front of `buffer`.
    pub(super) fn new(
        socket: Arc<Conduit>,
        slot: Slot,
        buffer: BytesMut,
        framing: Framing,
        time: Duration,
    ) -> Self {
        let rest = match framing {
            Framing::None | Framing::Length(0) => Rest::Nothing,
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunked(Box::new(ChunkReader::new(u64::MAX))),
            Framing::UntilClose => Rest::UntilClose,
        };
        let last_progress = Instant::now();
        Self {
            socket,
            slot: Some(slot),
            buffer,
            rest,
            keep: None,
            time,
            last_progress,
            timer: None,
            sending: None,
            trailers: None,
        }
    }

    /// Keeps what comes behind the body.
    pub(super) fn keep_trailers(&mut self) {
        if let Rest::Chunked(reader) = &mut self.rest {
            **reader = ChunkReader::new(u64::MAX).keeping_trailers();
        }
    }

    /// Keeps the connection for this long after the body.
    pub(super) fn keep(&mut self, keep: Option<Duration>) {
        self.keep = keep;
    }

    /// The body, if it is there as a whole.
    pub(super) fn whole(&mut self) -> Option<Body> {
        let body = match self.rest {
            Rest::Nothing => Body::Empty,
            Rest::Length(length) if length <= PIECE as u64 => {
                self.read_at_once(length);
                let length = usize::try_from(length).ok().filter(|l| *l <= self.buffer.len())?;
                Body::Full(self.buffer.split_to(length).freeze())
            }
            _ => return None,
        };
        self.end();
        Some(body)
    }

    /// Sends the rest of the request's body beside the answer, so that neither waits for the
    /// other.
    pub(super) fn send_on(&mut self, sending: Sending, upload: Upload) {
        let is_over = Arc::new(AtomicBool::new(false));
        let (socket, says_over) = (self.socket.clone(), is_over.clone());
        let task = tokio::spawn(async move {
            let (mut sending, mut upload) = (sending, upload);
            // Amid an answer nobody is asked to go on; what comes all the same is passed on.
            sending.release();
            let sent = std::future::poll_fn(|context| sending.poll(&socket, &mut upload, context));
            says_over.store(sent.await.is_ok(), Ordering::Relaxed);
        });
        self.sending = Some(StillSending { task: task.abort_handle(), is_over });
    }

    pub(super) fn into_body(self) -> Body {
        Body::Stream(Box::new(self))
    }

    /// Many upstreams send head and body by two writes: the second may have come meanwhile.
    fn read_at_once(&mut self, length: u64) {
        if (self.buffer.len() as u64) < length {
            let mut context = Context::from_waker(std::task::Waker::noop());
            // An error shows itself again when the body is waited for.
            drop(self.socket.poll_read_some(&mut context, &mut self.buffer));
        }
    }

    /// What of the body is in the buffer; `None` when more must be read.
    fn next_piece(&mut self) -> Option<Result<Bytes, BodyError>> {
        match &mut self.rest {
            Rest::Nothing => None,
            Rest::UntilClose => (!self.buffer.is_empty()).then(|| Ok(self.buffer.split().freeze())),
            Rest::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
                *left -= here as u64;
                let is_last = *left == 0;
                let piece = (here > 0).then(|| Ok(self.buffer.split_to(here).freeze()));
                if is_last {
                    self.end();
                }
                piece
            }
            Rest::Chunked(reader) => match reader.read(&mut self.buffer) {
                Ok(Chunk::Data(piece)) => Some(Ok(piece)),
                Ok(Chunk::More) => None,
                Ok(Chunk::End) => {
                    self.trailers = reader.take_trailers();
                    self.end();
                    None
                }
                Err(error) => {
                    self.close();
                    Some(Err(error))
                }
            },
        }
    }

    /// The body is complete.
    fn end(&mut self) {
        self.rest = Rest::Nothing;
        let is_sent = self.sending.as_ref().is_none_or(StillSending::is_over);
        if let Some(slot) = self.slot.take()
            && let Some(keep) = self.keep
            && self.buffer.is_empty()
            && is_sent
        {
            pool::put(slot.member(), self.socket.clone(), keep);
        }
        self.sending = None;
    }

    /// The connection is of no more use.
    fn close(&mut self) {
        self.rest = Rest::Nothing;
        self.slot = None;
        self.sending = None;
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        // What is small is copied to a place of its own size; what is large is read where it will
        // be passed on from.
        match self.rest {
            Rest::Length(left) if left > PIECE as u64 / 4 => {
                self.buffer.reserve(usize::try_from(left).unwrap_or(PIECE).min(PIECE));
                self.socket.poll_read_rest(context, &mut self.buffer)
            }
            _ => self.socket.poll_read_some(context, &mut self.buffer),
        }
    }

    /// Ready when the upstream was silent for too long.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = self.last_progress + self.time;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            ready!(timer.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

impl Source for Receiving {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(piece) = self.next_piece() {
                return Poll::Ready(Some(piece));
            }
            if matches!(self.rest, Rest::Nothing) {
                return Poll::Ready(None);
            }
            let error = match self.poll_fill(context) {
                Poll::Ready(Ok(0)) if matches!(self.rest, Rest::UntilClose) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(0) | Err(_)) => BodyError::CutOff,
                Poll::Ready(Ok(_)) => {
                    self.last_progress = Instant::now();
                    continue;
                }
                Poll::Pending => {
                    ready!(self.poll_late(context));
                    BodyError::Late
                }
            };
            self.close();
            return Poll::Ready(Some(Err(error)));
        }
    }

    fn length(&self) -> Option<u64> {
        match self.rest {
            Rest::Length(left) => Some(left),
            Rest::Nothing => Some(0),
            Rest::Chunked(_) | Rest::UntilClose => None,
        }
    }

    fn trailers(&mut self) -> Option<FieldBlock> {
        let mut trailers = self.trailers.take()?;
        trailers.retain(|name, _| may_trail(name));
        Some(trailers).filter(|trailers| !trailers.as_bytes().is_empty())
    }
}

/// A request's body that is still being sent; it ends with the answer.
struct StillSending {
    task: AbortHandle,
    is_over: Arc<AtomicBool>,
}

impl StillSending {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl Drop for StillSending {
    fn drop(&mut self) {
        self.task.abort();
    }
}
