//! Settings of the edge: limits, certificates, routes to programs elsewhere.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::{Addresses, CacheRule, Driver, Interface, Period, Size, UpstreamTls, Words};

/// Limits of what clients may do.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Bytes of a request's line and header fields together.
    pub head: Size,
    /// Number of header fields.
    pub head_fields: usize,
    /// From the first byte of a request to the end of its head.
    pub head_time: Period,
    /// How long a kept-alive connection may stay without a request.
    pub idle_time: Period,
    /// How long a client may stop amid a body that it sends, or take nothing of its answer.
    pub transfer_time: Period,
    /// How long a client that has ended its side of the connection is waited for with its answer,
    /// before it counts as gone and its request is given up.
    pub half_closed_time: Period,
    /// The least bytes per second at which a client sends a body. Whoever is slower is answered
    /// with 408 when `transfer-time` is used up: waiting uses it up, what comes earns it again.
    /// `0`: any rate.
    pub body_rate: Size,
    /// The least bytes per second at which a client takes an answer that waits for it, over
    /// `transfer-time`. Streams that the client keeps up with, and websockets, are never too slow.
    /// `0`: any rate.
    pub answer_rate: Size,
    /// How long a websocket may carry nothing, in either direction. `0`: for ever.
    pub websocket_idle_time: Period,
    /// Open connections of all listeners together. No more than the limit of open files allows.
    pub connections: usize,
    /// Open connections of one address (of IPv6: of one network of 64 bits). Connections above it
    /// are closed. Trusted proxies have no such limit. `0`: no limit.
    pub connections_per_client: usize,
    /// Connections that wait to be accepted, for each listener. The kernel has a limit of its own
    /// (`net.core.somaxconn`).
    pub backlog: usize,
    /// How long requests under way may go on after the stop.
    pub drain_time: Period,
    /// How long requests and websockets under way may go on at the old process, when an upgrade of
    /// perijove has put a new one in its place. Then websockets are told to come again, and requests
    /// have `drain-time`.
    pub upgrade_time: Period,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Size(64 << 10),
            head_fields: 128,
            head_time: Period::seconds(30),
            idle_time: Period::seconds(75),
            transfer_time: Period::seconds(60),
            half_closed_time: Period::seconds(5),
            body_rate: Size(500),
            answer_rate: Size(500),
            websocket_idle_time: Period::seconds(86_400),
            connections: 10_000,
            connections_per_client: 0,
            backlog: 4096,
            drain_time: Period::seconds(30),
            upgrade_time: Period::seconds(600),
        }
    }
}

/// A path with something of its own: an application, a program elsewhere, files, a redirect.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Route {
    /// What the paths of its requests begin with, such as `"/grafana/"`. Without it, and with a
    /// `host`, all of them.
    pub path: String,
    /// For this host only; `"*.example.com"` is for all hosts below that one.
    pub host: Option<String>,
    /// An application that is run here, beside the site's: `"chat:application"`. It is asked with
    /// the whole path. Settings that are not written here are those of the site.
    pub app: Option<String>,
    /// The folder of the application. Without it that of the site.
    pub root: Option<PathBuf>,
    /// How the application is called: `auto`, `wsgi` or `asgi`.
    pub interface: Interface,
    /// The application's Python. Without it that of the site.
    pub python: Option<PathBuf>,
    /// The driver that starts the application's workers. Without it `native`.
    pub server: Option<Driver>,
    /// Further arguments of that server, as its own command line takes them.
    #[serde(default)]
    pub server_arguments: Vec<String>,
    /// A program that serves the path, as in `site.command`.
    pub command: Option<Words>,
    /// Number of the application's worker processes.
    pub workers: Option<usize>,
    /// Threads of each worker.
    pub threads: Option<usize>,
    /// A path that answers 2xx when a worker of the application is well.
    pub health: Option<String>,
    /// A service instead, by its name: it must have a socket.
    pub service: Option<String>,
    /// A program elsewhere instead: `"http://127.0.0.1:3000"`, `"https://app.example"` or
    /// `"unix:/run/other.sock"`; or a list of equal ones, of which that with the fewest requests
    /// under way is asked, else each in turn. `" weight=3"` behind an address gives it three times
    /// as many.
    pub upstream: Option<Addresses>,
    /// What the path begins with there, in place of `path`: `"/"` takes `path` off. Without it the
    /// path is passed on as it came. It may stand in the addresses too
    /// (`"http://127.0.0.1:3000/base/"`).
    pub upstream_path: Option<String>,
    /// TLS to it, where it is reached by `https://`.
    pub upstream_tls: Option<UpstreamTls>,
    /// What it is told in `Host`: `client`, what the client named (which stands in
    /// `X-Forwarded-Host` in any case); `upstream`, the host of its own address; or a name.
    /// Without it `client`.
    pub upstream_host: Option<String>,
    /// Files instead: what lies below this folder.
    pub folder: Option<PathBuf>,
    /// One file instead, at this path alone.
    pub file: Option<PathBuf>,
    /// What a folder is when it is asked for itself: the first of these files that is there.
    /// Without it `index.html`.
    pub index: Option<Vec<String>>,
    /// Whether a folder without such a file is answered with a list of what is in it.
    pub listing: bool,
    /// The file that answers for pages that are not there, to those who accept HTML.
    pub fallback: Option<String>,
    /// How long browsers may keep files; the first that fits counts.
    pub cache: Vec<CacheRule>,
    /// Whether files whose names hold a hash of their content may be kept for ever where no rule
    /// of `cache` fits. Without it they may.
    pub immutable: Option<bool>,
    /// Media types of files by the ends of their names, before those that are built in:
    /// `{ glsl = "text/plain" }`.
    pub types: BTreeMap<String, String>,
    /// Whether texts are compressed for clients that can read it. Without it as for the site.
    pub compress: Option<bool>,
    /// Header fields that every answer has, beside those of the site.
    pub headers: BTreeMap<String, String>,
    /// Elsewhere instead: the address that is answered. `{path}` in it is the path and the query of
    /// the request, `{rest}` what of them stands behind the route's path:
    /// `"https://example.com{path}"`.
    pub redirect: Option<String>,
    /// Status of the redirect: 301, 302, 303, 307 or 308. Without it 302.
    pub status: Option<u16>,
    /// Bytes of a request's body.
    pub body_limit: Option<Size>,
    /// Bodies up to this size are received as a whole before they are passed on.
    pub body_buffer: Option<Size>,
    /// How long an answer may be silent.
    pub response_time: Option<Period>,
    /// For a connection to the program to be made.
    pub connect_time: Option<Period>,
    /// Addresses and networks whose clients alone may come here. Those of `site` hold too.
    #[serde(default)]
    pub allow_from: Vec<String>,
    /// Addresses and networks whose clients may not come here.
    #[serde(default)]
    pub deny_from: Vec<String>,
    /// Clients must show a certificate of `tls.client-ca`.
    #[serde(default)]
    pub client_certificate: bool,
}
