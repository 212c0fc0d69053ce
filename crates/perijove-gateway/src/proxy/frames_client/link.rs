//! One thread's connection to one worker, as its requests see it.

use std::{
    cell::RefCell,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    claims::Claims,
    driver,
    shelf::{Shelf, Tray, shared_file},
    state::{Answer, Ending, Piece, State},
};
use crate::proxy::{
    frames::{self, MOST_CARRIED, RequestStart, RequestWriter, TRAY},
    upstreams::{Member, Slot},
};

/// A request that waited this long goes to another worker that is idle.
const RECALL_AFTER: Duration = Duration::from_millis(5);

/// A piece of a body that is shorter goes through the socket.
const LONG: usize = 16 << 10;

/// More than this waits to be written only if the worker does not read.
const CONGESTED: usize = 1 << 20;

thread_local! {
    /// This thread's links: as many as there are workers, so that looking through them is quicker
    /// than a table.
    static LINKS: RefCell<Vec<Arc<Link>>> = const { RefCell::new(Vec::new()) };
}

/// The beginning of a body that travels with its request.
#[derive(Debug)]
pub(super) enum Carried<'a> {
    /// At most [`MOST_CARRIED`] bytes.
    Inline(&'a [u8]),
    OnTray(Tray),
}

#[derive(Debug)]
pub(super) struct Link {
    member: Arc<Member>,
    claims: Claims,
    shelf: Arc<Shelf>,
    /// Used by tasks of one thread only, so that the lock is always free; it is there because
    /// futures must be `Send`.
    state: Mutex<State>,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Closed,
    TooMany,
    /// The request fits no frame.
    TooLong,
}

impl Link {
    /// This thread's link to a worker; opened, if there is none.
    pub(super) fn to(member: &Arc<Member>) -> io::Result<Arc<Self>> {
        LINKS.with_borrow_mut(|links| {
            let is_it = |link: &&Arc<Self>| link.member.id() == member.id();
            if let Some(link) = links.iter().find(is_it)
                && !link.state().is_closed
            {
                return Ok(link.clone());
            }
            let file = shared_file()?;
            let (claims, shelf) = (Claims::map(&file)?, Arc::new(Shelf::map(&file)?));
            let (member, state) = (member.clone(), Mutex::default());
            let link = Arc::new(Self { member, claims, shelf, state });
            links.push(link.clone());
            // Ends with the connection, when the upstream leaves, or with the thread's runtime.
            drop(tokio::spawn(driver::drive(link.clone(), file)));
            Ok(link)
        })
    }

    pub(super) fn member(&self) -> &Arc<Member> {
        &self.member
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// How much of a body can travel with its request.
    pub(super) fn most_carried(&self) -> usize {
        if self.state().takes_trays { TRAY } else { MOST_CARRIED }
    }

    /// The beginning of a body, as far as it can travel with its request.
    pub(super) fn carry<'a>(&self, bytes: &'a [u8]) -> Carried<'a> {
        if let Some(tray) = self.lay(bytes.get(..TRAY).unwrap_or(bytes)) {
            return Carried::OnTray(tray);
        }
        // A worker that does not read is sent heads only: bodies wait until it asks for them.
        let is_congested = self.state().out.len() > CONGESTED;
        let most = if is_congested { 0 } else { MOST_CARRIED };
        Carried::Inline(bytes.get(..most).unwrap_or(bytes))
    }

    /// Lays a long piece of a body on a tray for the worker, if it takes any.
    pub(super) fn lay(&self, bytes: &[u8]) -> Option<Tray> {
        let is_worth_it = bytes.len() >= LONG && self.state().takes_trays;
        if is_worth_it { self.shelf.lay(bytes) } else { None }
    }

    /// Puts a `REQUEST` in line.
    pub(super) fn begin(
        self: Arc<Self>,
        slot: Slot,
        time: Duration,
        start: &RequestStart<'_>,
        fields: impl FnOnce(&mut RequestWriter<'_>),
        (carried, is_last): (Carried<'_>, bool),
    ) -> Result<Ticket, Refused> {
        let mut state = self.state();
        if state.is_closed {
            return Err(Refused::Closed);
        }
        let id = state.begin(time, is_last).ok_or(Refused::TooMany)?;
        self.claims.wait(id);
        let mut writer = RequestWriter::new(&mut state.out, id, start);
        fields(&mut writer);
        let (inline, tray) = match carried {
            Carried::Inline(bytes) => (bytes, None),
            Carried::OnTray(tray) => (&b""[..], Some(tray)),
        };
        if !writer.finish(inline, is_last && tray.is_none()) {
            state.free(id);
            return Err(Refused::TooLong);
        }
        if let Some(tray) = tray {
            let (number, length) = tray.hand_over();
            frames::write_tray(&mut state.out, id, is_last, number, length);
        }
        state.wake_driver();
        drop(state);
        Ok(Ticket { link: self, id, slot: Some(slot) })
    }

    /// Looks after those that wait: some have waited for too long, some would be served sooner
    /// elsewhere.
    pub(super) fn tick(&self, now: Instant) {
        let patience = self.member.owner().map_or(Duration::MAX, |owner| owner.settings().wait);
        let mut state = self.state();
        for (id, entry) in state.waiting() {
            if std::mem::take(&mut entry.is_heard) {
                entry.since = now;
                continue;
            }
            let waited = now.saturating_duration_since(entry.since);
            let is_answered = entry.answer.is_some() || !entry.pieces.is_empty();
            if waited > patience && self.claims.recall(id) {
                entry.end(Ending::NotEntered);
            } else if waited > entry.time && !entry.is_paused && !is_answered {
                entry.end(Ending::Late);
            } else if waited > RECALL_AFTER
                && let Some(slot) = self.place_elsewhere(id)
            {
                // Leaving the request sends the CANCEL.
                entry.end(Ending::Recalled(slot));
            }
        }
    }

    /// Takes a request back, if an idle upstream can have it.
    fn place_elsewhere(&self, id: u16) -> Option<Slot> {
        if !self.claims.is_waiting(id) {
            return None;
        }
        let slot = self.member.owner()?.take_idle(self.member.id())?;
        self.claims.recall(id).then_some(slot)
    }

    /// Nothing more will come: tells all who wait whether their request was begun.
    pub(super) fn close(&self) {
        self.state().close(|id| Ending::Lost { is_entered: !self.claims.recall(id) });
        // The thread may be ending, and its links with it.
        let _ = LINKS.try_with(|links| {
            if let Ok(mut links) = links.try_borrow_mut() {
                links.retain(|link| !std::ptr::eq(Arc::as_ptr(link), self));
            }
        });
    }
}

/// A request at a worker. Dropping it tells the worker that nobody waits any more.
#[derive(Debug)]
pub(super) struct Ticket {
    link: Arc<Link>,
    id: u16,
    slot: Option<Slot>,
}

impl Carried<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::OnTray(tray) => tray.as_ref().len(),
        }
    }
}

impl Ticket {
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// Waits for the head of the answer.
    pub(super) fn poll_answer(&self, context: &mut Context<'_>) -> Poll<Result<Answer, Ending>> {
        let mut state = self.link.state();
        if let Some(answer) = state.take_answer(self.id) {
            return Poll::Ready(Ok(answer));
        }
        let Some(entry) = state.entry(self.id) else { return Poll::Pending };
        if let Some(ending) = entry.ending.take() {
            return Poll::Ready(Err(ending));
        }
        if entry.is_over {
            let reason = Bytes::from_static(b"it ended the request without an answer");
            return Poll::Ready(Err(Ending::Reset(reason)));
        }
        entry.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits for a piece of the answer's body; `None` at its end.
    pub(super) fn poll_piece(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, Ending>>> {
        let mut state = self.link.state();
        if let Some(piece) = state.take_piece(self.id) {
            return Poll::Ready(Some(Ok(piece)));
        }
        let Some(entry) = state.entry(self.id) else { return Poll::Ready(None) };
        if let Some(ending) = entry.ending.take() {
            return Poll::Ready(Some(Err(ending)));
        }
        if entry.is_over {
            return Poll::Ready(None);
        }
        entry.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// The next piece of the body if it is there, and whether it is the last.
    pub(super) fn ready_piece(&self) -> (Option<Piece>, bool) {
        let mut state = self.link.state();
        let piece = state.take_piece(self.id);
        let is_last = state.entry(self.id).is_some_and(|entry| {
            entry.is_over && entry.pieces.is_empty() && entry.ending.is_none()
        });
        (piece, is_last)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.link.state().leave(self.id, self.slot.take());
    }
}
