//! The gateway over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod access_log;
mod bodies;
mod changing;
mod client_certificates;
mod conformance;
mod counting;
mod errors;
mod finish;
mod http2;
mod limits;
mod listeners;
mod proxy_http1;
mod proxy_tls;
mod proxy_upgrade;
mod requests;
mod site;
mod slow_clients;
mod static_files;
mod stopping;
mod tls;
mod tracing;
mod trailers;
mod upstream;
mod wire;
