//! The answer to one request on its way out: head, length, credit, what waits for credit.

use std::{collections::VecDeque, fmt, os::fd::OwnedFd};

use pyo3::pybacked::PyBackedBytes;

use crate::{
    connection::Connection,
    frames::{self, FIRST_CREDIT, HEADER, Header, Kind, LARGEST, TRAY},
    head::Head,
    shelf::Tray,
};

/// Pieces from this length on are sent without being copied.
const LONG: usize = 32 << 10;

/// The answer to one request.
#[derive(Debug)]
pub(super) struct Answer {
    id: u16,
    is_head_request: bool,
    stage: Stage,
    head: Head,
    /// Nothing of the body is sent.
    has_no_body: bool,
    /// What may still come by the announced length.
    left: Option<u64>,
    /// Bytes of the body that may be sent.
    credit: u64,
    /// What the application has sent beyond that.
    waiting: VecDeque<Waiting>,
    /// Position in the stream of the last frame.
    last_frame: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    bytes: PyBackedBytes,
    sent: usize,
    is_last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Unstarted,
    /// The head is there; it is sent with the first piece of the body.
    Started,
    Sent,
    /// The application has sent all; some of it may wait for credit.
    Complete,
    Ended,
}

/// What an application did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    NotStarted,
    Twice,
    Complete,
    TooLong(u64),
    Short(u64),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str(
                "the application sent 'http.response.body' without 'http.response.start' before it",
            ),
            Self::Twice => f.write_str("the application sent 'http.response.start' twice"),
            Self::Complete => f.write_str("the application sent more after the end of its answer"),
            Self::TooLong(more) => {
                write!(f, "the application sent {more} bytes more than its Content-Length says")
            }
            Self::Short(missing) => {
                write!(f, "the application sent {missing} bytes less than its Content-Length says")
            }
        }
    }
}

impl Answer {
    pub(super) fn new(id: u16, is_head_request: bool) -> Self {
        Self {
            id,
            is_head_request,
            stage: Stage::Unstarted,
            head: Head::default(),
            has_no_body: false,
            left: None,
            credit: FIRST_CREDIT,
            waiting: VecDeque::new(),
            last_frame: None,
        }
    }

    /// True while nothing of it was sent, so that another answer may take its place.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self.stage, Stage::Unstarted | Stage::Started)
    }

    /// True when the application has sent all of it.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Complete | Stage::Ended)
    }

    /// True when something waits for credit.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes the head.
    pub(super) fn start(&mut self, head: Head) -> Result<(), Wrong> {
        if self.stage != Stage::Unstarted {
            return Err(if self.is_complete() { Wrong::Complete } else { Wrong::Twice });
        }
        self.replace(head);
        Ok(())
    }

    /// Takes a head in place of the one that was not sent.
    pub(super) fn replace(&mut self, head: Head) {
        self.has_no_body = self.is_head_request || head.has_no_body();
        self.left = head.length;
        self.head = head;
        self.stage = Stage::Started;
    }

    /// Sends a piece of the body, as far as there is credit.
    pub(super) fn body(
        &mut self,
        connection: &Connection,
        bytes: PyBackedBytes,
        is_last: bool,
    ) -> Result<Sending, Wrong> {
        self.check(&bytes, is_last)?;
        if is_last {
            // Of HEAD's answer only the application knows how long it would be.
            if self.stage == Stage::Started && !self.is_head_request && !self.head.has_no_body() {
                self.head.set_length(bytes.len() as u64);
            }
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes.len() as u64);
        }
        self.waiting.push_back(Waiting { bytes, sent: 0, is_last });
        let sending = self.advance(connection);
        if is_last && self.stage != Stage::Ended {
            self.stage = Stage::Complete;
        }
        Ok(sending)
    }

    fn check(&self, bytes: &[u8], is_last: bool) -> Result<(), Wrong> {
        match self.stage {
            Stage::Unstarted => return Err(Wrong::NotStarted),
            Stage::Complete | Stage::Ended => return Err(Wrong::Complete),
            Stage::Started | Stage::Sent => {}
        }
        let Some(left) = self.left.filter(|_| !self.has_no_body) else { return Ok(()) };
        let count = bytes.len() as u64;
        if count > left {
            return Err(Wrong::TooLong(count - left));
        }
        if is_last && count < left {
            return Err(Wrong::Short(left - count));
        }
        Ok(())
    }

    /// Sends a piece of a file as the whole body, through its descriptor.
    pub(super) fn file(
        &mut self,
        connection: &Connection,
        file: OwnedFd,
        length: u64,
    ) -> Result<(), Wrong> {
        self.check(b"", false)?;
        if self.stage != Stage::Started {
            return Err(Wrong::Twice);
        }
        let announced = self.head.length.unwrap_or(length);
        if !self.has_no_body && announced != length {
            let (more, missing) =
                (length.checked_sub(announced), announced - length.min(announced));
            return Err(more.map_or(Wrong::Short(missing), Wrong::TooLong));
        }
        if !self.head.has_no_body() {
            self.head.set_length(length);
        }
        let is_empty = self.has_no_body || length == 0;
        let (id, status, fields) = (self.id, self.head.status, &self.head.fields);
        connection.put(|outgoing| {
            frames::write_response(outgoing.buffer(), id, is_empty, status, fields, 0);
            if !is_empty {
                outgoing.file(true, id, file, 0, length);
            }
        });
        self.stage = Stage::Ended;
        Ok(())
    }

    /// Lets so many more bytes be sent, and sends what waits.
    pub(super) fn grant(&mut self, connection: &Connection, bytes: u32) -> Sending {
        self.credit = self.credit.saturating_add(u64::from(bytes));
        self.advance(connection)
    }

    /// Sends what waits, as far as there is credit.
    fn advance(&mut self, connection: &Connection) -> Sending {
        let mut sending = Sending::default();
        while let Some(mut piece) = self.waiting.pop_front() {
            let is_done = self.send(connection, &mut piece, &mut sending);
            if !is_done {
                self.waiting.push_front(piece);
                break;
            }
        }
        sending
    }

    /// Sends frames of a piece; true when all of it is sent.
    fn send(
        &mut self,
        connection: &Connection,
        piece: &mut Waiting,
        sending: &mut Sending,
    ) -> bool {
        loop {
            let rest = piece.bytes.get(piece.sent..).unwrap_or_default();
            let rest = if self.has_no_body { &[] } else { rest };
            let is_first = self.stage == Stage::Started;
            let tray = self.tray_for(connection, rest);
            let room = match tray {
                Some(_) => TRAY,
                None if is_first => frames::room_beside(&self.head.fields),
                None => LARGEST,
            };
            let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
            let count = rest.len().min(room).min(credit);
            if count == 0 && !rest.is_empty() {
                return false;
            }
            let is_end = count == rest.len();
            let is_last = piece.is_last && is_end;
            if is_first || is_last || count > 0 {
                let now = rest.get(..count).unwrap_or_default();
                match tray {
                    Some(tray) => self.lay(connection, tray, now, is_last),
                    None => self.write(connection, now, is_last, sending),
                }
                self.stage = if is_last { Stage::Ended } else { Stage::Sent };
            }
            self.credit -= count as u64;
            piece.sent += count;
            if is_end {
                return true;
            }
        }
    }

    /// A tray for a piece that is worth one.
    fn tray_for(&self, connection: &Connection, piece: &[u8]) -> Option<Tray> {
        let is_long = piece.len() >= LONG && self.credit >= LONG as u64;
        let shelf = connection.shelf().filter(|_| is_long)?;
        shelf.take(piece.len().min(TRAY))
    }

    /// Lays a piece on a tray, which the gateway takes it from.
    fn lay(&mut self, connection: &Connection, mut tray: Tray, piece: &[u8], is_last: bool) {
        tray.fill(piece);
        let (id, head) = (self.id, &self.head);
        let is_first = self.stage == Stage::Started;
        let position = connection.put(|outgoing| {
            if is_first {
                frames::write_response(outgoing.buffer(), id, false, head.status, &head.fields, 0);
            }
            let position = outgoing.position();
            let (number, length) = tray.hand_over();
            outgoing.frame(Kind::TrayOut, is_last, id, &frames::tray(number, length));
            position
        });
        self.last_frame = Some(position);
    }

    /// Writes one frame; a long one is handed to the system at once, from where its body lies.
    fn write(
        &mut self,
        connection: &Connection,
        body: &[u8],
        is_last: bool,
        sending: &mut Sending,
    ) {
        let (id, status, fields) = (self.id, self.head.status, &self.head.fields);
        let is_first = self.stage == Stage::Started;
        let write_head = |buffer: &mut Vec<u8>| {
            if is_first {
                frames::write_response(buffer, id, is_last, status, fields, body.len());
            } else {
                let header = Header { length: body.len(), kind: Kind::BodyOut, is_last, id };
                buffer.extend_from_slice(&header.bytes());
            }
        };
        if body.len() >= LONG {
            let mut head = Vec::with_capacity(HEADER + 8 + fields.len());
            write_head(&mut head);
            self.last_frame = None;
            sending.needs_watching |= connection.send(&head, body);
            return;
        }
        let last_frame = self.last_frame;
        let position = connection.put(|outgoing| {
            if let Some(position) = last_frame
                && outgoing.extend(position, body, is_last)
            {
                return position;
            }
            let position = outgoing.position();
            write_head(outgoing.buffer());
            outgoing.buffer().extend_from_slice(body);
            position
        });
        self.last_frame = Some(position);
    }

    /// Ends the answer without its rest. False when it has ended.
    pub(super) fn reset(&mut self, connection: &Connection, reason: &str) -> bool {
        if self.stage == Stage::Ended {
            return false;
        }
        self.stage = Stage::Ended;
        self.waiting.clear();
        connection.reset(self.id, reason);
        true
    }
}

/// What sending asks of the caller.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// The gateway does not read, and the connection has to be watched for room.
    pub(super) needs_watching: bool,
}
