//! One request from claim to end: the application is called, its answer sent, its iterable closed.

use std::{cell::RefCell, sync::Arc};

use pyo3::{
    exceptions::{PyBrokenPipeError, PyOSError, PyRuntimeError, PyTimeoutError, PyTypeError},
    intern,
    prelude::*,
    types::{PyBytes, PyList, PyString, PyTuple},
};

use crate::{
    answer::{Answer, Unfinished},
    environ::EnvironMaker,
    exchange::Piece,
    forked,
    frames::BodyLength,
    head::Head,
    input::Input,
    serve::{Pending, Unmet},
    start::{StartResponse, kind},
    worker::Shared,
    wrapper::FileWrapper,
};

thread_local! {
    /// The id of the request that this thread works on, for its output.
    static REQUEST_ID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The id of the request that the calling thread works on; empty outside of requests.
pub(crate) fn current_request_id() -> String {
    REQUEST_ID.with_borrow(Clone::clone)
}

/// What a client is shown when the application failed.
pub(crate) const FAILURE_PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <title>Internal error</title></head><body><h1>Internal error</h1>\
    <p>The site could not answer this request. The reason is in its log.</p></body></html>\n";

/// Tells the gateway that there is no answer of the application to show: it has pages for that.
pub(crate) const FAILURE: &str = "Perijove-Failure";

/// Answers one request.
pub(crate) fn respond(
    py: Python<'_>,
    shared: &Arc<Shared>,
    maker: &mut EnvironMaker,
    pending: Pending,
) {
    let Some(pending) = take(pending) else { return };
    let exchange = pending.exchange.clone();
    let connection = exchange.connection();
    REQUEST_ID.with_borrow_mut(|id| {
        id.clear();
        id.extend(pending.request.request_id().iter().map(|byte| char::from(*byte)));
    });
    let is_head_request = pending.request.method() == b"HEAD";
    let answer = Answer::new(shared.server.clone(), exchange.clone(), is_head_request);
    match Py::new(py, StartResponse::new(answer)) {
        Ok(start) => {
            let start = start.into_bound(py);
            let called = call(&start, shared, maker, pending);
            forked::end_child(py, called.is_err());
            if let Err(error) = called {
                fail(py, shared, start.get().answer(), error);
            }
        }
        Err(error) => {
            connection.reset(exchange.id(), "out of memory");
            shared.report(py, error);
        }
    }
    exchange.finish();
    REQUEST_ID.with_borrow_mut(String::clear);
}

/// Claims a request; `None` when it was called back.
fn take(pending: Pending) -> Option<Pending> {
    let exchange = &pending.exchange;
    if exchange.connection().claims().enter(exchange.id()) && !exchange.is_cancelled() {
        return Some(pending);
    }
    exchange.connection().reset(exchange.id(), "called back");
    exchange.finish();
    None
}

/// Calls the application and sends what it returns.
fn call(
    start: &Bound<'_, StartResponse>,
    shared: &Arc<Shared>,
    maker: &mut EnvironMaker,
    mut pending: Pending,
) -> PyResult<()> {
    let py = start.py();
    let environ = maker.make(py, &pending.request)?;
    if pending.request.body != BodyLength::None {
        let (bytes, start) = pending.request.take_payload();
        let first = Piece::from(bytes, start);
        let input = Input::new(shared.clone(), pending.exchange, first);
        environ.set_item(intern!(py, "wsgi.input"), Py::new(py, input)?)?;
    }
    let iterable = shared.application.bind(py).call1((environ, start))?;
    forked::end_child(py, false);
    let answer = start.get().answer();
    let sent = send(shared, answer, &iterable);
    let closed = close(&iterable);
    if answer.is_cut() {
        shared.log(py, "the application sent more than its Content-Length says; the rest was cut");
    }
    match (sent, closed) {
        (Err(error), Err(other)) => {
            shared.report(py, other);
            Err(error)
        }
        (sent, closed) => sent.and(closed),
    }
}

/// Sends what the application returned.
fn send(shared: &Shared, answer: &Answer, iterable: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = iterable.py();
    if let Some(items) = items_of(iterable) {
        return match items.as_slice() {
            [only] if !answer.is_sent() => send_all(answer, only),
            _ => {
                let lengths =
                    items.iter().map(|item| item.cast::<PyBytes>().map(|b| b.as_bytes().len()));
                if let Ok(length) = lengths.sum::<Result<usize, _>>() {
                    answer.announce(length as u64);
                }
                send_pieces(shared, answer, items.into_iter().map(Ok), py)
            }
        };
    }
    if let Ok(wrapper) = iterable.cast_exact::<FileWrapper>()
        && answer.is_started()
        && !answer.is_sent()
        && let Some((file, offset, length)) = wrapper.get().descriptor(py)
    {
        return answer.send_file(py, file, offset, length).map_err(raise_unfinished);
    }
    if iterable.is_instance_of::<PyBytes>() || iterable.is_instance_of::<PyString>() {
        let message = format!(
            "the application returned {}; it must return an iterable of bytes, such as a list",
            kind(iterable)
        );
        return Err(PyTypeError::new_err(message));
    }
    let pieces = iterable.try_iter().map_err(|_| {
        PyTypeError::new_err(format!(
            "the application returned {}, which cannot be iterated",
            kind(iterable)
        ))
    })?;
    send_pieces(shared, answer, pieces, py)
}

/// The items of a plain list or tuple, whose length is known.
fn items_of<'py>(iterable: &Bound<'py, PyAny>) -> Option<Vec<Bound<'py, PyAny>>> {
    if let Ok(list) = iterable.cast_exact::<PyList>() {
        return Some(list.iter().collect());
    }
    iterable.cast_exact::<PyTuple>().ok().map(|tuple| tuple.iter().collect())
}

fn send_all(answer: &Answer, piece: &Bound<'_, PyAny>) -> PyResult<()> {
    let bytes = bytes_of(piece)?;
    answer.send_all(piece.py(), bytes.as_bytes()).map_err(raise_unfinished)
}

fn send_pieces<'py>(
    shared: &Shared,
    answer: &Answer,
    pieces: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
    py: Python<'py>,
) -> PyResult<()> {
    for piece in pieces {
        let piece = piece?;
        let bytes = bytes_of(&piece)?.as_bytes();
        if !bytes.is_empty() {
            answer.send(py, bytes, false).map_err(raise_unfinished)?;
            // Nobody else sends it while the application makes the next piece.
            if !shared.server.is_leading() {
                py.detach(|| shared.server.flush());
            }
        }
        if answer.wants_nothing() {
            break;
        }
    }
    answer.finish(py).map_err(raise_unfinished)
}

fn bytes_of<'a, 'py>(piece: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    piece.cast::<PyBytes>().map_err(|_| {
        let message = format!("the application produced {}, not bytes", kind(piece));
        PyTypeError::new_err(message)
    })
}

/// Calls `close` where there is one.
fn close(iterable: &Bound<'_, PyAny>) -> PyResult<()> {
    if iterable.is_exact_instance_of::<PyList>() || iterable.is_exact_instance_of::<PyTuple>() {
        return Ok(());
    }
    match iterable.getattr_opt(intern!(iterable.py(), "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}

/// Ends a request whose application failed: the gateway shows an error page, or the answer is cut
/// off.
fn fail(py: Python<'_>, shared: &Shared, answer: &Answer, error: PyErr) {
    let is_gone = answer.exchange().is_cancelled();
    if is_gone && error.is_instance_of::<PyOSError>(py) {
        return answer.reset("cancelled");
    }
    shared.report(py, error);
    if is_gone {
        return answer.reset("cancelled");
    }
    if answer.is_sent() {
        return answer.reset("the application failed amid its answer");
    }
    let mut head = Head { status: 500, ..Head::default() };
    let is_head_made = head.add(FAILURE, "exception").is_ok();
    let is_sent = is_head_made && answer.start(head, true) && answer.send_all(py, b"").is_ok();
    if !is_sent {
        answer.reset("the application failed");
    }
}

/// What is raised inside the application when its answer cannot be sent.
pub(crate) fn raise_unfinished(unfinished: Unfinished) -> PyErr {
    match unfinished {
        Unfinished::NotStarted => {
            PyRuntimeError::new_err("the application returned without calling start_response")
        }
        Unfinished::Short(missing) => PyRuntimeError::new_err(format!(
            "the application sent {missing} bytes less than its Content-Length says"
        )),
        Unfinished::Ended => {
            PyRuntimeError::new_err("the application wrote to an answer that has ended")
        }
        Unfinished::Unmet(Unmet::Cancelled) => {
            PyBrokenPipeError::new_err("nobody waits for this answer any more")
        }
        Unfinished::Unmet(Unmet::Late) => {
            PyTimeoutError::new_err("the client took nothing of the answer for too long")
        }
    }
}
