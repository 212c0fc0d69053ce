//! The answer to one request, while it is sent: head, body, length, credit.

mod sending;

use std::sync::{Arc, Mutex};

use pyo3::prelude::*;

use crate::{
    exchange::Exchange,
    frames::Kind,
    head::Head,
    lock,
    serve::{Server, Unmet},
};

/// Pieces from this length on are sent without being copied.
const LONG: usize = 32 << 10;
/// The gateway does not read while so many bytes wait for it: then the application waits, too.
const BACKLOG: usize = 1 << 20;

/// The answer to one request.
#[derive(Debug)]
pub(crate) struct Answer {
    server: Arc<Server>,
    exchange: Arc<Exchange>,
    is_head_request: bool,
    /// Held while frames are written, never while waiting.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    head: Head,
    /// Nothing of the body is sent.
    has_no_body: bool,
    /// What may still come by the announced length.
    left: Option<u64>,
    /// The application sent more than it announced.
    is_cut: bool,
    /// Position in the stream of the last frame.
    last_frame: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// `start_response` has yet to be called.
    Unstarted,
    /// The head is there and may still be replaced.
    Started,
    /// The head is sent.
    Sent,
    Ended,
}

/// Why an answer could not be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfinished {
    NotStarted,
    /// So many bytes of the announced length are missing.
    Short(u64),
    Ended,
    Unmet(Unmet),
}

impl From<Unmet> for Unfinished {
    fn from(unmet: Unmet) -> Self {
        Self::Unmet(unmet)
    }
}

impl Answer {
    pub(crate) fn new(server: Arc<Server>, exchange: Arc<Exchange>, is_head_request: bool) -> Self {
        let state = State {
            stage: Stage::Unstarted,
            head: Head::default(),
            has_no_body: false,
            left: None,
            is_cut: false,
            last_frame: None,
        };
        Self { server, exchange, is_head_request, state: Mutex::new(state) }
    }

    /// Takes a head. False when it comes too late: another one is sent, or (unless it is to
    /// `replace` that) given.
    pub(crate) fn start(&self, head: Head, replace: bool) -> bool {
        let mut state = lock(&self.state);
        let is_early = match state.stage {
            Stage::Unstarted => true,
            Stage::Started => replace,
            Stage::Sent | Stage::Ended => false,
        };
        if is_early {
            state.has_no_body = self.is_head_request || head.has_no_body();
            state.left = head.length;
            state.head = head;
            state.stage = Stage::Started;
        }
        is_early
    }

    pub(crate) fn is_started(&self) -> bool {
        lock(&self.state).stage != Stage::Unstarted
    }

    pub(crate) fn is_sent(&self) -> bool {
        matches!(lock(&self.state).stage, Stage::Sent | Stage::Ended)
    }

    /// True when nothing that the application may still produce would be sent.
    pub(crate) fn wants_nothing(&self) -> bool {
        let state = lock(&self.state);
        state.stage != Stage::Unstarted && state.has_no_body
    }

    /// True when the application sent more than it announced, which was cut.
    pub(crate) fn is_cut(&self) -> bool {
        lock(&self.state).is_cut
    }

    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Tells the length of the whole body, when the application did not, and it is not too late.
    pub(crate) fn announce(&self, length: u64) {
        let mut state = lock(&self.state);
        if state.stage == Stage::Started && !state.head.has_no_body() {
            state.head.set_length(length);
            state.left = state.head.length;
        }
    }

    /// Sends the whole body, and with it the end.
    pub(crate) fn send_all(&self, py: Python<'_>, body: &[u8]) -> Result<(), Unfinished> {
        if !self.is_started() {
            return Err(Unfinished::NotStarted);
        }
        self.announce(body.len() as u64);
        let is_short = self.missing_after(body.len());
        self.send(py, body, is_short.is_none())?;
        match is_short {
            Some(missing) => Err(Unfinished::Short(missing)),
            None => Ok(()),
        }
    }

    fn missing_after(&self, length: usize) -> Option<u64> {
        let state = lock(&self.state);
        if state.has_no_body {
            return None;
        }
        state.left.and_then(|left| left.checked_sub(length as u64)).filter(|missing| *missing > 0)
    }

    /// Ends the answer after all pieces were sent.
    pub(crate) fn finish(&self, py: Python<'_>) -> Result<(), Unfinished> {
        let stage = lock(&self.state).stage;
        match stage {
            Stage::Unstarted => return Err(Unfinished::NotStarted),
            // How long the answer to a GET would be is not known.
            Stage::Started if self.is_head_request => return self.send(py, b"", true),
            Stage::Started => return self.send_all(py, b""),
            Stage::Sent => {}
            Stage::Ended => return Ok(()),
        }
        if let Some(missing) = self.missing_after(0) {
            return Err(Unfinished::Short(missing));
        }
        let mut state = lock(&self.state);
        let id = self.exchange.id();
        self.exchange.connection().put(|outgoing| {
            if !state.last_frame.is_some_and(|position| outgoing.mark_last(position)) {
                outgoing.frame(Kind::BodyOut, true, id, b"");
            }
        });
        state.stage = Stage::Ended;
        Ok(())
    }

    /// Ends the answer without its rest.
    pub(crate) fn reset(&self, reason: &str) {
        let mut state = lock(&self.state);
        if state.stage != Stage::Ended {
            state.stage = Stage::Ended;
            self.exchange.connection().reset(self.exchange.id(), reason);
        }
    }
}
