//! One websocket as the application sees it: `receive` and `send`, and how it ends.
//!
//! ```text
//!               accept                  close, Close, end
//!   Handshake ──────────▶ Open(codec) ────────────────────▶ Over
//!       │                                                     ▲
//!       └── close, websocket.http.response, failure ──────────┘
//! ```

mod inbox;
mod refusal;

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::{Arc, Mutex},
};

use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    intern,
    prelude::*,
    types::{PyDict, PyString},
};

use super::{
    awaited::{Awaitable, Awaited, Future, Look, join, wake_all},
    codec::{Codec, Found},
    event::Event,
    exchange::{comes_from_disconnection, gone, unexpected},
    shared::Shared,
};
use crate::{
    frames::{self, Kind, Request},
    head::Head,
    lock,
};
use inbox::Inbox;
use refusal::Refusal;

/// Seconds that a peer may take to answer our close.
const CLOSING_TIME: f64 = 10.0;
/// The application failed.
const FAILED: u16 = 1011;
const NORMAL: u16 = 1000;
const ABNORMAL: u16 = 1006;

/// One websocket.
#[pyclass(frozen, module = "perijove._worker")]
#[derive(Debug)]
pub(super) struct Websocket {
    shared: Arc<Shared>,
    descriptor: RawFd,
    /// Held for moments, and never while Python code may run.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    inbox: Inbox,
    is_reading: bool,
    is_watching_room: bool,
    /// The application sent a close, or returned.
    is_closed: bool,
    /// The application has returned.
    is_over: bool,
    waiters: Vec<Future>,
    task: Option<Py<PyAny>>,
}

impl State {
    /// Why the handshake cannot be answered any more.
    fn late(&self) -> PyErr {
        // Who has left before is no fault of the application.
        if self.inbox.is_closed() && !self.is_closed {
            return gone();
        }
        PyRuntimeError::new_err("the websocket was accepted or refused before")
    }
}

#[derive(Debug)]
enum Stage {
    Handshake { socket: OwnedFd, refusal: Option<Refusal> },
    Open(Box<Codec>),
    Over,
}

impl Websocket {
    /// Enters the application for a connection that asks to become a websocket.
    pub(super) fn open(
        py: Python<'_>,
        shared: &Arc<Shared>,
        socket: OwnedFd,
        request: &Request,
    ) -> PyResult<()> {
        // From now on nobody else may be asked. A gateway that is gone is seen by its end.
        let mut entered = Vec::new();
        frames::write(&mut entered, Kind::Entered, false, 0, b"");
        let _written = rustix::io::write(&socket, &entered);
        let descriptor = socket.as_raw_fd();
        let state = State {
            stage: Stage::Handshake { socket, refusal: None },
            inbox: Inbox::default(),
            is_reading: true,
            is_watching_room: false,
            is_closed: false,
            is_over: false,
            waiters: Vec::new(),
            task: None,
        };
        let websocket =
            Bound::new(py, Self { shared: shared.clone(), descriptor, state: Mutex::new(state) })?;
        shared.host.watch(py, descriptor, websocket.getattr(intern!(py, "readable"))?)?;
        shared.add_websocket(websocket.clone().unbind());
        match shared.begin(py, request, true, websocket.clone().into_any()) {
            Ok(task) => {
                let is_over = lock(&websocket.get().state).is_over;
                if !is_over {
                    shared.hold(py, &task);
                    lock(&websocket.get().state).task = Some(task);
                }
                Ok(())
            }
            Err(error) => {
                shared.host.report(py, error);
                Self::drop_socket(&websocket)
            }
        }
    }

    /// Closes it, and tells the application so.
    pub(super) fn close_for(&self, py: Python<'_>, code: u16, reason: &str) {
        let waiters = {
            let mut state = lock(&self.state);
            if let Stage::Open(codec) = &mut state.stage {
                codec.close(code, reason);
            }
            state.inbox.close(code, reason);
            std::mem::take(&mut state.waiters)
        };
        wake_all(py, waiters);
    }

    /// Lets the connection go.
    fn drop_socket(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let (stage, is_reading, is_watching_room) = {
            let mut state = lock(&this.state);
            state.inbox.close(ABNORMAL, "");
            let stage = std::mem::replace(&mut state.stage, Stage::Over);
            (
                stage,
                std::mem::take(&mut state.is_reading),
                std::mem::take(&mut state.is_watching_room),
            )
        };
        if is_reading {
            this.shared.host.unwatch(py, this.descriptor)?;
        }
        if is_watching_room {
            this.shared.host.unwatch_room(py, this.descriptor)?;
        }
        drop(stage);
        this.shared.forget_websocket(slf);
        let waiters = std::mem::take(&mut lock(&this.state).waiters);
        wake_all(py, waiters);
        Ok(())
    }

    /// Takes what has come, until the application has enough to do.
    fn pump(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let (waiters, is_over, is_full, is_blocked) = {
            let mut state = lock(&this.state);
            let State { stage, inbox, waiters, .. } = &mut *state;
            let Stage::Open(codec) = stage else { return Ok(()) };
            let mut is_over = false;
            while !inbox.is_full() {
                match codec.next() {
                    Found::Came(came) => inbox.push(came),
                    Found::Nothing => break,
                    Found::Over => {
                        is_over = true;
                        break;
                    }
                }
            }
            // Pongs, and the answer to a close, may have found no room.
            let is_blocked = !is_over && codec.flush();
            let waiters = if inbox.is_empty() { Vec::new() } else { std::mem::take(waiters) };
            (waiters, is_over, inbox.is_full(), is_blocked)
        };
        wake_all(py, waiters);
        if is_over {
            return Self::drop_socket(slf);
        }
        if is_full && std::mem::take(&mut lock(&this.state).is_reading) {
            this.shared.host.unwatch(py, this.descriptor)?;
        }
        if is_blocked { Self::watch_room(slf) } else { Ok(()) }
    }

    fn watch_room(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        if std::mem::replace(&mut lock(&this.state).is_watching_room, true) {
            return Ok(());
        }
        let writable = slf.getattr(intern!(py, "writable"))?;
        this.shared.host.watch_room(py, this.descriptor, writable)
    }

    /// Looks for the next event, for a coroutine that waits.
    pub(super) fn look_for_event<'py>(slf: &Bound<'py, Self>) -> PyResult<Look<'py>> {
        let (py, this) = (slf.py(), slf.get());
        match Self::event(slf)? {
            Some(event) => Ok(Look::Ready(event.into_any())),
            None => this.wait(py),
        }
    }

    /// Looks whether what was sent is on its way, for a coroutine that waits.
    pub(super) fn look_for_room<'py>(&self, py: Python<'py>) -> PyResult<Look<'py>> {
        let is_full = match &lock(&self.state).stage {
            Stage::Open(codec) => codec.is_blocked(),
            Stage::Over => return Err(gone()),
            Stage::Handshake { .. } => false,
        };
        if is_full { self.wait(py) } else { Ok(Look::Ready(py.None().into_bound(py))) }
    }

    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Look<'py>> {
        let future = self.shared.host.future(py)?;
        // Python may run while it is looked who else waits: not under the lock.
        let mut waiters = std::mem::take(&mut lock(&self.state).waiters);
        join(py, &mut waiters, future.clone_ref(py));
        lock(&self.state).waiters.append(&mut waiters);
        Ok(Look::Wait(future))
    }

    /// The next event, as far as it is there.
    fn event<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let (py, this) = (slf.py(), slf.get());
        let (said, resumes) = {
            let mut state = lock(&this.state);
            let said = state.inbox.take();
            let is_open = matches!(state.stage, Stage::Open(_));
            let resumes = is_open && !state.is_reading && state.inbox.has_room();
            state.is_reading |= resumes;
            (said, resumes)
        };
        if resumes {
            let readable = slf.getattr(intern!(py, "readable"))?;
            this.shared.host.watch(py, this.descriptor, readable)?;
            // Some of it may have been read already.
            Self::pump(slf)?;
        }
        said.map(|said| said.event(py)).transpose()
    }

    fn accept(slf: &Bound<'_, Self>, event: &Event<'_, '_>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let mut head = event.head(101, intern!(py, "headers"))?;
        if let Some(protocol) = event.text(intern!(py, "subprotocol"))? {
            let protocol = protocol.to_str()?;
            head.add("Sec-WebSocket-Protocol", protocol).map_err(super::event::refused)?;
        }
        let mut state = lock(&this.state);
        match std::mem::replace(&mut state.stage, Stage::Over) {
            Stage::Handshake { socket, refusal: None } => {
                if answer(&socket, &head, b"") {
                    let codec = Codec::new(socket, this.shared.limits.message);
                    state.stage = Stage::Open(Box::new(codec));
                } else {
                    state.stage = Stage::Handshake { socket, refusal: None };
                    state.inbox.close(ABNORMAL, "");
                }
                Ok(())
            }
            other => {
                state.stage = other;
                Err(state.late())
            }
        }
    }

    /// Refuses the handshake with an answer of its own.
    fn refuse(slf: &Bound<'_, Self>, head: &Head, body: &[u8]) -> PyResult<()> {
        {
            let mut state = lock(&slf.get().state);
            if let Stage::Handshake { socket, .. } = &state.stage {
                // A gateway that is gone needs no answer.
                let _is_sent = answer(socket, head, body);
            }
            state.is_closed = true;
        }
        Self::drop_socket(slf)
    }

    fn message(slf: &Bound<'_, Self>, event: &Event<'_, '_>) -> PyResult<bool> {
        let (py, this) = (slf.py(), slf.get());
        let text = event.text(intern!(py, "text"))?;
        let bytes = event.get(intern!(py, "bytes"))?;
        if text.is_none() && bytes.is_none() {
            return Err(PyValueError::new_err("'websocket.send' has neither 'text' nor 'bytes'"));
        }
        let bytes = event.bytes(intern!(py, "bytes"))?;
        let text = text.as_ref().map(|text| text.to_str()).transpose()?;
        let mut state = lock(&this.state);
        if state.is_closed {
            return Err(PyRuntimeError::new_err("'websocket.send' after 'websocket.close'"));
        }
        if state.inbox.is_closed() {
            return Err(gone());
        }
        let Stage::Open(codec) = &mut state.stage else {
            return Err(PyRuntimeError::new_err("'websocket.send' before 'websocket.accept'"));
        };
        let sent = match text {
            Some(text) => codec.send_text(text),
            None => codec.send_binary(&bytes),
        };
        sent.map_err(|_| gone())?;
        Ok(codec.is_blocked())
    }

    fn close(slf: &Bound<'_, Self>, code: u16, reason: &str) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let is_handshake = {
            let mut state = lock(&this.state);
            if std::mem::replace(&mut state.is_closed, true) {
                return Ok(());
            }
            match &mut state.stage {
                Stage::Open(codec) => {
                    codec.close(code, reason);
                    false
                }
                Stage::Handshake { .. } => true,
                Stage::Over => return Ok(()),
            }
        };
        if is_handshake {
            let head = Head { status: 403, ..Head::default() };
            return Self::refuse(slf, &head, b"");
        }
        this.shared.host.later(py, CLOSING_TIME, slf.getattr(intern!(py, "give_up"))?)?;
        Self::pump(slf)
    }

    /// The application has returned, or failed.
    fn end(slf: &Bound<'_, Self>, code: u16, what: &str) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let task = {
            let mut state = lock(&this.state);
            state.is_over = true;
            state.task.take()
        };
        let is_handshake = matches!(lock(&this.state).stage, Stage::Handshake { .. });
        if is_handshake {
            let (head, page) = refusal::failure();
            Self::refuse(slf, &head, page)?;
        } else {
            Self::close(slf, code, what)?;
        }
        this.shared.leave(py, task);
        Ok(())
    }
}

#[pymethods]
impl Websocket {
    /// The next event of the websocket.
    ///
    /// Taken when it is awaited: a task that is cancelled before it begins has taken nothing.
    fn receive(slf: &Bound<'_, Self>) -> Awaitable {
        Awaitable::new(Awaited::OfWebsocket(slf.clone().unbind()))
    }

    /// Sends an event.
    #[pyo3(signature = (event, /))]
    fn send<'py>(slf: &Bound<'py, Self>, event: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let event = Event::new(event)?;
        let kind: Bound<'_, PyString> = event.kind(intern!(py, "type"))?;
        match kind.to_str()? {
            "websocket.send" => {
                if Self::message(slf, &event)? {
                    Self::watch_room(slf)?;
                    let is_full = match &lock(&this.state).stage {
                        Stage::Open(codec) => codec.is_full(),
                        _ => false,
                    };
                    if is_full {
                        let awaitable =
                            Awaitable::new(Awaited::SentToWebsocket(slf.clone().unbind()));
                        return Ok(Bound::new(py, awaitable)?.into_any());
                    }
                }
            }
            "websocket.accept" => Self::accept(slf, &event)?,
            "websocket.close" => {
                let (code, reason) = closing(&event, py)?;
                Self::close(slf, code, &reason)?;
            }
            "websocket.http.response.start" => refusal::start(slf, &event)?,
            "websocket.http.response.body" => refusal::body(slf, &event)?,
            other => return Err(unexpected(other)),
        }
        Ok(this.shared.host.done.bind(py).clone().into_any())
    }

    /// The application has returned.
    fn finish(slf: &Bound<'_, Self>) -> PyResult<()> {
        let is_unanswered = {
            let state = lock(&slf.get().state);
            matches!(state.stage, Stage::Handshake { .. }) && !state.inbox.is_closed()
        };
        if is_unanswered {
            let what = "the application returned without accepting or refusing the websocket";
            slf.get().shared.host.report(slf.py(), PyRuntimeError::new_err(what));
        }
        Self::end(slf, NORMAL, "")
    }

    /// The application has raised.
    fn fail(slf: &Bound<'_, Self>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let error = PyErr::from_value(error.clone());
        let is_gone = lock(&slf.get().state).inbox.is_closed();
        if !(is_gone && comes_from_disconnection(py, &error)) {
            slf.get().shared.host.report(py, error);
        }
        Self::end(slf, FAILED, "the application failed")
    }

    fn readable(slf: &Bound<'_, Self>) -> PyResult<()> {
        let is_handshake = matches!(lock(&slf.get().state).stage, Stage::Handshake { .. });
        // Before the handshake nothing can come but the end.
        if is_handshake { Self::drop_socket(slf) } else { Self::pump(slf) }
    }

    fn writable(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let waiters = {
            let mut state = lock(&this.state);
            if let Stage::Open(codec) = &mut state.stage
                && codec.flush()
            {
                return Ok(());
            }
            state.is_watching_room = false;
            std::mem::take(&mut state.waiters)
        };
        this.shared.host.unwatch_room(py, this.descriptor)?;
        wake_all(py, waiters);
        Self::pump(slf)
    }

    /// The peer took too long to answer our close.
    fn give_up(slf: &Bound<'_, Self>) -> PyResult<()> {
        let is_over = matches!(lock(&slf.get().state).stage, Stage::Over);
        if is_over { Ok(()) } else { Self::drop_socket(slf) }
    }
}

/// Code and reason of a `websocket.close`.
fn closing(event: &Event<'_, '_>, py: Python<'_>) -> PyResult<(u16, String)> {
    let code = match event.get(intern!(py, "code"))? {
        Some(code) => code.extract()?,
        None => NORMAL,
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        let what = format!("{code} is no code that a websocket can be closed with");
        return Err(PyValueError::new_err(what));
    }
    let reason = event.text(intern!(py, "reason"))?;
    let reason = reason.map(|text| text.to_str().map(ToOwned::to_owned)).transpose()?;
    let mut reason = reason.unwrap_or_default();
    // The frame of a close has room for so many bytes (RFC 6455 5.5).
    while reason.len() > 123 {
        reason.pop();
    }
    Ok((code, reason))
}

/// Answers the gateway's opening frame; false when it is gone.
fn answer(socket: impl AsFd, head: &Head, body: &[u8]) -> bool {
    let mut frame = Vec::new();
    frames::write_response(&mut frame, 0, true, head.status, &head.fields, body.len());
    frame.extend_from_slice(body);
    // Nothing else was written so far: the system takes it at once, up to its buffer's size.
    rustix::io::write(socket, &frame).is_ok_and(|count| count == frame.len())
}
