//! The task of one service: starts it, starts it again when it ends, ends it when that is wished.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use perijove_gateway::{UpstreamId, Upstreams};
use perijove_process::Backoff;
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use super::{Shared, process::Process};
use crate::config::plan::ServicePlan;

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    #[default]
    Starting,
    Serving,
    /// Ended by itself, and will be started again.
    Pausing,
    Stopping,
    Gone,
}

/// What is known of a service.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    pub(super) phase: Phase,
    pub(super) pid: Option<u32>,
    /// Of the phase, in seconds since the Unix epoch.
    pub(super) since: u64,
    pub(super) restarts: u32,
    pub(super) last_failure: Option<String>,
    /// It runs, and serves its socket if it has one.
    pub(super) is_ready: bool,
}

pub(super) struct Keeper {
    pub(super) plan: Arc<ServicePlan>,
    pub(super) environment: Arc<BTreeMap<OsString, OsString>>,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) shared: Arc<Shared>,
    pub(super) status: watch::Sender<Status>,
    pub(super) stopped: watch::Receiver<Option<Duration>>,
}

/// Waits until a service has ended for good.
pub(super) async fn until_gone(mut status: watch::Receiver<Status>) {
    // An error means that its task has ended.
    status.wait_for(|status| status.phase == Phase::Gone).await.ok();
}

impl Keeper {
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        while !self.is_stopped() {
            let begun = Instant::now();
            let Some(why) = self.live().await else { break };
            let pause = backoff.after(begun.elapsed());
            tracing::warn!(
                service = self.plan.name,
                "the service {why}; it is started again in {:.1} s",
                pause.as_secs_f32()
            );
            self.tell(Phase::Pausing, None, |status| {
                status.restarts = status.restarts.saturating_add(1);
                status.last_failure = Some(why);
                status.is_ready = false;
            });
            tokio::select! {
                () = sleep(pause) => {}
                _ = until_stopped(&mut self.stopped) => break,
            }
        }
        self.tell(Phase::Gone, None, |status| status.is_ready = false);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.borrow().is_some()
    }

    /// One process, from its start to its end; why it ended, unless that was wished.
    async fn live(&mut self) -> Option<String> {
        let process = match Process::start(&self.plan, &self.environment, &self.shared) {
            Ok(process) => process,
            Err(why) => return Some(why),
        };
        let pid = Some(process.child.pid());
        self.tell(Phase::Starting, pid, |_| {});
        let served = tokio::select! {
            served = process.until_served(&self.plan, &self.upstreams) => served,
            within = until_stopped(&mut self.stopped) => {
                self.end(&process, None, within).await;
                return None;
            }
        };
        let upstream = match served {
            Ok(upstream) => upstream,
            Err(why) => {
                process.end(self.plan.stop_time).await;
                return Some(why);
            }
        };
        self.tell(Phase::Serving, pid, |status| status.is_ready = true);
        tokio::select! {
            ending = process.child.ended() => {
                if let Some(upstream) = upstream {
                    self.upstreams.fail(upstream);
                }
                Some(format!("ended by itself ({})", ending.how))
            }
            within = until_stopped(&mut self.stopped) => {
                self.end(&process, upstream, within).await;
                None
            }
        }
    }

    /// Takes no more requests, lets those under way end, then ends the process.
    /// The time may become shorter meanwhile.
    async fn end(&mut self, process: &Process, upstream: Option<UpstreamId>, within: Duration) {
        let pid = Some(process.child.pid());
        self.tell(Phase::Stopping, pid, |status| status.is_ready = false);
        let since = Instant::now();
        let mut within = within;
        if let Some(upstream) = upstream {
            self.upstreams.remove(upstream);
            let upstreams = self.upstreams.clone();
            // Websockets may stay to the end of the time.
            let mut drained = pin!(timeout_at(since + within, upstreams.drained(upstream)));
            while let Some(shorter) = self.hastened(within, drained.as_mut()).await {
                within = shorter;
                drained.set(timeout_at(since + within, upstreams.drained(upstream)));
            }
        }
        loop {
            let left = (since + within).saturating_duration_since(Instant::now());
            match self.hastened(within, pin!(process.end(left))).await {
                Some(shorter) => within = shorter,
                None => break,
            }
        }
        if let Some(upstream) = upstream {
            self.upstreams.fail(upstream);
        }
    }

    /// Waits for something, or until less time is given to it than this: how much.
    async fn hastened(
        &mut self,
        within: Duration,
        something: Pin<&mut impl Future>,
    ) -> Option<Duration> {
        let is_shorter = |stop: &Option<Duration>| stop.is_some_and(|stop| stop < within);
        tokio::select! {
            _ = something => None,
            Ok(stop) = self.stopped.wait_for(is_shorter) => *stop,
        }
    }

    fn tell(&self, phase: Phase, pid: Option<u32>, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(|status| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            (status.phase, status.pid, status.since) = (phase, pid, now.as_secs());
            change(status);
        });
    }
}

/// Waits until the end is wished for, and says within which time.
async fn until_stopped(stopped: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stopped.wait_for(Option::is_some).await {
        Ok(within) => within.unwrap_or_default(),
        // Nobody is left who could wish.
        Err(_) => Duration::ZERO,
    }
}
