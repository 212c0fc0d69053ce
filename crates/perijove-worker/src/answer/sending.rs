//! Sending the pieces of a body: against credit, in frames, long ones without a copy.

use std::os::fd::OwnedFd;

use pyo3::prelude::*;

use super::{Answer, BACKLOG, LONG, Stage, State, Unfinished};
use crate::{
    frames::{self, HEADER, Header, Kind, LARGEST, TRAY},
    lock,
    serve::Unmet,
    shelf::Tray,
};

impl Answer {
    /// Sends a piece of the body, before it the head when that is not sent yet. Waits for credit
    /// without the interpreter lock.
    pub(crate) fn send(
        &self,
        py: Python<'_>,
        body: &[u8],
        is_last: bool,
    ) -> Result<(), Unfinished> {
        let mut rest = self.cut(body);
        loop {
            if self.exchange.is_cancelled() {
                return Err(Unmet::Cancelled.into());
            }
            match self.send_some(py, rest, is_last)? {
                Some([]) => break,
                Some(after) => rest = after,
                None => self.wait_for(py, || self.exchange.has_credit())?,
            }
        }
        if self.exchange.connection().backlog() > BACKLOG {
            self.wait_for(py, || self.exchange.connection().backlog() < BACKLOG / 2)?;
        }
        Ok(())
    }

    /// What of a piece is within the announced length.
    fn cut<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        let mut state = lock(&self.state);
        if state.has_no_body {
            return &[];
        }
        match state.left {
            Some(left) if left < body.len() as u64 => {
                state.is_cut = true;
                usize::try_from(left).ok().and_then(|left| body.get(..left)).unwrap_or(body)
            }
            _ => body,
        }
    }

    fn wait_for(&self, py: Python<'_>, ready: impl Fn() -> bool + Sync) -> Result<(), Unmet> {
        py.detach(|| self.server.wait(&self.exchange, || ready().then_some(())))
    }

    /// Sends one piece. What of the body is left; `None` when there is no credit.
    fn send_some<'a>(
        &self,
        py: Python<'_>,
        body: &'a [u8],
        is_last: bool,
    ) -> Result<Option<&'a [u8]>, Unfinished> {
        if body.len() < LONG {
            return self.send_frame(body, is_last);
        }
        let shelf = self.exchange.connection().shelf();
        match shelf.and_then(|shelf| shelf.take(body.len().min(TRAY))) {
            Some(tray) => self.send_on(tray, body, is_last),
            // The system copies it from where it lies, which takes a while.
            None => py.detach(|| self.send_frame(body, is_last)),
        }
    }

    /// Takes from the credit for at most `most` bytes of a body. How many bytes of it go now, and
    /// whether the answer ends with them.
    fn begin_piece(
        &self,
        state: &mut State,
        most: usize,
        (body, is_last): (usize, bool),
    ) -> Result<Option<(usize, bool)>, Unfinished> {
        // An application may keep `write`. By then the id may be another request's.
        if state.stage == Stage::Ended {
            return Err(Unfinished::Ended);
        }
        let count = self.exchange.spend(body.min(most));
        if count == 0 && body > 0 {
            return Ok(None);
        }
        if let Some(left) = &mut state.left {
            *left = left.saturating_sub(count as u64);
        }
        Ok(Some((count, is_last && count == body)))
    }

    /// Sends a piece of a long body by way of the shelf.
    fn send_on<'a>(
        &self,
        mut tray: Tray,
        body: &'a [u8],
        is_last: bool,
    ) -> Result<Option<&'a [u8]>, Unfinished> {
        let mut state = lock(&self.state);
        let begun = self.begin_piece(&mut state, TRAY, (body.len(), is_last))?;
        let Some((count, is_last)) = begun else { return Ok(None) };
        let (now, after) = body.split_at_checked(count).unwrap_or((body, b""));
        tray.fill(now);
        let (id, head) = (self.exchange.id(), &state.head);
        let is_first = state.stage == Stage::Started;
        let position = self.exchange.connection().put(|outgoing| {
            if is_first {
                frames::write_response(outgoing.buffer(), id, false, head.status, &head.fields, 0);
            }
            let position = outgoing.position();
            let (number, length) = tray.hand_over();
            outgoing.frame(Kind::TrayOut, is_last, id, &frames::tray(number, length));
            position
        });
        state.last_frame = Some(position);
        state.stage = if is_last { Stage::Ended } else { Stage::Sent };
        Ok(Some(after))
    }

    /// Sends a piece in a frame.
    fn send_frame<'a>(
        &self,
        body: &'a [u8],
        is_last: bool,
    ) -> Result<Option<&'a [u8]>, Unfinished> {
        let mut state = lock(&self.state);
        let is_first = state.stage == Stage::Started;
        let room = if is_first { frames::room_beside(&state.head.fields) } else { LARGEST };
        let begun = self.begin_piece(&mut state, room, (body.len(), is_last))?;
        let Some((count, is_last)) = begun else { return Ok(None) };
        let (now, after) = body.split_at_checked(count).unwrap_or((body, b""));
        if is_first || is_last || count > 0 {
            self.write(&mut state, is_first, is_last, now);
            state.stage = if is_last { Stage::Ended } else { Stage::Sent };
        }
        Ok(Some(after))
    }

    /// Writes a frame, with the body from where that lies when it is long. The state is held until
    /// then, so that no other frame of this answer comes in between.
    fn write(&self, state: &mut State, is_first: bool, is_last: bool, body: &[u8]) {
        let id = self.exchange.id();
        let (status, fields) = (state.head.status, &state.head.fields);
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
            state.last_frame = None;
            if self.exchange.connection().send(&head, body) {
                self.server.interrupt();
            }
            return;
        }
        let last_frame = state.last_frame;
        let position = self.exchange.connection().put(|outgoing| {
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
        state.last_frame = Some(position);
    }

    /// Sends a piece of a file as the whole body, through its descriptor.
    pub(crate) fn send_file(
        &self,
        py: Python<'_>,
        file: OwnedFd,
        offset: u64,
        length: u64,
    ) -> Result<(), Unfinished> {
        let mut state = lock(&self.state);
        if state.stage != Stage::Started {
            return Err(Unfinished::NotStarted);
        }
        if !state.head.has_no_body() {
            state.head.set_length(length);
        }
        let announced = state.head.length.unwrap_or(length);
        let count = if state.has_no_body { 0 } else { length.min(announced) };
        if count == 0 && (announced == 0 || state.has_no_body) {
            drop(state);
            return self.send_all(py, b"");
        }
        let is_last = count == announced;
        let (id, status) = (self.exchange.id(), state.head.status);
        let fields = std::mem::take(&mut state.head.fields);
        state.left = Some(announced - count);
        state.stage = if is_last { Stage::Ended } else { Stage::Sent };
        self.exchange.connection().put(|outgoing| {
            frames::write_response(outgoing.buffer(), id, false, status, &fields, 0);
            outgoing.file(is_last, id, file, offset, count);
        });
        if is_last { Ok(()) } else { Err(Unfinished::Short(announced - count)) }
    }
}
