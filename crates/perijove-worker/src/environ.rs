//! The environ of a request (PEP 3333), made from what the gateway sent.

mod fields;
mod paths;

use std::sync::Arc;

use pyo3::{
    intern,
    prelude::*,
    types::{PyDict, PyString},
};

pub(crate) use paths::Paths;

use crate::{
    frames::{BodyLength, Request},
    input::Input,
    kept::{Fields, Last, text},
    worker::Shared,
};

/// The keys that every request sets. They are in the base, so that a copy of it has room for them.
const OF_EACH_REQUEST: [&str; 13] = [
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "REQUEST_URI",
    "RAW_URI",
    "SERVER_PROTOCOL",
    "SERVER_NAME",
    "SERVER_PORT",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "wsgi.url_scheme",
    "perijove.request_id",
];

/// Makes environs, for one thread.
#[derive(Debug)]
pub(crate) struct EnvironMaker {
    /// What is the same for all requests. Copied: cheaper than setting each again.
    base: Py<PyDict>,
    fields: Fields<PyString, PyString>,
    method: Last<PyString>,
    server: Last<PyString>,
    port: Last<PyString>,
    client: Last<PyString>,
}

impl EnvironMaker {
    /// Prepares what all requests share.
    pub(crate) fn new(py: Python<'_>, shared: &Arc<Shared>) -> PyResult<Self> {
        let base = PyDict::new(py);
        for key in OF_EACH_REQUEST {
            base.set_item(PyString::intern(py, key), "")?;
        }
        base.set_item(intern!(py, "wsgi.version"), (1, 0))?;
        base.set_item(intern!(py, "wsgi.errors"), &shared.errors)?;
        base.set_item(intern!(py, "wsgi.multithread"), shared.threads > 1)?;
        base.set_item(intern!(py, "wsgi.multiprocess"), true)?;
        base.set_item(intern!(py, "wsgi.run_once"), false)?;
        base.set_item(intern!(py, "wsgi.file_wrapper"), &shared.file_wrapper)?;
        base.set_item(intern!(py, "wsgi.input_terminated"), true)?;
        base.set_item(intern!(py, "wsgi.input"), Py::new(py, Input::empty(shared.clone()))?)?;
        let software = intern!(py, concat!("perijove/", env!("CARGO_PKG_VERSION")));
        base.set_item(intern!(py, "SERVER_SOFTWARE"), software)?;
        base.set_item(intern!(py, "GATEWAY_INTERFACE"), intern!(py, "CGI/1.1"))?;
        Ok(Self {
            base: base.unbind(),
            fields: Fields::new(),
            method: Last::default(),
            server: Last::default(),
            port: Last::default(),
            client: Last::default(),
        })
    }

    /// The environ of a request, without `wsgi.input` when it has a body.
    pub(crate) fn make<'py>(
        &mut self,
        py: Python<'py>,
        request: &Request,
    ) -> PyResult<Bound<'py, PyDict>> {
        let environ = self.base.bind(py).copy()?;
        let paths = Paths::of(request.target(), request.mount());
        let target = text(py, request.target());
        environ.set_item(intern!(py, "REQUEST_METHOD"), self.method.text(py, request.method())?)?;
        environ.set_item(intern!(py, "SCRIPT_NAME"), text(py, &paths.script))?;
        let is_plain = *paths.path == *request.target();
        let path = if is_plain { target.clone() } else { text(py, &paths.path) };
        environ.set_item(intern!(py, "PATH_INFO"), path)?;
        environ.set_item(intern!(py, "QUERY_STRING"), text(py, paths.query))?;
        environ.set_item(intern!(py, "REQUEST_URI"), &target)?;
        environ.set_item(intern!(py, "RAW_URI"), &target)?;
        let protocol = match request.version {
            0 => intern!(py, "HTTP/1.0"),
            1 => intern!(py, "HTTP/1.1"),
            _ => intern!(py, "HTTP/2.0"),
        };
        environ.set_item(intern!(py, "SERVER_PROTOCOL"), protocol)?;
        let scheme = if request.is_https { intern!(py, "https") } else { intern!(py, "http") };
        environ.set_item(intern!(py, "wsgi.url_scheme"), scheme)?;
        self.set_addresses(py, request, &environ)?;
        let request_id = text(py, request.request_id());
        environ.set_item(intern!(py, "perijove.request_id"), request_id)?;
        fields::add_to(&environ, request, &mut self.fields)?;
        if let BodyLength::Known(length) = request.body
            && request.field(b"content-length").is_none()
        {
            environ.set_item(intern!(py, "CONTENT_LENGTH"), length.to_string())?;
        }
        Ok(environ)
    }

    fn set_addresses(
        &mut self,
        py: Python<'_>,
        request: &Request,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        environ.set_item(intern!(py, "SERVER_NAME"), self.server.text(py, request.server())?)?;
        let number = |_: &[u8]| Ok(PyString::new(py, &request.port.to_string()));
        let port = self.port.get(py, &request.port.to_be_bytes(), number)?;
        environ.set_item(intern!(py, "SERVER_PORT"), port)?;
        environ.set_item(intern!(py, "REMOTE_ADDR"), self.client.text(py, request.client())?)?;
        environ.set_item(intern!(py, "REMOTE_PORT"), text(py, request.client_port()))
    }
}
