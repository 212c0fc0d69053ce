//! The body of a request on its way to a worker, against the credit that the worker gives.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use super::{
    Ends, Upload,
    link::{Link, Ticket},
    shelf::Tray,
};
use crate::{
    BodyError,
    proxy::frames::{self, MOST_CARRIED, TRAY},
};

/// A body that is being sent. It must not outlive its ticket.
#[derive(Debug)]
pub(super) struct Outgoing {
    link: Arc<Link>,
    id: u16,
    /// What was taken and not sent yet.
    piece: Bytes,
    /// How many bytes are still to be sent, where that is known.
    left: Option<u64>,
    is_over: bool,
}

impl Outgoing {
    /// `piece` was taken from the body and did not fit into the request.
    pub(super) fn new(ticket: &Ticket, piece: Bytes, left: Option<u64>) -> Self {
        Self { link: ticket.link().clone(), id: ticket.id(), piece, left, is_over: false }
    }

    /// Sends until all is sent, or nobody takes it any more.
    pub(super) fn poll(
        &mut self,
        upload: &mut Upload,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BodyError>> {
        while !self.is_over {
            let Some(credit) = ready!(self.poll_credit(context)) else {
                self.is_over = true;
                break;
            };
            if self.piece.is_empty() && !self.poll_upload(upload, context)?.is_ready() {
                return Poll::Pending;
            }
            self.send(credit)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the rest beside the answer, so that neither waits for the other.
    pub(super) fn go_on(mut self, mut upload: Upload) -> Ends {
        let task = tokio::spawn(async move {
            let sent = std::future::poll_fn(|context| self.poll(&mut upload, context)).await;
            if sent.is_err() {
                let reason = Bytes::from_static(b"the request's body was cut off");
                let mut state = self.link.state();
                state.fail(self.id, reason, false);
            }
        });
        Ends(task.abort_handle())
    }

    /// How many bytes the worker takes; `None` when it has ended the request.
    fn poll_credit(&self, context: &mut Context<'_>) -> Poll<Option<u64>> {
        let mut state = self.link.state();
        let Some(entry) = state.entry(self.id) else { return Poll::Ready(None) };
        if entry.is_over || entry.ending.is_some() {
            return Poll::Ready(None);
        }
        if entry.credit == 0 {
            entry.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Some(entry.credit))
    }

    /// Takes the next piece; an empty one at the end.
    fn poll_upload(
        &mut self,
        upload: &mut Upload,
        context: &mut Context<'_>,
    ) -> Result<Poll<()>, BodyError> {
        let next = upload.poll(context);
        let mut state = self.link.state();
        if let Some(entry) = state.entry(self.id) {
            entry.is_paused = next.is_pending();
            if next.is_pending() {
                // An answer may end the waiting.
                entry.writer = Some(context.waker().clone());
            } else {
                entry.since = Instant::now();
            }
        }
        let Poll::Ready(piece) = next else { return Ok(Poll::Pending) };
        match (piece.transpose()?, &self.left) {
            (Some(piece), _) => self.piece = piece,
            (None, Some(1..)) => return Err(BodyError::CutOff),
            (None, _) => {
                self.left = Some(0);
                self.piece = Bytes::new();
            }
        }
        Ok(Poll::Ready(()))
    }

    fn send(&mut self, credit: u64) -> Result<(), BodyError> {
        let credit = usize::try_from(credit).unwrap_or(usize::MAX);
        let on_tray = self.piece.len().min(credit).min(TRAY);
        let tray = self.link.lay(self.piece.get(..on_tray).unwrap_or_default());
        let most = if tray.is_some() { on_tray } else { credit.min(MOST_CARRIED) };
        let bytes = self.piece.split_to(self.piece.len().min(most));
        let size = bytes.remaining() as u64;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(size).ok_or(BodyError::CutOff)?;
        }
        self.is_over = self.left == Some(0);
        let mut state = self.link.state();
        match tray.map(Tray::hand_over) {
            Some((number, length)) => {
                frames::write_tray(&mut state.out, self.id, self.is_over, number, length);
            }
            None => frames::write_body(&mut state.out, self.id, self.is_over, &bytes),
        }
        if let Some(entry) = state.entry(self.id) {
            entry.credit -= size;
            entry.is_sent |= self.is_over;
        }
        state.wake_driver();
        Ok(())
    }
}
