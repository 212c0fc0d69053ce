//! The requests of a link, by id: what came for each, and what may still be sent.
//!
//! ```text
//! free ── begin ──▶ waiting ── RESPONSE ──▶ answering ── END, RESET ──▶ over ── leave ──▶ free
//!                      │                        │
//!                      └── leave ───────────────┴──▶ left (CANCEL sent) ── END, RESET ──▶ free
//! ```

use std::{collections::VecDeque, task::Waker, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    FileBody,
    proxy::{
        frames::{self, FIRST_CREDIT, FrameError, IDS},
        upstreams::Slot,
    },
};

/// Files of one answer that may wait for the client: each is a descriptor, and none costs credit.
const MOST_FILES: usize = 16;
/// Bytes of an answer's body that may be taken before the worker is told.
const GRANT: u32 = FIRST_CREDIT / 4;

/// The requests of a link and what is to be sent.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Frames that wait to be written.
    pub(super) out: Vec<u8>,
    pub(super) driver: Option<Waker>,
    pub(super) is_closed: bool,
    /// Whether the worker takes bodies on trays; not known until it is ready.
    pub(super) takes_trays: bool,
    entries: Vec<Entry>,
    free: Vec<u16>,
    used: usize,
}

/// One id.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) is_used: bool,
    /// Who waits for the answer.
    pub(super) reader: Option<Waker>,
    /// Who waits for credit.
    pub(super) writer: Option<Waker>,
    pub(super) answer: Option<Answer>,
    pub(super) pieces: VecDeque<Piece>,
    /// How many of them are files.
    files: usize,
    pub(super) ending: Option<Ending>,
    /// Bytes of the request's body that the worker takes.
    pub(super) credit: u64,
    /// Bytes of the answer's body that may come.
    allowance: u32,
    /// Bytes that were taken and not granted again yet.
    owed: u32,
    /// Whether we have sent our last frame.
    pub(super) is_sent: bool,
    /// Whether the worker has sent its last frame.
    pub(super) is_over: bool,
    /// Whether nobody waits for the answer any more.
    is_left: bool,
    /// Whether the client, not the worker, is waited for.
    pub(super) is_paused: bool,
    /// Whether the worker did something since the last tick.
    pub(super) is_heard: bool,
    /// When the worker last was given something to do, or was found to have done something.
    pub(super) since: Instant,
    /// The longest silence of the worker.
    pub(super) time: Duration,
    /// The place at the upstream of a request that was left, until the worker has ended it.
    slot: Option<Slot>,
}

/// The head of an answer, as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `Name: value\r\n` lines, not checked.
    pub(super) fields: Bytes,
    /// The beginning of the body.
    pub(super) body: Bytes,
    /// How long the body is, when the worker has told it by ending the request with this frame.
    pub(super) length: Option<u64>,
    /// Whether nothing follows, as far as is known.
    pub(super) is_whole: bool,
}

/// A piece of an answer's body.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Bytes),
    File(FileBody),
}

/// Why a request ended without END.
#[derive(Debug)]
pub(super) enum Ending {
    Reset(Bytes),
    /// The connection ended.
    Lost {
        is_entered: bool,
    },
    /// The worker was silent for too long.
    Late,
    /// It stood in the worker's line for as long as requests may wait, and was taken back.
    NotEntered,
    /// It was taken back and has a place at another upstream.
    Recalled(Slot),
}

impl State {
    /// Takes an id; `None` when all are in use.
    pub(super) fn begin(&mut self, time: Duration, is_sent: bool) -> Option<u16> {
        let now = Instant::now();
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.entries.len() < IDS => {
                let id = u16::try_from(self.entries.len()).ok()?;
                self.entries.push(Entry::new(now));
                id
            }
            None => return None,
        };
        self.used += 1;
        let entry = self.entries.get_mut(usize::from(id))?;
        entry.is_used = true;
        entry.is_sent = is_sent;
        entry.since = now;
        entry.time = time;
        Some(id)
    }

    /// Makes an id free.
    pub(super) fn free(&mut self, id: u16) {
        if let Some(entry) = self.entry(id) {
            entry.clear();
            self.free.push(id);
            self.used -= 1;
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.used == 0
    }

    /// The entry of an id in use.
    pub(super) fn entry(&mut self, id: u16) -> Option<&mut Entry> {
        self.entries.get_mut(usize::from(id)).filter(|entry| entry.is_used)
    }

    /// Those whose answer is still waited for.
    pub(super) fn waiting(&mut self) -> impl Iterator<Item = (u16, &mut Entry)> {
        let ids = 0_u16..;
        ids.zip(&mut self.entries).filter(|(_, entry)| {
            entry.is_used && !entry.is_over && !entry.is_left && entry.ending.is_none()
        })
    }

    pub(super) fn wake_driver(&self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    /// Nobody waits for an answer any more. The place at the upstream is given back when the
    /// worker has ended the request.
    pub(super) fn leave(&mut self, id: u16, slot: Option<Slot>) {
        let is_closed = self.is_closed;
        let Some(entry) = self.entry(id) else { return };
        let is_ended = entry.is_over && entry.is_sent;
        let is_over = entry.is_over;
        entry.clear();
        if is_closed || is_ended {
            entry.is_used = true;
            return self.free(id);
        }
        entry.is_used = true;
        entry.is_left = true;
        entry.is_sent = true;
        entry.slot = slot;
        if is_over {
            self.free(id);
        }
        frames::write_cancel(&mut self.out, id);
        self.wake_driver();
    }

    /// Takes the head of the answer, with the beginning of its body.
    pub(super) fn take_answer(&mut self, id: u16) -> Option<Answer> {
        let entry = self.entry(id)?;
        let mut answer = entry.answer.take()?;
        answer.is_whole = entry.is_over && entry.pieces.is_empty() && entry.ending.is_none();
        let size = answer.body.len();
        self.grant(id, size);
        Some(answer)
    }

    /// Takes a piece of the answer's body.
    pub(super) fn take_piece(&mut self, id: u16) -> Option<Piece> {
        let entry = self.entry(id)?;
        let piece = entry.pieces.pop_front()?;
        // From now on the worker is waited for, not the client.
        entry.is_heard = true;
        match &piece {
            Piece::Bytes(bytes) => self.grant(id, bytes.len()),
            Piece::File(_) => entry.files = entry.files.saturating_sub(1),
        }
        Some(piece)
    }

    /// Lets as many bytes come as were taken.
    fn grant(&mut self, id: u16, taken: usize) {
        let Some(entry) = self.entry(id) else { return };
        entry.owed = entry.owed.saturating_add(u32::try_from(taken).unwrap_or(u32::MAX));
        if entry.owed >= GRANT && !entry.is_over {
            let bytes = std::mem::take(&mut entry.owed);
            entry.allowance += bytes;
            frames::write_credit(&mut self.out, id, bytes);
            self.wake_driver();
        }
    }

    /// Ends all that waits, `ending` telling how, and frees what was left.
    pub(super) fn close(&mut self, mut ending: impl FnMut(u16) -> Ending) {
        self.is_closed = true;
        self.driver = None;
        for id in 0..u16::try_from(self.entries.len()).unwrap_or(u16::MAX) {
            let Some(entry) = self.entry(id) else { continue };
            if entry.is_left {
                self.free(id);
            } else if !entry.is_over && entry.ending.is_none() {
                entry.end(ending(id));
            }
        }
    }
}

/// What the worker says. Frames for an id that is not in use are ignored.
impl State {
    pub(super) fn answer(&mut self, id: u16, answer: Answer, is_last: bool) -> Heard {
        let Some(entry) = self.entry(id) else { return Ok(()) };
        if !entry.is_left {
            entry.spend(answer.body.len())?;
            if entry.answer.replace(answer).is_some() {
                return Err(FrameError::Malformed("a second answer to one request"));
            }
        }
        self.hear_last(id, is_last);
        Ok(())
    }

    pub(super) fn piece(&mut self, id: u16, bytes: Bytes, is_last: bool) -> Heard {
        let Some(entry) = self.entry(id) else { return Ok(()) };
        if !entry.is_left && !bytes.is_empty() {
            entry.spend(bytes.len())?;
            entry.pieces.push_back(Piece::Bytes(bytes));
        }
        self.hear_last(id, is_last);
        Ok(())
    }

    pub(super) fn file(&mut self, id: u16, file: FileBody, is_last: bool) -> Heard {
        let Some(entry) = self.entry(id) else { return Ok(()) };
        if !entry.is_left && file.length > 0 {
            if entry.files == MOST_FILES {
                return Err(FrameError::Malformed("more files than are taken at once"));
            }
            entry.files += 1;
            entry.pieces.push_back(Piece::File(file));
        }
        self.hear_last(id, is_last);
        Ok(())
    }

    pub(super) fn credit(&mut self, id: u16, bytes: u32) {
        let Some(entry) = self.entry(id) else { return };
        entry.credit += u64::from(bytes);
        entry.is_heard = true;
        if let Some(writer) = entry.writer.take() {
            writer.wake();
        }
    }

    /// What came for an id is of no use, whether or not more is to come.
    pub(super) fn fail(&mut self, id: u16, reason: Bytes, is_last: bool) {
        if let Some(entry) = self.entry(id)
            && !entry.is_left
            && entry.ending.is_none()
        {
            entry.ending = Some(Ending::Reset(reason));
        }
        self.hear_last(id, is_last);
    }

    /// Ends an id from the worker's side, if this was its last frame, and tells who waits.
    fn hear_last(&mut self, id: u16, is_last: bool) {
        let Some(entry) = self.entry(id) else { return };
        entry.is_over |= is_last;
        if entry.is_left && is_last {
            self.free(id);
        } else {
            entry.is_heard = true;
            entry.wake();
        }
    }
}

type Heard = Result<(), FrameError>;

impl Entry {
    fn new(since: Instant) -> Self {
        Self {
            is_used: false,
            reader: None,
            writer: None,
            answer: None,
            pieces: VecDeque::new(),
            files: 0,
            ending: None,
            credit: 0,
            allowance: FIRST_CREDIT,
            owed: 0,
            is_sent: false,
            is_over: false,
            is_left: false,
            is_paused: false,
            is_heard: false,
            since,
            time: Duration::ZERO,
            slot: None,
        }
    }

    /// Makes it as new, without giving its memory back.
    fn clear(&mut self) {
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.clear();
        *self = Self { pieces, ..Self::new(self.since) };
    }

    /// Uses up what the answer's body may bring.
    fn spend(&mut self, bytes: usize) -> Heard {
        let left = u32::try_from(bytes).ok().and_then(|bytes| self.allowance.checked_sub(bytes));
        self.allowance = left.ok_or(FrameError::Malformed("more body than credit"))?;
        Ok(())
    }

    /// Ends it from our side.
    pub(super) fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        let is_ended = self.is_over || self.ending.is_some();
        if is_ended && let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}
