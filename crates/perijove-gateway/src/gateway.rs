//! The gateway: binds its listeners, then runs until it is told to stop.

mod listeners;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::{
    AccessLog, HeadLimits, Meter, Routes, Tracer,
    thread::{Crew, Terms},
};

pub use listeners::{Change, Handed, Listeners};

/// What the gateway is to do, checked and resolved. Begin with `Plan::default()`, which has no
/// listeners.
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
    /// How long a client may neither send what is waited for nor take what waits for it.
    pub transfer_time: Duration,
    /// A client that has ended its side of the connection: how long it is waited for before it
    /// counts as one that has left.
    pub half_closed_time: Duration,
    /// The least bytes per second at which a client sends a body, over longer times; 0: none.
    pub body_rate: u64,
    /// The least bytes per second at which a client takes an answer that waits for it; 0: none.
    pub answer_rate: u64,
    /// Open connections of all listeners together.
    pub connections: usize,
    /// Open connections of one address (of IPv6: of one network of 64 bits) that is no trusted
    /// proxy.
    pub connections_per_client: Option<usize>,
    /// Connections that wait to be accepted; the kernel takes less when its own limit is lower.
    pub backlog: i32,
    /// How long requests under way may go on after the stop.
    pub drain_time: Duration,
    /// Networks whose forwarded headers are believed, as address and prefix length.
    pub trusted_proxies: Vec<(IpAddr, u8)>,
    /// Whether upstreams are told version, cipher and server name of a client's TLS.
    pub tells_of_tls: bool,
    /// Whether the forwarded headers of whoever reaches a Unix socket are believed.
    pub trusts_unix_peers: bool,
    /// A folder with `404.html` and the like.
    pub error_pages: Option<PathBuf>,
    pub access_log: Option<AccessLog>,
    /// Requests that took this long are told in the log of the program.
    pub slow: Option<Duration>,
    pub meter: Option<Arc<Meter>>,
    pub tracer: Option<Arc<Tracer>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            threads: 1,
            head: HeadLimits::default(),
            head_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(75),
            transfer_time: Duration::from_secs(60),
            half_closed_time: Duration::from_secs(5),
            body_rate: 500,
            answer_rate: 500,
            connections: 10_000,
            connections_per_client: None,
            backlog: 4096,
            drain_time: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
            tells_of_tls: false,
            trusts_unix_peers: false,
            error_pages: None,
            access_log: None,
            slow: None,
            meter: None,
            tracer: None,
        }
    }
}

/// One address and what is served there.
#[derive(Debug)]
pub struct Listener {
    /// What tells it from others when listeners change: one of the same name stays open.
    pub name: String,
    pub address: ListenAddress,
    pub routes: Routes,
    /// Replaced as a whole when the certificates change.
    pub tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    /// The Strict-Transport-Security of answers over HTTPS (RFC 6797).
    pub strict_transport: Option<Arc<str>>,
    /// Whether requests here stand in the access log, are counted, and told when they are slow.
    pub is_logged: bool,
    /// Whether requests here are traced.
    pub is_traced: bool,
}

impl Listener {
    /// A listener without TLS, logged and traced, named for its address.
    pub fn new(address: ListenAddress, routes: Routes) -> Self {
        let name = address.to_string();
        Self {
            name,
            address,
            routes,
            tls: None,
            strict_transport: None,
            is_logged: true,
            is_traced: true,
        }
    }
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
    /// A listener of another program of ours, which lets go of it when this one takes over; then
    /// the file of a Unix socket is this one's ([`Listeners::own`]).
    Handed {
        socket: std::os::fd::OwnedFd,
        file: Option<PathBuf>,
    },
    /// That of a listener of the same name that is open already: it can be kept, not opened.
    Open,
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Inherited(_) | Self::Handed { .. } => f.write_str("the inherited socket"),
            Self::Open => f.write_str("a socket that was open"),
        }
    }
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
    listeners: Listeners,
}

impl Gateway {
    /// Opens every listener.
    pub fn bind(plan: Plan) -> Result<Self, BindError> {
        Ok(Self { listeners: Listeners::open(plan)? })
    }

    /// The addresses that were bound, as `http://127.0.0.1:8000`, `https://…` or `unix:/path`, in
    /// the order of the plan.
    pub fn addresses(&self) -> Vec<String> {
        self.listeners.addresses()
    }

    /// The listeners, to be changed or handed on while the gateway runs.
    pub fn listeners(&self) -> Listeners {
        self.listeners.clone()
    }

    /// Serves until `stop`, then takes no more connections, finishes the requests under way within
    /// the drain time, and returns. `now` ends at once.
    pub async fn run(self, stop: CancellationToken, now: CancellationToken) {
        let rules = self.listeners.rules();
        let first = rules.load_full();
        let crew = Crew::new(&first);
        let terms = Terms { threads: first.threads.max(1), rules, stop: stop.clone(), now };
        let ended = crew.start(&terms);
        self.listeners.man(&crew);
        // Dropping the listeners' own descriptors lets the port go as soon as the threads have
        // dropped theirs.
        stop.cancelled().await;
        self.listeners.close();
        ended.await;
    }
}
