//! A body that is coded while it comes.

use std::{
    cell::Cell,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};

use super::encoder::{Effort, Encoder};
use crate::{BodyError, Source, coding::Coding};

/// Bodies that are coded at the same time on one thread: each takes up to half a megabyte. What is
/// more is sent as it is.
const MOST: usize = 256;
/// So many bytes are coded before other connections have their turn: less than a millisecond.
const TURN: usize = 64 << 10;
/// So many coded bytes are sent on without waiting for more.
const ENOUGH: usize = 16 << 10;

thread_local! {
    /// How many bodies of this thread are being coded.
    static UNDER_WAY: Cell<usize> = const { Cell::new(0) };
}

/// A place among the bodies of this thread, given back when it is dropped: a connection, and what
/// is sent on it, never leaves its thread.
#[derive(Debug)]
pub(super) struct Place;

impl Drop for Place {
    fn drop(&mut self) {
        // When the thread ends, the count may be gone before the last body.
        let _ = UNDER_WAY.try_with(|count| count.set(count.get().saturating_sub(1)));
    }
}

/// What codes one more body; `None` when there are enough of them.
pub(super) fn begin(coding: Coding) -> Option<(Encoder, Place)> {
    let count = UNDER_WAY.get();
    if count >= MOST {
        return None;
    }
    let encoder = Encoder::new(coding, Effort::Low)?;
    UNDER_WAY.set(count + 1);
    Some((encoder, Place))
}

/// A body, coded. When nothing more comes for the moment, all that has come is sent on.
pub(super) struct Compressed {
    source: Box<dyn Source>,
    /// `None` after the end.
    encoder: Option<Encoder>,
    /// What has come and is not coded yet.
    piece: Bytes,
    /// Something was coded that has not come out yet.
    is_held: bool,
    /// Others are to have their turn.
    is_tired: bool,
    _place: Place,
}

impl Compressed {
    pub(super) fn new(source: Box<dyn Source>, encoder: Encoder, place: Place) -> Self {
        let piece = Bytes::new();
        Self {
            source,
            encoder: Some(encoder),
            piece,
            is_held: false,
            is_tired: false,
            _place: place,
        }
    }

    /// What the next look brings: coded bytes, perhaps none yet.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Vec<u8>, BodyError>>> {
        let Some(encoder) = &mut self.encoder else { return Poll::Ready(None) };
        let mut coded = 0;
        while coded < TURN && encoder.out().len() < ENOUGH {
            if self.piece.is_empty() {
                match self.source.poll_chunk(context) {
                    Poll::Ready(Some(Ok(piece))) => self.piece = piece,
                    Poll::Ready(Some(Err(error))) => {
                        self.encoder = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                    Poll::Ready(None) => {
                        let rest = self.encoder.take().map(Encoder::finish);
                        return Poll::Ready(rest.map(|rest| rest.map_err(BodyError::Io)));
                    }
                    Poll::Pending if !self.is_held => return Poll::Pending,
                    Poll::Pending => {
                        self.is_held = false;
                        let flushed = encoder.flush().map(|()| std::mem::take(encoder.out()));
                        return Poll::Ready(Some(flushed.map_err(BodyError::Io)));
                    }
                }
            }
            let count = self.piece.len().min(TURN - coded);
            if let Err(error) = encoder.write(self.piece.get(..count).unwrap_or_default()) {
                return Poll::Ready(Some(Err(BodyError::Io(error))));
            }
            self.piece.advance(count);
            coded += count;
            self.is_held = true;
        }
        self.is_tired = true;
        Poll::Ready(Some(Ok(std::mem::take(encoder.out()))))
    }
}

impl Source for Compressed {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if std::mem::take(&mut self.is_tired) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            match std::task::ready!(self.poll_next(context)) {
                Some(Ok(coded)) if coded.is_empty() => {}
                next => return Poll::Ready(next.map(|next| next.map(Bytes::from))),
            }
        }
    }
}

/// A body that is there as a whole.
pub(super) struct Once(pub(super) Option<Bytes>);

impl Source for Once {
    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}
