//! An upgraded connection: the handshake with the upstream, and the joining of both halves.

mod aside;
mod flow;
mod handshake;
mod pipes;
mod relay;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;

use super::upstreams::Slot;
use crate::stream::Stream;

use aside::Aside;
pub(super) use handshake::{Handshake, Switched};
use relay::Relay;

/// The upstream's half of an upgraded connection, in an answer of status 101.
///
/// The connection writes the head of the 101, then awaits `Tunnel::join`. It counts the
/// connection in the route's `Activity` and asks the route's guard again as often as the pass says.
pub struct Tunnel {
    stream: Stream,
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
    /// Nothing was carried for too long.
    Silent,
}

impl Tunnel {
    pub(super) fn new(stream: Stream, early: Bytes, handshake: &Handshake, mut slot: Slot) -> Self {
        slot.upgrade();
        Self { stream, early, is_websocket: handshake.is_websocket(), slot }
    }

    /// Carries bytes both ways until both sides have ended, or there is reason for a farewell.
    /// `leftover` came from the client behind the request's head. `silence`: how long nothing may
    /// be carried; zero: for ever.
    pub(crate) async fn join(
        self,
        client: Stream,
        leftover: Bytes,
        silence: Duration,
        farewell: impl Future<Output = Farewell>,
    ) {
        let Self { stream, early, is_websocket, slot } = self;
        let carried = AtomicU64::new(0);
        let mut relay = Relay::new(client, stream, leftover, early);
        let reason = std::pin::pin!(async {
            tokio::select! {
                () = slot.member().failed().cancelled() => None,
                () = slot.member().dismissed().cancelled() => Some(Farewell::Stopping),
                farewell = farewell => Some(farewell),
                () = silent(&carried, silence) => Some(Farewell::Silent),
            }
        });
        let mut reason = Aside::new(reason);
        let farewell = std::future::poll_fn(|context| match relay.poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => {
                carried.store(relay.carried(), Ordering::Relaxed);
                reason.poll(context)
            }
        });
        if let Some(farewell) = farewell.await
            && is_websocket
        {
            // Boxed: it is rare, and the relay should be small.
            Box::pin(relay.close(farewell)).await;
        }
    }
}

/// Ends when `carried` has not changed for this long; it is looked at a few times within it.
async fn silent(carried: &AtomicU64, silence: Duration) {
    if silence.is_zero() {
        return std::future::pending().await;
    }
    let (mut before, mut quiet) = (0, 0);
    while quiet < LOOKS {
        tokio::time::sleep(silence / LOOKS).await;
        let now = carried.load(Ordering::Relaxed);
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
}

/// How often silence is looked for within its longest time.
const LOOKS: u32 = 8;

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("slot", &self.slot).finish_non_exhaustive()
    }
}
