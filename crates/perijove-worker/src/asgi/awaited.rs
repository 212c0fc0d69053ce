//! What `receive` and `send` return: awaitables that are done at once where nothing must be waited
//! for. They do what coroutines do, since applications make tasks of them.

use pyo3::{exceptions::PyStopIteration, intern, prelude::*};

use super::{exchange::Exchange, websocket::Websocket};

/// A future of the event loop on which a coroutine of the application waits.
#[derive(Debug)]
pub(super) struct Future(Py<PyAny>);

impl Future {
    pub(super) fn new(future: Py<PyAny>) -> Self {
        Self(future)
    }

    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self(self.0.clone_ref(py))
    }

    /// Lets whoever waits look again.
    pub(super) fn wake(self, py: Python<'_>) {
        let future = self.0.bind(py);
        let woken = future
            .call_method0(intern!(py, "done"))
            .and_then(|done| done.is_truthy())
            .and_then(|is_done| {
                if is_done {
                    return Ok(());
                }
                future.call_method1(intern!(py, "set_result"), (py.None(),)).map(drop)
            });
        if let Err(error) = woken {
            error.write_unraisable(py, Some(future));
        }
    }

    /// Whether nobody waits any more: it was woken, or who waited was cancelled.
    fn is_done(&self, py: Python<'_>) -> bool {
        let done = self.0.bind(py).call_method0(intern!(py, "done"));
        done.and_then(|done| done.is_truthy()).unwrap_or(false)
    }

    /// What a coroutine yields to wait for it, as `Future.__await__` does.
    fn yielded<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let future = self.0.bind(py);
        future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
        Ok(future.clone())
    }
}

/// Wakes all of them.
pub(super) fn wake_all(py: Python<'_>, waiters: Vec<Future>) {
    for waiter in waiters {
        waiter.wake(py);
    }
}

/// Adds one who waits to others, without those who do so no more: an application may ask again and
/// again whether something has come, each time for a moment only.
pub(super) fn join(py: Python<'_>, others: &mut Vec<Future>, one: Future) {
    others.retain(|other| !other.is_done(py));
    others.push(one);
}

/// How a look at something that is waited for ended.
pub(super) enum Look<'py> {
    Ready(Bound<'py, PyAny>),
    /// Nothing yet: this future is done when it is worth to look again.
    Wait(Future),
}

/// What is done already, with nothing to tell.
#[pyclass(frozen, module = "perijove._worker")]
#[derive(Debug)]
pub(super) struct Done;

#[pymethods]
impl Done {
    fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[expect(clippy::unused_self, reason = "Python calls it on an object")]
    fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }

    #[expect(clippy::unused_self, reason = "Python calls it on an object")]
    fn send(&self, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Err(PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value=None, traceback=None, /))]
    #[expect(clippy::unused_self, reason = "Python calls it on an object")]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        drop(traceback);
        Err(thrown(kind, value))
    }

    #[expect(clippy::unused_self, reason = "Python calls it on an object")]
    fn close(&self) {}
}

/// What a coroutine waits for.
#[derive(Debug)]
pub(super) enum Awaited {
    /// The next event of a request.
    OfRequest(Py<Exchange>),
    /// That what was sent of an answer is on its way.
    Sent(Py<Exchange>),
    OfWebsocket(Py<Websocket>),
    SentToWebsocket(Py<Websocket>),
}

/// Something that a coroutine may have to wait for.
#[pyclass(frozen, module = "perijove._worker")]
#[derive(Debug)]
pub(super) struct Awaitable {
    awaited: Awaited,
}

impl Awaitable {
    pub(super) fn new(awaited: Awaited) -> Self {
        Self { awaited }
    }

    fn look<'py>(&self, py: Python<'py>) -> PyResult<Look<'py>> {
        match &self.awaited {
            Awaited::OfRequest(exchange) => exchange.get().look_for_event(py),
            Awaited::Sent(exchange) => exchange.get().look_for_room(py),
            Awaited::OfWebsocket(websocket) => Websocket::look_for_event(websocket.bind(py)),
            Awaited::SentToWebsocket(websocket) => websocket.get().look_for_room(py),
        }
    }
}

#[pymethods]
impl Awaitable {
    fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.look(py)? {
            Look::Ready(value) => Err(PyStopIteration::new_err((value.unbind(),))),
            Look::Wait(future) => future.yielded(py),
        }
    }

    fn send<'py>(
        &self,
        py: Python<'py>,
        _value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.__next__(py)
    }

    #[pyo3(signature = (kind, value=None, traceback=None, /))]
    #[expect(clippy::unused_self, reason = "Python calls it on an object")]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        drop(traceback);
        Err(thrown(kind, value))
    }

    #[expect(clippy::unused_self, reason = "Python calls it on an object")]
    fn close(&self) {}
}

/// The exception that `throw` was called with, in either of its forms.
fn thrown(kind: Bound<'_, PyAny>, value: Option<Bound<'_, PyAny>>) -> PyErr {
    match value {
        Some(value) if !value.is_none() => PyErr::from_value(value),
        _ => PyErr::from_value(kind),
    }
}
