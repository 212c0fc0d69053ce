//! An upgraded connection: the handshake with the upstream, and the joining of both halves.

mod aside;
mod flow;
mod handshake;
mod pipes;
mod relay;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, task::Poll};

use bytes::Bytes;

use super::upstreams::Slot;
use crate::stream::{Socket, Stream};

use aside::Aside;
pub(super) use handshake::{Handshake, Switched};
use relay::Relay;

/// The upstream's half of an upgraded connection, in an answer of status 101.
///
/// The connection writes the head of the 101, then awaits `Tunnel::join`. It counts the
/// connection in the route's `Activity` and asks the route's guard again as often as the pass says.
pub struct Tunnel {
    socket: Arc<Socket>,
    /// What the upstream sent behind the head of its answer.
    early: Bytes,
    is_websocket: bool,
    /// Held for as long as the connection stands.
    slot: Slot,
}

/// Why we end an upgraded connection that both sides would keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The guard no longer lets it stand.
    Refused,
    /// The gateway stops, or its upstream is replaced.
    Stopping,
}

impl Tunnel {
    pub(super) fn new(
        socket: Arc<Socket>,
        early: Bytes,
        handshake: &Handshake,
        mut slot: Slot,
    ) -> Self {
        slot.upgrade();
        Self { socket, early, is_websocket: handshake.is_websocket(), slot }
    }

    /// Carries bytes both ways until both sides have ended, or there is reason for a farewell.
    /// `leftover` came from the client behind the request's head.
    pub(crate) async fn join(
        self,
        client: Stream,
        leftover: Bytes,
        farewell: impl Future<Output = Farewell>,
    ) {
        let Self { socket, early, is_websocket, slot } = self;
        let Some(socket) = Arc::into_inner(socket) else { return };
        let mut relay = Relay::new(client, Stream::Plain(socket), leftover, early);
        let reason = std::pin::pin!(async {
            tokio::select! {
                () = slot.member().failed().cancelled() => None,
                () = slot.member().dismissed().cancelled() => Some(Farewell::Stopping),
                farewell = farewell => Some(farewell),
            }
        });
        let mut reason = Aside::new(reason);
        let farewell = std::future::poll_fn(|context| match relay.poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => reason.poll(context),
        });
        if let Some(farewell) = farewell.await
            && is_websocket
        {
            // Boxed: it is rare, and the relay should be small.
            Box::pin(relay.close(farewell)).await;
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("slot", &self.slot).finish_non_exhaustive()
    }
}
