//! Requests and answers as they pass through the gateway.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;

use crate::{Body, Certificate, FieldBlock, Head, Trace};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Who stands at the other end of a Unix socket, as the kernel tells (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug)]
pub struct PeerCredentials {
    pub process: i32,
    pub user: u32,
    pub group: u32,
}

/// Where a request comes from, after forwarded headers of trusted peers were considered.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client's address: the nearest one that is not a trusted proxy; `None` over a Unix
    /// socket whose peer named none.
    pub address: Option<SocketAddr>,
    pub scheme: Scheme,
    /// Host and port as the client named them, in lower case, for links and for `Origin` checks.
    pub host: Arc<str>,
    /// The local port the request came in on; 0 over a Unix socket.
    pub port: u16,
    pub peer: Option<PeerCredentials>,
    /// The id of this request: letters, digits and `-`, at most 64 of them. Taken over from a
    /// trusted peer's `X-Request-Id`, else made here.
    pub request_id: Arc<str>,
    /// Set when requests are traced.
    pub trace: Option<Arc<Trace>>,
    pub proven: Option<Arc<Proven>>,
}

/// What is known of a client by proof rather than by its word.
#[derive(Clone, Debug, Default)]
pub struct Proven {
    /// The one it showed, which was verified.
    pub certificate: Option<Certificate>,
    /// Upstreams are told these fields, whose names begin with `X-Forwarded-`: such a field of a client
    /// is passed on to none, so that nobody else can say the same.
    pub fields: Vec<(String, String)>,
}

impl Client {
    /// Adds what a guard has found out.
    pub(crate) fn learn(&mut self, found: &[(String, String)]) {
        let mut proven = self.proven.as_deref().cloned().unwrap_or_default();
        proven.fields.extend_from_slice(found);
        self.proven = Some(Arc::new(proven));
    }

    /// Whether the bytes travel in the clear beyond this machine: plain HTTP from an address that
    /// is not a loopback one.
    pub fn is_exposed(&self) -> bool {
        self.scheme == Scheme::Http
            && self.address.is_some_and(|address| !address.ip().to_canonical().is_loopback())
    }
}

#[derive(Debug)]
pub struct Request {
    pub head: Head,
    pub body: Body,
    pub client: Client,
}

#[derive(Debug)]
pub struct Response {
    /// 200 to 599; 1xx are written by the connection itself.
    pub status: u16,
    /// Without Content-Length, Transfer-Encoding, Connection, Date and Server: those are the
    /// connection's to write. An upstream's Content-Length is kept for answers to HEAD only.
    pub fields: FieldBlock,
    pub body: Body,
}

impl Response {
    /// An answer with a content type and a whole body.
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut fields = FieldBlock::new();
        fields.push("Content-Type", content_type);
        Self { status, fields, body: Body::Full(body.into()) }
    }

    /// A redirect: 303 after a change, 308 where method and body must be repeated.
    pub fn redirect(status: u16, location: &str) -> Self {
        let mut fields = FieldBlock::new();
        fields.push("Location", location);
        Self { status, fields, body: Body::Empty }
    }
}
