//! A request's body on its way from the connection to whoever answers the request.
//!
//! The connection keeps the stream; the reader of the body has a place where the connection puts
//! one piece at a time, when it is asked for. So an answer can begin, and be written, while the
//! body still comes.

use std::{
    io::ErrorKind,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::{
    Body, BodyError, Chunk, ChunkReader, Framing, Head, Plan, Source, buffers, stream::Stream,
    watch::Watch,
};

use super::pace::Pace;

/// A piece of a body of known length is read at most this large at once.
const PIECE: usize = 128 << 10;
/// A body that has come with its head and is no larger is not streamed.
const SMALL: u64 = 16 << 10;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The connection's end.
#[derive(Debug)]
pub(super) struct Upload {
    place: Arc<Place>,
    left: Left,
    /// What of `100 Continue` is to be written before the client sends anything.
    invitation: &'static [u8],
    /// The client waited for the invitation, and it is too late for it.
    is_uninvited: bool,
    pace: Pace,
}

/// What is still to come.
#[derive(Debug)]
enum Left {
    Length(u64),
    Chunked(ChunkReader),
    /// The body is over, or broken beyond use.
    Nothing {
        is_broken: bool,
    },
}

/// What a look at the upload brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pump {
    /// Nobody wants more, or there is no more.
    Idle,
    /// The reader has something to look at: a piece, or the end.
    Moved,
    /// The client is waited for.
    Waiting,
}

/// Where pieces change hands. The lock is held for a few instructions only.
#[derive(Debug, Default)]
struct Place {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    piece: Option<Result<Bytes, BodyError>>,
    is_wanted: bool,
    is_over: bool,
    reader: Option<Waker>,
    /// Of the connection, when it has nothing to do until a piece is wanted: the reader may be
    /// another task.
    pump: Option<Waker>,
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reader's end.
struct Incoming {
    place: Arc<Place>,
    /// Still to come to the reader, where it is known.
    left: Option<u64>,
}

impl Source for Incoming {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut state = self.place.lock();
        if let Some(piece) = state.piece.take() {
            if let (Some(left), Ok(bytes)) = (&mut self.left, &piece) {
                *left = left.saturating_sub(bytes.len() as u64);
            }
            return Poll::Ready(Some(piece));
        }
        if state.is_over {
            return Poll::Ready(None);
        }
        state.is_wanted = true;
        if let Some(pump) = state.pump.take()
            && !pump.will_wake(context.waker())
        {
            pump.wake();
        }
        match &mut state.reader {
            Some(reader) => reader.clone_from(context.waker()),
            None => state.reader = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    fn length(&self) -> Option<u64> {
        self.left
    }
}

/// The body of a request whose head was just taken off `buffer`, and the connection's end of it
/// unless all of it has come already.
pub(super) fn begin(head: &Head, buffer: &mut BytesMut, rules: &Plan) -> (Body, Option<Upload>) {
    let left = match head.framing() {
        Framing::None | Framing::Length(0) => return (Body::Empty, None),
        Framing::Length(length) => match usize::try_from(length) {
            Ok(whole) if length <= SMALL && whole <= buffer.len() => {
                // Copied, so that the connection's buffer stays its own.
                let body = Bytes::copy_from_slice(&buffer.split_to(whole));
                return (Body::Full(body), None);
            }
            _ => Left::Length(length),
        },
        Framing::Chunked => Left::Chunked(ChunkReader::new(u64::MAX)),
    };
    let is_waiting = head.expects_continue() && buffer.is_empty();
    let place = Arc::<Place>::default();
    let known = match &left {
        Left::Length(length) => Some(*length),
        _ => None,
    };
    let body = Body::Stream(Box::new(Incoming { place: place.clone(), left: known }));
    let invitation = if is_waiting { CONTINUE } else { &[] };
    let pace = Pace::of_body(rules);
    (body, Some(Upload { place, left, invitation, is_uninvited: false, pace }))
}

impl Upload {
    /// Moves the next piece to its reader if one is wanted.
    pub(super) fn pump(
        &mut self,
        stream: &mut Stream,
        buffer: &mut BytesMut,
        context: &mut Context<'_>,
    ) -> Pump {
        {
            let mut state = self.place.lock();
            if !state.is_wanted || state.is_over {
                state.pump = Some(context.waker().clone());
                drop(state);
                self.pace.pause();
                return Pump::Idle;
            }
        }
        if Arc::strong_count(&self.place) == 1 {
            return Pump::Idle;
        }
        if self.poll_invite(stream, context).is_pending() {
            return Pump::Waiting;
        }
        let Poll::Ready(piece) = self.poll_piece(stream, buffer, context) else {
            return Pump::Waiting;
        };
        if let Some(Ok(bytes)) = &piece {
            self.pace.gain(bytes.len());
        }
        self.hand_over(piece, context);
        Pump::Moved
    }

    /// The client is waited for, until `watch` says that it was for too long.
    pub(super) fn wait(&mut self, watch: &Watch) {
        self.pace.wait(watch);
    }

    /// The client took too long: the reader is told.
    pub(super) fn fail(&mut self, error: BodyError, context: &Context<'_>) {
        self.left = Left::Nothing { is_broken: true };
        self.hand_over(Some(Err(error)), context);
    }

    fn hand_over(&mut self, piece: Option<Result<Bytes, BodyError>>, context: &Context<'_>) {
        if matches!(piece, Some(Err(_))) {
            self.left = Left::Nothing { is_broken: true };
        }
        let mut state = self.place.lock();
        state.is_wanted = false;
        state.is_over = matches!(self.left, Left::Nothing { .. });
        state.piece = piece;
        if let Some(reader) = state.reader.take()
            && !reader.will_wake(context.waker())
        {
            reader.wake();
        }
    }

    /// Nobody will ask for more of the body.
    pub(super) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.place) == 1
    }

    /// The body was read to its end: what follows is the next request.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.left, Left::Nothing { is_broken: false })
    }

    /// Whether the rest is worth reading so that the connection may stay: it is short, and the
    /// client does not wait to be asked for it.
    pub(super) fn is_drainable(&self) -> bool {
        let is_short = match &self.left {
            Left::Length(left) => *left <= PIECE as u64,
            Left::Chunked(_) => true,
            Left::Nothing { is_broken } => !is_broken,
        };
        is_short && self.invitation.is_empty() && !self.is_uninvited
    }

    /// The answer begins: an invitation would stand amid it. What of one was written in part must
    /// be finished before.
    pub(super) fn uninvite(&mut self) -> &'static [u8] {
        let rest = std::mem::take(&mut self.invitation);
        self.is_uninvited |= rest.len() == CONTINUE.len();
        if self.is_uninvited { &[] } else { rest }
    }

    /// Whether the client may or may not send the body, so that what follows is not known to be
    /// the next request.
    pub(super) fn is_uninvited(&self) -> bool {
        self.is_uninvited
    }

    /// Reads a piece and drops it: how many bytes it had, or that the body is over.
    pub(super) fn poll_drop(
        &mut self,
        stream: &mut Stream,
        buffer: &mut BytesMut,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<usize, BodyError>>> {
        let piece = std::task::ready!(self.poll_piece(stream, buffer, context));
        Poll::Ready(piece.map(|piece| piece.map(|bytes| bytes.len())))
    }

    /// Asks the client to go on; an error shows when the body is read.
    fn poll_invite(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<()> {
        while !self.invitation.is_empty() {
            let written = Pin::new(&mut *stream).poll_write(context, self.invitation);
            match std::task::ready!(written) {
                Ok(count) if count > 0 => {
                    self.invitation = self.invitation.get(count..).unwrap_or_default();
                }
                _ => self.invitation = &[],
            }
        }
        buffers::poll_flush(stream, context).map(drop)
    }

    fn poll_piece(
        &mut self,
        stream: &mut Stream,
        buffer: &mut BytesMut,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let piece = match &mut self.left {
            Left::Nothing { .. } => return Poll::Ready(None),
            Left::Length(left) => {
                let piece = std::task::ready!(poll_sized(*left, stream, buffer, context));
                *left = left.saturating_sub(piece.as_ref().map_or(0, Bytes::len) as u64);
                if *left == 0 {
                    self.left = Left::Nothing { is_broken: false };
                }
                Some(piece)
            }
            Left::Chunked(reader) => {
                let piece = std::task::ready!(poll_chunked(reader, stream, buffer, context));
                if piece.is_none() {
                    self.left = Left::Nothing { is_broken: false };
                }
                piece
            }
        };
        if matches!(piece, Some(Err(_))) {
            self.left = Left::Nothing { is_broken: true };
        }
        Poll::Ready(piece)
    }
}

fn poll_sized(
    left: u64,
    stream: &mut Stream,
    buffer: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<Result<Bytes, BodyError>> {
    let most = usize::try_from(left).unwrap_or(usize::MAX);
    let begun = most.min(buffer.len());
    if begun == most {
        return Poll::Ready(Ok(buffer.split_to(begun).freeze()));
    }
    let most = most.min(PIECE).max(begun);
    let mut piece = BytesMut::with_capacity(most);
    // What came with the head goes in front of what is there to be read: one piece, not two.
    piece.extend_from_slice(buffer);
    let mut room = (&mut piece).limit(most - begun);
    let read = pin!(stream.read_buf(&mut room)).poll(context);
    let is_begun = begun > 0;
    buffer.clear();
    Poll::Ready(match read {
        Poll::Pending | Poll::Ready(Ok(0)) if is_begun => Ok(piece.freeze()),
        Poll::Pending => return Poll::Pending,
        Poll::Ready(Ok(0)) => Err(BodyError::CutOff),
        Poll::Ready(Ok(_)) => Ok(piece.freeze()),
        Poll::Ready(Err(error)) => Err(broken(error)),
    })
}

fn poll_chunked(
    reader: &mut ChunkReader,
    stream: &mut Stream,
    buffer: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, BodyError>>> {
    loop {
        match reader.read(buffer) {
            Ok(Chunk::Data(bytes)) => return Poll::Ready(Some(Ok(bytes))),
            Ok(Chunk::End) => return Poll::Ready(None),
            Err(error) => return Poll::Ready(Some(Err(error))),
            Ok(Chunk::More) => {}
        }
        match std::task::ready!(buffers::poll_fill(stream, buffer, context)) {
            Ok(0) => return Poll::Ready(Some(Err(BodyError::CutOff))),
            Ok(_) => {}
            Err(error) => return Poll::Ready(Some(Err(broken(error)))),
        }
    }
}

/// A client that resets the connection has cut its body off, no more.
fn broken(error: std::io::Error) -> BodyError {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            BodyError::CutOff
        }
        _ => BodyError::Io(error),
    }
}
