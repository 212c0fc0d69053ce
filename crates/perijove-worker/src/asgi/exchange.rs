//! One HTTP request as the application sees it: `receive` and `send`, and how it ends.

use std::sync::{Arc, Mutex};

use pyo3::{
    exceptions::{PyBrokenPipeError, PyOSError, PyRuntimeError, PyValueError},
    intern,
    prelude::*,
    types::{PyBytes, PyDict},
};

use super::{
    answer::{Answer, Sending},
    awaited::{Awaitable, Awaited, Future, Look, join, wake_all},
    event::{Event, refused},
    link::Link,
    shared::Shared,
    upload::{Taken, Upload},
};
use crate::{
    exchange::Piece,
    frames::{Kind, Request},
    head::Head,
    lock,
    respond::{FAILURE, FAILURE_PAGE},
};

/// What is answered for an application that takes too long.
const TOO_LONG: &str = "the request took too long\n";

/// One HTTP request.
#[pyclass(frozen, module = "perijove._worker")]
#[derive(Debug)]
pub(super) struct Exchange {
    shared: Arc<Shared>,
    link: Py<Link>,
    id: u16,
    /// Held for moments, and never while Python code may run.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    upload: Upload,
    answer: Answer,
    /// Nobody waits for the answer any more.
    is_gone: bool,
    /// The application has returned.
    is_over: bool,
    waiters: Vec<Future>,
    task: Option<Py<PyAny>>,
}

impl Exchange {
    /// A request whose beginning of a body is `first`.
    pub(super) fn new(
        shared: &Arc<Shared>,
        link: Py<Link>,
        id: u16,
        request: &Request,
        is_last: bool,
    ) -> Self {
        let first = Piece::new(request.body_start().to_vec());
        let upload = Upload::new(request.body, first, is_last);
        let state = State {
            is_gone: upload.is_cut_off(is_last),
            upload,
            answer: Answer::new(id, request.method() == b"HEAD"),
            is_over: false,
            waiters: Vec::new(),
            task: None,
        };
        Self { shared: shared.clone(), link, id, state: Mutex::new(state) }
    }

    /// Claims the request and enters the application, unless it was called back.
    pub(super) fn begin(slf: &Bound<'_, Self>, request: &Request) {
        let (py, this) = (slf.py(), slf.get());
        let connection = this.link.get().connection();
        if lock(&this.state).is_gone || !connection.claims().enter(this.id) {
            return this.give_up("called back");
        }
        if lock(&this.state).upload.is_short() && request.field(b"expect").is_none() {
            this.ask();
        }
        match this.shared.begin(py, request, false, slf.clone().into_any()) {
            Ok(task) => {
                let is_over = lock(&this.state).is_over;
                if !is_over {
                    this.shared.hold(py, &task);
                    lock(&this.state).task = Some(task);
                }
            }
            Err(error) => {
                this.shared.host.report(py, error);
                this.give_up("the application could not be entered");
            }
        }
    }

    fn give_up(&self, reason: &str) {
        let mut state = lock(&self.state);
        state.answer.reset(self.link.get().connection(), reason);
        state.upload.clear();
        state.is_over = true;
    }

    /// Takes bytes of the body that have come. Who is to be woken.
    pub(super) fn push(&self, piece: Piece, is_last: bool) -> Vec<Future> {
        let mut state = lock(&self.state);
        if state.is_over {
            return Vec::new();
        }
        state.upload.push(piece, is_last);
        state.is_gone |= state.upload.is_cut_off(is_last);
        std::mem::take(&mut state.waiters)
    }

    /// Lets more of the answer be sent. Who is to be woken.
    pub(super) fn grant(&self, bytes: u32) -> (Vec<Future>, Sending) {
        let mut state = lock(&self.state);
        let sending = state.answer.grant(self.link.get().connection(), bytes);
        let waiters =
            if state.answer.is_waiting() { Vec::new() } else { std::mem::take(&mut state.waiters) };
        (waiters, sending)
    }

    /// Nobody waits for the answer any more. Who is to be woken.
    pub(super) fn cancel(&self) -> Vec<Future> {
        let mut state = lock(&self.state);
        state.is_gone = true;
        // An application that is not done says so with its end. What one that is has sent may wait
        // for credit, which will not come.
        if state.answer.is_complete() {
            state.answer.reset(self.link.get().connection(), "called back");
        }
        std::mem::take(&mut state.waiters)
    }

    fn ask(&self) {
        let more = lock(&self.state).upload.ask();
        if let Some(more) = more {
            self.link.get().connection().put(|outgoing| {
                outgoing.frame(Kind::CreditOut, false, self.id, &more.to_le_bytes());
            });
        }
    }

    /// The next event, as far as it is there.
    fn event<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let (taken, is_gone) = {
            let mut state = lock(&self.state);
            let is_gone = state.is_gone || state.answer.is_complete();
            (state.upload.take().filter(|_| !is_gone), is_gone)
        };
        let event = PyDict::new(py);
        if let Some(taken) = taken {
            event.set_item(intern!(py, "type"), intern!(py, "http.request"))?;
            event.set_item(intern!(py, "body"), joined(py, &taken)?)?;
            event.set_item(intern!(py, "more_body"), taken.is_more)?;
            return Ok(Some(event));
        }
        if is_gone {
            event.set_item(intern!(py, "type"), intern!(py, "http.disconnect"))?;
            return Ok(Some(event));
        }
        Ok(None)
    }

    /// Looks for the next event, for a coroutine that waits.
    pub(super) fn look_for_event<'py>(&self, py: Python<'py>) -> PyResult<Look<'py>> {
        if let Some(event) = self.event(py)? {
            return Ok(Look::Ready(event.into_any()));
        }
        self.ask();
        Link::flush_soon(self.link.bind(py))?;
        self.wait(py)
    }

    /// Looks whether what was sent is on its way, for a coroutine that waits.
    pub(super) fn look_for_room<'py>(&self, py: Python<'py>) -> PyResult<Look<'py>> {
        let (is_waiting, is_gone) = {
            let state = lock(&self.state);
            (state.answer.is_waiting(), state.is_gone)
        };
        if is_gone {
            return Err(gone());
        }
        if is_waiting {
            return self.wait(py);
        }
        if self.link.get().is_congested() {
            let future = self.shared.host.future(py)?;
            self.link.get().add_waiting(py, future.clone_ref(py));
            return Ok(Look::Wait(future));
        }
        Ok(Look::Ready(py.None().into_bound(py)))
    }

    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Look<'py>> {
        let future = self.shared.host.future(py)?;
        // Python may run while it is looked who else waits: not under the lock.
        let mut waiters = std::mem::take(&mut lock(&self.state).waiters);
        join(py, &mut waiters, future.clone_ref(py));
        lock(&self.state).waiters.append(&mut waiters);
        Ok(Look::Wait(future))
    }

    fn start(&self, py: Python<'_>, event: &Event<'_, '_>) -> PyResult<()> {
        let status = event.status(intern!(py, "status"))?;
        let head = event.head(status, intern!(py, "headers"))?;
        let started = lock(&self.state).answer.start(head);
        started.map_err(|wrong| PyRuntimeError::new_err(wrong.to_string()))
    }

    fn body(&self, py: Python<'_>, event: &Event<'_, '_>) -> PyResult<Sending> {
        let bytes = event.bytes(intern!(py, "body"))?;
        let is_last = !event.flag(intern!(py, "more_body"))?;
        let (sent, waiters) = {
            let mut state = lock(&self.state);
            let sent = state.answer.body(self.link.get().connection(), bytes, is_last);
            let waiters = if is_last { std::mem::take(&mut state.waiters) } else { Vec::new() };
            (sent, waiters)
        };
        // Whoever waits for the client to leave is told that the answer is complete.
        wake_all(py, waiters);
        sent.map_err(|wrong| PyRuntimeError::new_err(wrong.to_string()))
    }

    fn file(&self, py: Python<'_>, event: &Event<'_, '_>) -> PyResult<()> {
        let Some(path) = event.text(intern!(py, "path"))? else {
            return Err(PyValueError::new_err("'http.response.pathsend' has no 'path'"));
        };
        let file = std::fs::File::open(path.to_str()?)?;
        let length = file.metadata()?.len();
        let (sent, waiters) = {
            let mut state = lock(&self.state);
            let sent = state.answer.file(self.link.get().connection(), file.into(), length);
            (sent, std::mem::take(&mut state.waiters))
        };
        wake_all(py, waiters);
        sent.map_err(|wrong| PyRuntimeError::new_err(wrong.to_string()))
    }

    /// The coroutine has ended: what it held is let go.
    fn end(&self, py: Python<'_>) {
        let (task, waiters) = {
            let mut state = lock(&self.state);
            state.is_over = true;
            state.upload.clear();
            (state.task.take(), std::mem::take(&mut state.waiters))
        };
        wake_all(py, waiters);
        self.shared.leave(py, task);
    }

    fn answer_failure(&self, py: Python<'_>, reason: &str) {
        self.answer_instead(py, (500, FAILURE, "exception"), FAILURE_PAGE, reason);
    }

    /// Answers with a page of ours, or cuts off what was begun.
    fn answer_instead(
        &self,
        py: Python<'_>,
        (status, name, value): (u16, &str, &str),
        page: &str,
        reason: &str,
    ) {
        let connection = self.link.get().connection();
        let mut state = lock(&self.state);
        if state.is_gone || !state.answer.is_unsent() {
            state.answer.reset(connection, reason);
            return;
        }
        let mut head = Head { status, ..Head::default() };
        let page = PyBytes::new(py, page.as_bytes()).into();
        let is_made = head.add(name, value).is_ok();
        state.answer.replace(head);
        if !is_made || state.answer.body(connection, page, true).is_err() {
            state.answer.reset(connection, reason);
        }
    }
}

#[pymethods]
impl Exchange {
    /// The next event of the request: a piece of its body, or that nobody waits any more.
    ///
    /// Taken when it is awaited: a task that is cancelled before it begins has taken nothing.
    fn receive(slf: &Bound<'_, Self>) -> Awaitable {
        Awaitable::new(Awaited::OfRequest(slf.clone().unbind()))
    }

    /// Sends an event of the answer.
    #[pyo3(signature = (event, /))]
    fn send<'py>(slf: &Bound<'py, Self>, event: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let event = Event::new(event)?;
        if lock(&this.state).is_gone {
            return Err(gone());
        }
        let kind = event.kind(intern!(py, "type"))?;
        match kind.to_str()? {
            "http.response.body" => {
                if this.body(py, &event)?.needs_watching {
                    Link::watch_room(this.link.bind(py))?;
                }
            }
            "http.response.start" => {
                this.start(py, &event)?;
                return Ok(this.shared.host.done.bind(py).clone().into_any());
            }
            "http.response.pathsend" => this.file(py, &event)?,
            other => return Err(unexpected(other)),
        }
        Link::flush_soon(this.link.bind(py))?;
        let must_wait = lock(&this.state).answer.is_waiting();
        if must_wait || this.link.get().is_congested() {
            let awaitable = Awaitable::new(Awaited::Sent(slf.clone().unbind()));
            return Ok(Bound::new(py, awaitable)?.into_any());
        }
        Ok(this.shared.host.done.bind(py).clone().into_any())
    }

    /// Whether the application is inside, and nothing of its answer was sent.
    fn is_unanswered(&self) -> bool {
        let state = lock(&self.state);
        !state.is_over && state.answer.is_unsent()
    }

    /// Answers for an application that takes too long. It may go on, and nobody hears of it.
    fn time_out(&self, py: Python<'_>) -> PyResult<()> {
        let head = (504, "Content-Type", "text/plain");
        self.answer_instead(py, head, TOO_LONG, TOO_LONG.trim_end());
        let waiters = std::mem::take(&mut lock(&self.state).waiters);
        wake_all(py, waiters);
        Link::flush_soon(self.link.bind(py))
    }

    /// The application has returned.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        let is_unfinished = {
            let state = lock(&self.state);
            !state.answer.is_complete() && !state.is_gone
        };
        if is_unfinished {
            let what = "the application returned without completing its answer";
            self.shared.host.report(py, PyRuntimeError::new_err(what));
        }
        if !lock(&self.state).answer.is_complete() {
            self.answer_failure(py, "the application returned amid its answer");
        }
        self.end(py);
        Link::flush_soon(self.link.bind(py))
    }

    /// The application has raised.
    fn fail(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        let error = PyErr::from_value(error.clone());
        let is_gone = lock(&self.state).is_gone;
        if !(is_gone && comes_from_disconnection(py, &error)) {
            self.shared.host.report(py, error);
        }
        if !lock(&self.state).answer.is_complete() {
            self.answer_failure(py, "the application failed amid its answer");
        }
        self.end(py);
        Link::flush_soon(self.link.bind(py))
    }
}

/// Whether an exception is an `OSError`, or was raised while one was dealt with.
pub(super) fn comes_from_disconnection(py: Python<'_>, error: &PyErr) -> bool {
    if error.is_instance_of::<PyOSError>(py) {
        return true;
    }
    let context = error.value(py).getattr(intern!(py, "__context__"));
    context.is_ok_and(|context| context.is_instance_of::<PyOSError>())
}

/// What is raised when nobody waits for what is sent.
pub(super) fn gone() -> PyErr {
    PyBrokenPipeError::new_err("nobody waits for this answer any more")
}

/// What is raised for an event that cannot be sent here.
pub(super) fn unexpected(kind: &str) -> PyErr {
    refused(format!("an event of type {kind:?} cannot be sent here"))
}

/// The bytes of a body that have come, in one piece.
fn joined<'py>(py: Python<'py>, taken: &Taken) -> PyResult<Bound<'py, PyBytes>> {
    let (front, back) = taken.pieces.as_slices();
    match (front, back) {
        ([], []) => Ok(PyBytes::new(py, b"")),
        ([only], []) => Ok(PyBytes::new(py, only.rest())),
        _ => {
            let length = taken.pieces.iter().map(|piece| piece.rest().len()).sum();
            PyBytes::new_with(py, length, |mut target| {
                for piece in &taken.pieces {
                    let (place, rest) = target.split_at_mut(piece.rest().len());
                    place.copy_from_slice(piece.rest());
                    target = rest;
                }
                Ok(())
            })
        }
    }
}
