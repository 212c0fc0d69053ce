//! An upgraded connection: the upstream's half, until the client's is joined to it.

use bytes::Bytes;

use crate::stream::Stream;

/// The upstream's half of an upgraded connection, in an answer of status 101.
///
/// The connection writes the head of the 101, then awaits [`Tunnel::join`]. It counts the
/// connection in the route's `Activity`, asks the route's guard again as often as the pass says,
/// and drops the future when the answer has turned to no or the gateway stops.
#[derive(Debug)]
pub struct Tunnel {}

impl Tunnel {
    /// Carries bytes both ways until both sides have ended. `leftover` came from the client behind
    /// the request's head.
    pub(crate) async fn join(self, client: Stream, leftover: Bytes) {
        todo!("{client:?}{leftover:?}")
    }
}
