//! Serving ASGI applications: one event loop in the main thread of the process, which tells when a
//! descriptor is ready; everything that has come is then read, parsed and handed out at once.
//!
//! ```text
//!   listener ── accept ──▶ Guest ── HELLO ──▶ Link ── REQUEST ──▶ Exchange  (http)
//!                            └───── OPEN ──▶ Websocket                    (websocket)
//! ```

mod answer;
mod awaited;
mod codec;
mod event;
mod exchange;
mod guest;
mod link;
mod scope;
mod shared;
mod upload;
mod websocket;

use std::{
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{Arc, Mutex},
};

use pyo3::{exceptions::PyValueError, intern, prelude::*, types::PyDict};

pub(crate) use shared::request_id;

use crate::{forked, lock, platform, serve::Secret};
use guest::Guest;
use scope::ScopeMaker;
use shared::{Host, Limits, Shared};

/// How a replaced worker ends its websockets: "service restart" (RFC 6455 7.4.1, IANA's list).
const SERVICE_RESTART: u16 = 1012;

/// Serves an ASGI application to the gateway, on an event loop of asyncio.
#[pyclass(frozen, module = "perijove._worker")]
#[derive(Debug)]
pub(crate) struct AsgiWorker {
    shared: Arc<Shared>,
    listener: Mutex<Option<OwnedFd>>,
}

#[pymethods]
impl AsgiWorker {
    /// Takes over the listening Unix socket `socket`.
    ///
    /// `run(application, scope, exchange)` makes the coroutine of one request, `spawn` begins it,
    /// `report` shows an exception. Each scope gets a copy of `state`, unless that is `None`.
    #[new]
    #[pyo3(signature = (
        *, socket, secret, application, event_loop, run, spawn, report, state, capacity,
        message_limit
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python gives each by its name")]
    fn new(
        py: Python<'_>,
        socket: RawFd,
        secret: &str,
        application: Py<PyAny>,
        event_loop: &Bound<'_, PyAny>,
        run: Py<PyAny>,
        spawn: Py<PyAny>,
        report: Py<PyAny>,
        state: Option<Py<PyDict>>,
        capacity: u16,
        message_limit: usize,
    ) -> PyResult<Self> {
        if socket < 0 {
            return Err(PyValueError::new_err("the socket must be a descriptor"));
        }
        forked::register(py)?;
        #[expect(unsafe_code, reason = "Python gives descriptors as numbers")]
        // SAFETY: the caller gives the socket away.
        let listener = unsafe { OwnedFd::from_raw_fd(socket) };
        rustix::io::ioctl_fionbio(&listener, true).map_err(std::io::Error::from)?;
        rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC)
            .map_err(std::io::Error::from)?;
        let host = Host::new(event_loop, application, run, spawn, report)?;
        let limits = Limits { capacity, message: message_limit };
        let maker = ScopeMaker::new(py, state)?;
        let shared = Arc::new(Shared::new(host, Secret::new(secret), limits, maker));
        Ok(Self { shared, listener: Mutex::new(Some(listener)) })
    }

    /// Begins to accept connections.
    fn listen(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if let Some(listener) = &*lock(&this.listener) {
            let accept = slf.getattr(intern!(slf.py(), "accept"))?;
            this.shared.host.watch(slf.py(), listener.as_raw_fd(), accept)?;
        }
        Ok(())
    }

    /// Accepts what waits at the listener.
    fn accept(&self, py: Python<'_>) -> PyResult<()> {
        loop {
            let accepted = match &*lock(&self.listener) {
                Some(listener) => platform::accept(listener),
                None => return Ok(()),
            };
            match accepted {
                Ok(socket) => Guest::receive(py, &self.shared, socket)?,
                Err(_) => return Ok(()),
            }
        }
    }

    /// Accepts nothing more and ends the websockets. `idle`, a future, is done once nothing is under
    /// way.
    fn drain(&self, py: Python<'_>, idle: Py<PyAny>) -> PyResult<()> {
        if let Some(listener) = lock(&self.listener).take() {
            self.shared.host.unwatch(py, listener.as_raw_fd())?;
        }
        *lock(&self.shared.idle) = Some(idle);
        let websockets = self.shared.websockets();
        for websocket in websockets {
            websocket.get().close_for(py, SERVICE_RESTART, "the server restarts");
        }
        self.shared.tell_if_idle(py);
        Ok(())
    }

    /// Sends what is left, as far as the gateway takes it; true when all was sent.
    fn flush(&self) -> bool {
        self.shared.links().iter().all(|link| link.get().is_flushed())
    }
}
