//! The upstreams of a route: which there are, how busy each is, who waits for one.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::Secret;

/// A set of equal upstreams, edited by whoever runs them while the gateway uses it.
#[derive(Debug)]
pub struct Upstreams {
    settings: UpstreamSettings,
}

#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// How long a request waits in line for a free upstream before it is answered with 503.
    pub wait: Duration,
    /// How many may wait; more are answered with 503 at once.
    pub queue: usize,
    /// For a connection to be made.
    pub connect_time: Duration,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self { wait: Duration::from_secs(30), queue: 4096, connect_time: Duration::from_secs(5) }
    }
}

/// One upstream.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub address: UpstreamAddress,
    pub protocol: Protocol,
    /// How many requests it takes at once; `None`: as many as come.
    pub capacity: Option<usize>,
    /// On a Unix socket: the account that must answer (`SO_PEERCRED`), checked on every connect.
    pub account: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// Host and port.
    Tcp(String),
    Unix(PathBuf),
}

/// How an upstream is spoken to.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// HTTP/1.1 with kept-alive connections.
    Http1,
    /// The frames of native workers (decision 0001); the secret opens a connection.
    Frames { secret: Secret },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub(crate) u64);

impl Upstreams {
    pub fn new(settings: UpstreamSettings) -> Arc<Self> {
        Arc::new(Self { settings })
    }

    /// Adds an upstream: requests go to it from now on.
    pub fn add(&self, upstream: Upstream) -> UpstreamId {
        todo!("{upstream:?}{:?}", self.settings)
    }

    /// Takes an upstream out: no new requests go to it, those under way are finished.
    pub fn remove(&self, id: UpstreamId) {
        todo!("{id:?}")
    }

    /// Takes an upstream that died out at once: requests that never reached its application are
    /// sent to another upstream, the rest is answered with 502.
    pub fn fail(&self, id: UpstreamId) {
        todo!("{id:?}")
    }

    /// Waits until nothing is under way at an upstream, upgraded connections included.
    pub async fn drained(&self, id: UpstreamId) {
        todo!("{id:?}")
    }

    /// Requests under way and in line.
    pub fn load(&self) -> (usize, usize) {
        todo!()
    }
}
