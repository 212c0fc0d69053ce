//! Forwards requests to upstreams: choose one, rewrite fields, retry what is safe, join upgrades.

mod upgrade;
mod upstreams;

use std::sync::Arc;

pub use upgrade::Tunnel;
pub use upstreams::{Protocol, Upstream, UpstreamAddress, UpstreamId, UpstreamSettings, Upstreams};

use crate::{Pass, Request, Response, Route, error::Fault};

/// Sends a request to one of the upstreams and returns its answer, the body still to come.
///
/// The request's body is limited by the caller, and the fields of the pass are added to the answer
/// by the caller.
pub(crate) async fn forward(
    upstreams: &Arc<Upstreams>,
    request: Request,
    route: &Arc<Route>,
    pass: &Pass,
) -> Result<Response, Fault> {
    todo!("{upstreams:?}{request:?}{route:?}{pass:?}")
}
