//! Forwards requests to upstreams: choose one, rewrite fields, retry what is safe, join upgrades.

mod upstreams;

pub use upstreams::{Protocol, Upstream, UpstreamAddress, UpstreamId, UpstreamSettings, Upstreams};
