//! The gateway: binds its listeners, then runs until it is told to stop.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::{HeadLimits, Routes};

/// What the gateway is to do, checked and resolved.
#[derive(Debug)]
pub struct Plan {
    pub listeners: Vec<Listener>,
    /// Threads that carry traffic, each with an event loop of its own.
    pub threads: usize,
    pub head: HeadLimits,
    /// From the first byte (or the handshake) to the end of a request's head.
    pub head_time: Duration,
    /// A kept-alive connection without a request.
    pub idle_time: Duration,
    /// Open connections of all listeners together.
    pub connections: usize,
    /// How long requests under way may go on after the stop.
    pub drain_time: Duration,
    /// Networks whose forwarded headers are believed, as address and prefix length.
    pub trusted_proxies: Vec<(std::net::IpAddr, u8)>,
    /// A folder with `404.html` and the like.
    pub error_pages: Option<PathBuf>,
}

/// One address and what is served there.
#[derive(Debug)]
pub struct Listener {
    pub address: ListenAddress,
    pub routes: Routes,
    /// Replaced as a whole when the certificates change.
    pub tls: Option<Arc<arc_swap::ArcSwap<rustls::ServerConfig>>>,
    /// Whether requests here stand in the access log.
    pub is_logged: bool,
}

#[derive(Debug)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    /// A Unix socket with its permission bits.
    Unix {
        path: PathBuf,
        mode: u32,
    },
    /// A descriptor that was inherited (`LISTEN_FDS`).
    Inherited(std::os::fd::OwnedFd),
}

/// Why a listener could not be opened.
#[derive(Debug, Error)]
pub enum BindError {
    #[error("{address} is in use by another program")]
    InUse { address: String },
    #[error("could not listen on {address}")]
    Io { address: String, source: std::io::Error },
}

/// Bound listeners, not yet serving.
#[derive(Debug)]
pub struct Gateway {
    plan: Plan,
}

impl Gateway {
    /// Opens every listener.
    pub fn bind(plan: Plan) -> Result<Self, BindError> {
        Ok(Self { plan })
    }

    /// The addresses that were bound, as `http://127.0.0.1:8000`, `https://…` or `unix:/path`.
    pub fn addresses(&self) -> Vec<String> {
        todo!("{:?}", self.plan)
    }

    /// Serves until `stop`, then takes no more connections, finishes the requests under way within
    /// the drain time, and returns. A second call of `now` ends at once.
    pub async fn run(self, stop: CancellationToken, now: CancellationToken) {
        todo!("{stop:?}{now:?}")
    }
}
