//! One request and its answer: what has come of the body, how much may be sent, who waits.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Thread, ThreadId},
};

use crate::{
    connection::Connection,
    forked::is_child,
    frames::{BodyLength, FIRST_CREDIT, Kind},
    lock,
    shelf::Tray,
};

/// How many bytes of a body of unknown length are asked for at once.
const WINDOW: u64 = 256 << 10;

/// A piece of a body: bytes from an offset on.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Bytes,
    start: usize,
}

#[derive(Debug)]
enum Bytes {
    Own(Vec<u8>),
    OnTray(Tray),
}

impl Piece {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self::from(bytes, 0)
    }

    /// Bytes without those in front of `start`.
    pub(crate) fn from(bytes: Vec<u8>, start: usize) -> Self {
        Self { bytes: Bytes::Own(bytes), start }
    }

    pub(crate) fn on(tray: Tray) -> Self {
        Self { bytes: Bytes::OnTray(tray), start: 0 }
    }

    /// What has not been read of it.
    pub(crate) fn rest(&self) -> &[u8] {
        let bytes = match &self.bytes {
            Bytes::Own(bytes) => bytes,
            Bytes::OnTray(tray) => tray.as_ref(),
        };
        bytes.get(self.start..).unwrap_or_default()
    }

    /// So many bytes more have been read.
    pub(crate) fn advance(&mut self, count: usize) {
        self.start += count;
    }
}

/// What a look at the body found.
#[derive(Debug)]
pub(crate) enum Arrived {
    Pieces(VecDeque<Piece>),
    /// The body is complete, and all of it was taken.
    End,
    /// More must come first.
    Nothing,
    /// Nobody will send the rest.
    CutOff,
}

/// One request while it is known to the worker.
#[derive(Debug)]
pub(crate) struct Exchange {
    id: u16,
    connection: Arc<Connection>,
    /// Nobody waits for the answer any more.
    is_cancelled: AtomicBool,
    /// Shared with the leading thread; held for moments only.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    arrived: VecDeque<Piece>,
    /// Bytes of the body that have not come; `None` when that is unknown.
    missing: Option<u64>,
    /// Bytes asked for that have not come.
    asked: u64,
    has_ended: bool,
    /// Bytes of the answer's body that may be sent.
    credit: u64,
    /// The answer is complete: frames that still come are for nobody.
    is_finished: bool,
    waiters: Vec<Thread>,
}

impl Exchange {
    /// A request of which `carried` bytes of body came with it.
    pub(crate) fn new(
        id: u16,
        connection: Arc<Connection>,
        body: BodyLength,
        carried: u64,
        is_last: bool,
    ) -> Self {
        let missing = match body {
            BodyLength::None => Some(0),
            BodyLength::Known(length) => Some(length.saturating_sub(carried)),
            BodyLength::Unknown => None,
        };
        let state = State {
            arrived: VecDeque::new(),
            missing,
            asked: 0,
            has_ended: missing == Some(0) || (is_last && missing.is_none()),
            credit: FIRST_CREDIT,
            is_finished: false,
            waiters: Vec::new(),
        };
        let is_cancelled = AtomicBool::new(is_last && missing.is_some_and(|missing| missing > 0));
        Self { id, connection, is_cancelled, state: Mutex::new(state) }
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire) || self.connection.is_gone() || is_child()
    }

    /// Whether the answer is complete.
    pub(crate) fn is_finished(&self) -> bool {
        lock(&self.state).is_finished
    }

    /// Takes bytes of the body that have come.
    pub(crate) fn push(&self, piece: Piece, is_last: bool) {
        let mut state = lock(&self.state);
        if state.is_finished {
            return;
        }
        let length = piece.rest().len() as u64;
        state.asked = state.asked.saturating_sub(length);
        if length > 0 {
            state.arrived.push_back(piece);
        }
        match &mut state.missing {
            Some(missing) => {
                *missing = missing.saturating_sub(length);
                state.has_ended = *missing == 0;
                if is_last && !state.has_ended {
                    self.is_cancelled.store(true, Ordering::Release);
                }
            }
            None => state.has_ended |= is_last,
        }
        state.wake();
    }

    /// Takes what has come of the body.
    pub(crate) fn take(&self) -> Arrived {
        let mut state = lock(&self.state);
        if !state.arrived.is_empty() {
            return Arrived::Pieces(std::mem::take(&mut state.arrived));
        }
        if state.has_ended {
            return Arrived::End;
        }
        // After the answer, the id may be another request's: nothing is asked for by it any more.
        let is_over = self.is_cancelled() || state.is_finished;
        if is_over { Arrived::CutOff } else { Arrived::Nothing }
    }

    /// Asks for more of the body, unless enough has been asked for.
    pub(crate) fn ask(&self) {
        let more = {
            let mut state = lock(&self.state);
            let wanted = state.missing.map_or(WINDOW, |missing| missing.min(WINDOW));
            if state.has_ended || state.is_finished || state.asked > wanted / 2 {
                return;
            }
            let more = wanted - state.asked;
            state.asked += more;
            more
        };
        let payload = u32::try_from(more).unwrap_or(u32::MAX).to_le_bytes();
        self.connection.put(|outgoing| outgoing.frame(Kind::CreditOut, false, self.id, &payload));
    }

    /// Lets so many more bytes of the answer's body be sent.
    pub(crate) fn grant(&self, bytes: u32) {
        let mut state = lock(&self.state);
        state.credit = state.credit.saturating_add(u64::from(bytes));
        state.wake();
    }

    /// Takes up to `wanted` bytes of credit.
    pub(crate) fn spend(&self, wanted: usize) -> usize {
        let mut state = lock(&self.state);
        let credit = usize::try_from(state.credit).unwrap_or(usize::MAX);
        let taken = credit.min(wanted);
        state.credit -= taken as u64;
        taken
    }

    pub(crate) fn has_credit(&self) -> bool {
        lock(&self.state).credit > 0
    }

    /// Nobody waits for the answer any more: whoever works on it is told.
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
        lock(&self.state).wake();
    }

    /// The answer is complete. What has come of the body is let go.
    pub(crate) fn finish(&self) {
        let mut state = lock(&self.state);
        state.is_finished = true;
        state.arrived.clear();
        state.wake();
    }

    /// Names a thread that is to be woken when something changes.
    pub(crate) fn add_waiter(&self, thread: Thread) {
        lock(&self.state).waiters.push(thread);
    }

    pub(crate) fn remove_waiter(&self, thread: ThreadId) {
        lock(&self.state).waiters.retain(|waiter| waiter.id() != thread);
    }
}

impl State {
    fn wake(&self) {
        self.waiters.iter().for_each(Thread::unpark);
    }
}
