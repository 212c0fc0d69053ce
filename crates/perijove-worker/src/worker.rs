//! The worker as Python sees it: made with the application, run by as many threads as are wanted.

use std::{
    os::fd::{FromRawFd, OwnedFd, RawFd},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pyo3::{
    exceptions::{PyOSError, PyValueError},
    intern,
    prelude::*,
    types::PyType,
};

use crate::{
    environ::EnvironMaker,
    forked, lock,
    respond::{current_request_id, respond},
    serve::{Door, Secret, Server, TICK},
    turn::Step,
    wrapper::FileWrapper,
};

/// How long a leading thread waits for bytes before it looks around.
const REST: Duration = Duration::from_secs(30);
/// How long the last answers may take to be sent when all else is done.
const LAST_SENDING: Duration = Duration::from_secs(10);

/// What the parts that know Python share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) server: Arc<Server>,
    pub(crate) application: Py<PyAny>,
    /// `wsgi.errors`.
    pub(crate) errors: Py<PyAny>,
    pub(crate) file_wrapper: Py<PyType>,
    pub(crate) threads: u16,
    /// Called with an exception that the application raised.
    report: Py<PyAny>,
}

impl Shared {
    /// Shows an exception of the application in the log.
    pub(crate) fn report(&self, py: Python<'_>, error: PyErr) {
        if let Err(other) = self.report.bind(py).call1((error.into_value(py),)) {
            other.write_unraisable(py, None);
        }
    }

    /// Writes a line to the log.
    pub(crate) fn log(&self, py: Python<'_>, line: &str) {
        let line = format!("perijove: {line}\n");
        if let Err(error) = self.errors.bind(py).call_method1(intern!(py, "write"), (line,)) {
            error.write_unraisable(py, None);
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> PyResult<()> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map(drop).map_err(PyOSError::new_err)
}

/// Serves a WSGI application to the gateway.
#[pyclass(frozen, module = "perijove._worker")]
#[derive(Debug)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    /// Until the first thread serves: a gateway that was greeted may send requests, or signals.
    door: Mutex<Option<Door>>,
}

#[pymethods]
impl Worker {
    /// Takes over the listening Unix socket `socket`. `sys.stderr` becomes `wsgi.errors`.
    #[new]
    #[pyo3(signature = (*, socket, secret, threads, application, report))]
    fn new(
        py: Python<'_>,
        socket: RawFd,
        secret: &str,
        threads: u16,
        application: Py<PyAny>,
        report: Py<PyAny>,
    ) -> PyResult<Self> {
        if threads == 0 {
            return Err(PyValueError::new_err("a worker needs at least one thread"));
        }
        if socket < 0 {
            return Err(PyValueError::new_err("the socket must be a descriptor"));
        }
        #[expect(unsafe_code, reason = "Python gives descriptors as numbers")]
        // SAFETY: the caller gives the socket away.
        let listener = unsafe { OwnedFd::from_raw_fd(socket) };
        forked::register(py)?;
        let (server, door) = Server::new(listener, Secret::new(secret), threads)?;
        let server = Arc::new(server);
        let clock = server.clone();
        spawn("perijove-clock", move || clock.watch())?;
        let errors = py.import("sys")?.getattr("stderr")?.unbind();
        let file_wrapper = py.get_type::<FileWrapper>().unbind();
        let shared = Shared { server, application, errors, file_wrapper, threads, report };
        Ok(Self { shared: Arc::new(shared), door: Mutex::new(Some(door)) })
    }

    /// Serves requests as the thread of that seat (from 0), until the worker is drained.
    fn run(&self, py: Python<'_>, seat: usize) -> PyResult<()> {
        let server = &self.shared.server;
        if !server.sit(seat) {
            return Err(PyValueError::new_err(format!("the seat {seat} is not free")));
        }
        if let Some(door) = lock(&self.door).take() {
            let attended = server.clone();
            spawn("perijove-door", move || door.attend(&attended))?;
        }
        let mut maker = EnvironMaker::new(py, &self.shared)?;
        let mut was_inside = false;
        let mut flushed = Instant::now();
        loop {
            let step = server.step(seat, was_inside);
            was_inside = matches!(step, Step::Enter { .. });
            match step {
                Step::Enter { item, .. } => {
                    if flushed.elapsed() >= TICK {
                        py.detach(|| server.flush());
                        flushed = Instant::now();
                    }
                    respond(py, &self.shared, &mut maker, item);
                }
                Step::Read => {
                    py.detach(|| server.read(REST));
                    flushed = Instant::now();
                }
                Step::Park => {
                    py.detach(|| server.park());
                    flushed = Instant::now();
                }
                Step::End => break,
            }
        }
        py.detach(|| server.send_rest(LAST_SENDING));
        Ok(())
    }

    /// Finishes what has come, then lets all threads end.
    fn drain(&self) {
        self.shared.server.drain();
    }
}

/// The id of the request that the calling thread, or the calling task, works on; empty outside of requests.
#[pyfunction]
pub(crate) fn request_id(py: Python<'_>) -> String {
    let id = current_request_id();
    if id.is_empty() { crate::asgi::request_id(py) } else { id }
}
