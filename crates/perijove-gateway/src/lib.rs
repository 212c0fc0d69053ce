//! The edge of perijove: listens, ends TLS, finds the route, serves files, proxies.
//!
//! It knows routes, targets and guards. It must not know of Python, users or notebooks: those
//! words do not occur here.

// The fuzzer's checks name this crate as others do.
#[cfg(test)]
extern crate self as perijove_gateway;

mod access;
mod access_log;
mod activity;
mod ancestors;
mod body;
mod buffers;
mod clock;
mod coding;
mod compress;
mod confine;
mod connection;
mod crowd;
mod decimal;
mod error;
mod fields;
mod files;
mod finish;
mod forwarded;
mod gateway;
mod guard;
mod head;
mod html;
#[cfg(target_os = "linux")]
mod linux;
mod listen;
mod log_file;
mod message;
mod meter;
mod note;
#[cfg(not(target_os = "linux"))]
mod portable;
mod private;
mod proxy;
mod redirect;
mod relocation;
mod request;
mod route;
mod routes;
mod service;
mod spool;
mod stream;
mod thread;
mod tls;
mod trace;
mod watch;

pub use access::Access;
pub use access_log::{AccessLog, LogFormat, LogTemplate, TemplateError};
pub use activity::Activity;
pub use ancestors::Ancestors;
pub use body::{Body, BodyError, FileBody, Source};
pub use confine::{Confinement, CookieNames};
pub use fields::FieldBlock;
pub(crate) use files::media_type;
pub use files::{CacheRule, FileMemory, FileSettings, Files, MediaTypes, clean_path};
pub use finish::{ErrorDocument, ErrorDocuments, ExtraFields, Finish, SendFiles};
pub use forwarded::{contains, network};
pub use gateway::{BindError, Change, Gateway, Handed, ListenAddress, Listener, Listeners, Plan};
pub use guard::{Denial, Guard, Pass, Question, Verdict};
pub use head::{Chunk, ChunkReader, Framing, Head, HeadError, HeadLimits, HeadReader};
pub use log_file::{LogFile, Rotation};
pub use message::{Client, PeerCredentials, Proven, Request, Response, Scheme};
pub use meter::{BOUNDS, ConnectionTotals, Histogram, Label, Meter, RouteTotals, Totals};
pub use proxy::{
    Health, Protocol, Tunnel, Upstream, UpstreamAddress, UpstreamId, UpstreamSettings, Upstreams,
    Work, ask,
};
pub use redirect::Moved;
pub use relocation::Relocation;
pub use route::{HostSent, Limits, Rewrite, Route, Secret, Target, Upgrades};
pub use routes::{Fence, Routes};
pub use service::{Service, ServiceRequest};
pub use spool::Spooling;
pub use tls::{
    Certificate, CertificateFiles, ClientCertificates, Tls, TlsError, TlsSettings, UpstreamTls,
    UpstreamTlsSettings,
};
pub use trace::{FinishedTrace, Sampling, SpanId, Trace, TraceId, Tracer};
