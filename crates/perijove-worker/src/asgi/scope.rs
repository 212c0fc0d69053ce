//! The scope of a request, made from what the gateway sent.

use pyo3::{
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString, PyTuple},
};

use crate::{
    environ::Paths,
    frames::{BodyLength, Request},
    kept::{DROPPED, Fields, Last, text},
};

/// The version of ASGI, and of its HTTP and websocket part, that we keep to.
const VERSIONS: [(&str, &str); 2] = [("version", "3.0"), ("spec_version", "2.5")];

/// Makes scopes.
#[derive(Debug)]
pub(super) struct ScopeMaker {
    /// What is the same for all requests. Copied: cheaper than setting each again.
    http: Py<PyDict>,
    websocket: Py<PyDict>,
    state: Option<Py<PyDict>>,
    fields: Fields<PyBytes, PyBytes>,
    method: Last<PyString>,
    server: Last<PyTuple>,
    client: Last<PyString>,
}

impl ScopeMaker {
    /// Prepares what all requests share. `state` is what the lifespan made.
    pub(super) fn new(py: Python<'_>, state: Option<Py<PyDict>>) -> PyResult<Self> {
        Ok(Self {
            http: base(py, "http", &["http.response.pathsend"])?.unbind(),
            websocket: base(py, "websocket", &["websocket.http.response"])?.unbind(),
            state,
            fields: Fields::new(),
            method: Last::default(),
            server: Last::default(),
            client: Last::default(),
        })
    }

    /// The scope of a request.
    pub(super) fn make<'py>(
        &mut self,
        py: Python<'py>,
        request: &Request,
        is_websocket: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let base = if is_websocket { &self.websocket } else { &self.http };
        let scope = base.bind(py).copy()?;
        let version = match request.version {
            0 => intern!(py, "1.0"),
            1 => intern!(py, "1.1"),
            _ => intern!(py, "2"),
        };
        scope.set_item(intern!(py, "http_version"), version)?;
        let scheme = match (is_websocket, request.is_https) {
            (false, false) => intern!(py, "http"),
            (false, true) => intern!(py, "https"),
            (true, false) => intern!(py, "ws"),
            (true, true) => intern!(py, "wss"),
        };
        scope.set_item(intern!(py, "scheme"), scheme)?;
        set_paths(&scope, request)?;
        self.set_addresses(&scope, request)?;
        scope.set_item(intern!(py, "headers"), self.list(py, request)?)?;
        if is_websocket {
            scope.set_item(intern!(py, "subprotocols"), subprotocols(py, request)?)?;
        } else {
            let method = self.method.text(py, request.method())?;
            scope.set_item(intern!(py, "method"), method)?;
        }
        if let Some(state) = &self.state {
            scope.set_item(intern!(py, "state"), state.bind(py).copy()?)?;
        }
        Ok(scope)
    }

    /// The request's id, for its lines in the log.
    #[expect(clippy::unused_self, reason = "asked for together with the scope")]
    pub(super) fn request_id<'py>(
        &self,
        py: Python<'py>,
        request: &Request,
    ) -> Bound<'py, PyString> {
        text(py, request.request_id())
    }

    /// The fields of a request as ASGI has them: pairs of bytes, names in lower case.
    fn list<'py>(&mut self, py: Python<'py>, request: &Request) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for (name, value) in request.fields() {
            if DROPPED.contains(&name) {
                continue;
            }
            let make = |name: &[u8]| PyBytes::new(py, name).unbind();
            let Some(slot) = self.fields.slot(name, make) else { continue };
            let value = match &mut slot.value {
                Some(last) => last.get(py, value, |bytes| Ok(PyBytes::new(py, bytes)))?,
                None => PyBytes::new(py, value),
            };
            list.append((slot.made.bind(py), value))?;
        }
        // The gateway says it in the frame, not in a field; frameworks look for it in the fields.
        if let BodyLength::Known(length) = request.body
            && request.field(b"content-length").is_none()
        {
            let value = PyBytes::new(py, length.to_string().as_bytes());
            list.append((PyBytes::new(py, b"content-length"), value))?;
        }
        Ok(list)
    }

    fn set_addresses(&mut self, scope: &Bound<'_, PyDict>, request: &Request) -> PyResult<()> {
        let py = scope.py();
        let mut address = request.server().to_vec();
        address.extend_from_slice(&request.port.to_be_bytes());
        let server = self
            .server
            .get(py, &address, |_| (text(py, request.server()), request.port).into_pyobject(py))?;
        scope.set_item(intern!(py, "server"), server)?;
        if request.client().is_empty() {
            return scope.set_item(intern!(py, "client"), py.None());
        }
        let client = self.client.text(py, request.client())?;
        let port = std::str::from_utf8(request.client_port()).ok();
        let port: u16 = port.and_then(|port| port.parse().ok()).unwrap_or(0);
        scope.set_item(intern!(py, "client"), (client, port))
    }
}

/// What all scopes of a type have. The keys that each request sets are there, so that a copy has
/// room for them.
fn base<'py>(py: Python<'py>, kind: &str, extensions: &[&str]) -> PyResult<Bound<'py, PyDict>> {
    let base = PyDict::new(py);
    let asgi = PyDict::new(py);
    for (key, value) in VERSIONS {
        asgi.set_item(key, value)?;
    }
    let known = PyDict::new(py);
    for extension in extensions {
        known.set_item(extension, PyDict::new(py))?;
    }
    base.set_item(PyString::intern(py, "type"), PyString::intern(py, kind))?;
    base.set_item(PyString::intern(py, "asgi"), asgi)?;
    for key in ["http_version", "server", "client", "scheme"] {
        base.set_item(PyString::intern(py, key), "")?;
    }
    if kind == "http" {
        base.set_item(PyString::intern(py, "method"), "")?;
    }
    for key in ["root_path", "path", "raw_path", "query_string", "headers"] {
        base.set_item(PyString::intern(py, key), "")?;
    }
    base.set_item(PyString::intern(py, "extensions"), known)?;
    Ok(base)
}

/// Paths: the whole one, mount point included, decoded and as it was sent.
fn set_paths(scope: &Bound<'_, PyDict>, request: &Request) -> PyResult<()> {
    let py = scope.py();
    let paths = Paths::of(request.target(), b"");
    let script = Paths::of(request.mount(), b"");
    scope.set_item(intern!(py, "root_path"), utf8(py, &script.path))?;
    scope.set_item(intern!(py, "path"), utf8(py, &paths.path))?;
    scope.set_item(intern!(py, "query_string"), PyBytes::new(py, paths.query))?;
    let raw = match memchr::memchr(b'?', request.target()) {
        Some(at) => request.target().get(..at).unwrap_or_default(),
        None => request.target(),
    };
    scope.set_item(intern!(py, "raw_path"), PyBytes::new(py, raw))
}

/// Text in UTF-8; what is none becomes U+FFFD.
fn utf8<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    PyString::new(py, &String::from_utf8_lossy(bytes))
}

/// The subprotocols that a client offers.
fn subprotocols<'py>(py: Python<'py>, request: &Request) -> PyResult<Bound<'py, PyList>> {
    let offered = PyList::empty(py);
    let fields = request.fields().filter(|(name, _)| *name == b"sec-websocket-protocol");
    for (_, list) in fields {
        for name in list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if !name.is_empty() {
                offered.append(text(py, name))?;
            }
        }
    }
    Ok(offered)
}
