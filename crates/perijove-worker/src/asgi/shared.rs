//! What the parts of an ASGI worker share: the event loop as we use it, limits, who is there.

use std::{
    os::fd::RawFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use pyo3::{
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PySet, PyString},
};

use super::{
    awaited::{Done, Future},
    link::Link,
    scope::ScopeMaker,
    websocket::Websocket,
};
use crate::{lock, serve::Secret};

/// Holds the id of the request that a task works on.
static REQUEST_ID: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The id of the request that the calling task works on; empty outside of requests.
pub(crate) fn request_id(py: Python<'_>) -> String {
    let Some(variable) = REQUEST_ID.get(py) else { return String::new() };
    let found = variable.bind(py).call_method1(intern!(py, "get"), ("",));
    found.and_then(|text| text.extract()).unwrap_or_default()
}

fn request_id_variable(py: Python<'_>) -> PyResult<&Py<PyAny>> {
    REQUEST_ID.get_or_try_init(py, || {
        let make = py.import("contextvars")?.getattr("ContextVar")?;
        Ok(make.call1(("perijove_request_id",))?.unbind())
    })
}

/// The event loop and what else is Python's, as bound methods: looked up once.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) application: Py<PyAny>,
    run: Py<PyAny>,
    spawn: Py<PyAny>,
    report: Py<PyAny>,
    add_reader: Py<PyAny>,
    remove_reader: Py<PyAny>,
    add_writer: Py<PyAny>,
    remove_writer: Py<PyAny>,
    call_soon: Py<PyAny>,
    call_later: Py<PyAny>,
    create_future: Py<PyAny>,
    set_request_id: Py<PyAny>,
    tasks: Py<PySet>,
    pub(super) done: Py<Done>,
}

impl Host {
    pub(super) fn new(
        event_loop: &Bound<'_, PyAny>,
        application: Py<PyAny>,
        run: Py<PyAny>,
        spawn: Py<PyAny>,
        report: Py<PyAny>,
    ) -> PyResult<Self> {
        let py = event_loop.py();
        let method = |name: &str| event_loop.getattr(name).map(Bound::unbind);
        Ok(Self {
            application,
            run,
            spawn,
            report,
            add_reader: method("add_reader")?,
            remove_reader: method("remove_reader")?,
            add_writer: method("add_writer")?,
            remove_writer: method("remove_writer")?,
            call_soon: method("call_soon")?,
            call_later: method("call_later")?,
            create_future: method("create_future")?,
            set_request_id: request_id_variable(py)?.bind(py).getattr("set")?.unbind(),
            tasks: PySet::empty(py)?.unbind(),
            done: Py::new(py, Done)?,
        })
    }

    /// Calls `callback` whenever there is something to read.
    pub(super) fn watch(
        &self,
        py: Python<'_>,
        descriptor: RawFd,
        callback: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.add_reader.bind(py).call1((descriptor, callback)).map(drop)
    }

    pub(super) fn unwatch(&self, py: Python<'_>, descriptor: RawFd) -> PyResult<()> {
        self.remove_reader.bind(py).call1((descriptor,)).map(drop)
    }

    /// Calls `callback` whenever there is room to write.
    pub(super) fn watch_room(
        &self,
        py: Python<'_>,
        descriptor: RawFd,
        callback: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.add_writer.bind(py).call1((descriptor, callback)).map(drop)
    }

    pub(super) fn unwatch_room(&self, py: Python<'_>, descriptor: RawFd) -> PyResult<()> {
        self.remove_writer.bind(py).call1((descriptor,)).map(drop)
    }

    /// Calls `callback` in the next turn of the loop.
    pub(super) fn soon(&self, py: Python<'_>, callback: Bound<'_, PyAny>) -> PyResult<()> {
        self.call_soon.bind(py).call1((callback,)).map(drop)
    }

    /// Calls `callback` after so many seconds.
    pub(super) fn later(
        &self,
        py: Python<'_>,
        seconds: f64,
        callback: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.call_later.bind(py).call1((seconds, callback)).map(drop)
    }

    pub(super) fn future(&self, py: Python<'_>) -> PyResult<Future> {
        self.create_future.bind(py).call0().map(|future| Future::new(future.unbind()))
    }

    /// Begins the coroutine of one request, as a task whose context has the request's id. The task.
    pub(super) fn begin(
        &self,
        py: Python<'_>,
        request_id: Bound<'_, PyString>,
        scope: Bound<'_, PyDict>,
        exchange: Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        self.set_request_id.bind(py).call1((request_id,))?;
        let coroutine = self.run.bind(py).call1((&self.application, scope, exchange))?;
        self.spawn.bind(py).call1((coroutine,)).map(Bound::unbind)
    }

    /// Shows an exception of the application in the log.
    pub(super) fn report(&self, py: Python<'_>, error: PyErr) {
        if let Err(other) = self.report.bind(py).call1((error.into_value(py),)) {
            other.write_unraisable(py, None);
        }
    }
}

/// How much at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Requests and websockets, as the gateway is told.
    pub(super) capacity: u16,
    /// Bytes of a websocket's message.
    pub(super) message: usize,
}

/// What the parts of an ASGI worker share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) host: Host,
    pub(super) secret: Secret,
    pub(super) limits: Limits,
    /// Held while a scope is made.
    pub(super) scopes: Mutex<ScopeMaker>,
    /// Requests and websockets whose coroutine has not ended.
    pub(super) under_way: AtomicUsize,
    /// A future that is done once nothing is under way.
    pub(super) idle: Mutex<Option<Py<PyAny>>>,
    links: Mutex<Vec<Py<Link>>>,
    websockets: Mutex<Vec<Py<Websocket>>>,
}

impl Shared {
    pub(super) fn new(host: Host, secret: Secret, limits: Limits, maker: ScopeMaker) -> Self {
        Self {
            host,
            secret,
            limits,
            scopes: Mutex::new(maker),
            under_way: AtomicUsize::new(0),
            idle: Mutex::default(),
            links: Mutex::default(),
            websockets: Mutex::default(),
        }
    }

    pub(super) fn links(&self) -> Vec<Py<Link>> {
        Python::attach(|py| lock(&self.links).iter().map(|link| link.clone_ref(py)).collect())
    }

    pub(super) fn add_link(&self, link: Py<Link>) {
        lock(&self.links).push(link);
    }

    pub(super) fn forget_link(&self, link: &Bound<'_, Link>) {
        lock(&self.links).retain(|other| !other.is(link));
    }

    pub(super) fn websockets(&self) -> Vec<Py<Websocket>> {
        Python::attach(|py| {
            lock(&self.websockets).iter().map(|socket| socket.clone_ref(py)).collect()
        })
    }

    pub(super) fn add_websocket(&self, websocket: Py<Websocket>) {
        lock(&self.websockets).push(websocket);
    }

    pub(super) fn forget_websocket(&self, websocket: &Bound<'_, Websocket>) {
        lock(&self.websockets).retain(|other| !other.is(websocket));
    }

    /// Counts a request or websocket whose coroutine begins.
    pub(super) fn enter(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps a task: the loop itself knows its tasks by weak references only.
    pub(super) fn hold(&self, py: Python<'_>, task: &Py<PyAny>) {
        if let Err(error) = self.host.tasks.bind(py).add(task) {
            error.write_unraisable(py, None);
        }
    }

    /// Counts one whose coroutine has ended, in this task.
    pub(super) fn leave(&self, py: Python<'_>, task: Option<Py<PyAny>>) {
        if let Some(task) = task
            && let Err(error) = self.host.tasks.bind(py).discard(task)
        {
            error.write_unraisable(py, None);
        }
        if self.under_way.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.tell_if_idle(py);
        }
    }

    /// Tells whoever waits for it that nothing is under way.
    pub(super) fn tell_if_idle(&self, py: Python<'_>) {
        if self.under_way.load(Ordering::Relaxed) > 0 {
            return;
        }
        let idle = lock(&self.idle).take();
        if let Some(idle) = idle {
            Future::new(idle).wake(py);
        }
    }

    /// Makes a scope and begins the application with it.
    pub(super) fn begin(
        self: &Arc<Self>,
        py: Python<'_>,
        request: &crate::frames::Request,
        is_websocket: bool,
        exchange: Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let (scope, id) = {
            let mut maker = lock(&self.scopes);
            (maker.make(py, request, is_websocket)?, maker.request_id(py, request))
        };
        self.enter();
        let begun = self.host.begin(py, id, scope, exchange);
        if begun.is_err() {
            self.leave(py, None);
        }
        begun
    }
}
