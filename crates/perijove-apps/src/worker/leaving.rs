//! A worker that takes no more requests: what is under way is finished, then it ends.

use std::{sync::Arc, time::Duration};

use perijove_gateway::UpstreamId;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{End, Phase, Place, Process, Shared, Wish, wish};

/// What a worker may take to end when the time for draining is used up.
pub(super) const AT_LEAST: Duration = Duration::from_millis(500);
/// What one that was replaced may take when it has websockets then: it may want to say good-bye.
pub(super) const GOOD_BYE: Duration = Duration::from_secs(5);

/// A worker on its way out.
pub(super) struct Leaving {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Place,
    pub(super) wishes: watch::Receiver<Wish>,
    pub(super) process: Process,
    pub(super) id: UpstreamId,
    pub(super) end: End,
}

impl Leaving {
    pub(super) async fn run(mut self) {
        let upstreams = Arc::clone(&self.shared.upstreams);
        upstreams.remove(self.id);
        let pid = Some(self.process.child.pid());
        self.shared.roll.change(self.place, |status| status.enter(Phase::Draining, pid));
        let least = self.drain().await;
        upstreams.dismiss(self.id);
        self.stop(least).await;
        // What was still under way is answered now.
        upstreams.fail(self.id);
    }

    /// Waits until nothing is under way. Websockets have a deadline of their own; where one stands,
    /// there is no need to cut off a request either.
    /// Returns what the process may take to end at least.
    async fn drain(&mut self) -> Duration {
        let (upstreams, id) = (Arc::clone(&self.shared.upstreams), self.id);
        let is_there = self.until(upstreams.answered(id), |end| end.requests).await;
        if !is_there || upstreams.work(id).is_none_or(|work| work.upgraded == 0) {
            return AT_LEAST;
        }
        let pid = Some(self.process.child.pid());
        self.shared.roll.change(self.place, |status| status.enter(Phase::Lingering, pid));
        self.until(upstreams.hung_up(id), |end| end.websockets).await;
        self.end.good_bye
    }

    /// Waits for something until a deadline, which a wish may bring nearer. False when the process
    /// has ended.
    async fn until(
        &mut self,
        done: impl Future<Output = ()>,
        deadline: fn(&End) -> Instant,
    ) -> bool {
        tokio::pin!(done);
        loop {
            let end = self.end;
            tokio::select! {
                () = &mut done => return true,
                _ = self.process.child.ended() => return false,
                () = sleep_until(deadline(&end)) => return true,
                nearer = nearer(&mut self.wishes, end) => self.end = nearer,
            }
        }
    }

    /// Asks the process to end, and has it killed when the time is over.
    async fn stop(&mut self, mut least: Duration) {
        loop {
            let left = self.end.requests.saturating_duration_since(Instant::now());
            self.process.child.terminate(left.max(least));
            let end = self.end;
            tokio::select! {
                _ = self.process.child.ended() => return,
                nearer = nearer(&mut self.wishes, end) => {
                    self.end = nearer;
                    least = AT_LEAST;
                }
            }
        }
    }
}

/// Waits for a wish that brings the end nearer.
async fn nearer(wishes: &mut watch::Receiver<Wish>, end: End) -> End {
    let is_nearer = |wish| matches!(wish, Wish::Finish(other) if end.nearer(other) != end);
    match wish(wishes, is_nearer).await {
        // Nobody is left to wish: the end is now, and was told once.
        Wish::Finish(other) if end.nearer(other) != end => end.nearer(other),
        _ => std::future::pending().await,
    }
}
