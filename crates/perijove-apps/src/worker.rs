//! One worker, kept alive: started, published when it is ready, started again when it dies.
//!
//! ```text
//! Starting ──▶ Ready ──▶ Serving ──▶ Draining ──▶ Gone
//!    ▲ │         │          │
//!    │ ▼         ▼          ▼
//!   Pausing ◀──── it died, or never became ready
//! ```

mod process;
mod status;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use perijove_gateway::{UpstreamId, Upstreams};
use perijove_process::Backoff;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::TaskTracker;

use crate::Plan;
use process::Process;
pub use status::{Failure, Phase, WorkerStatus};

/// What a worker that was never published may take to end.
const UNUSED: Duration = Duration::from_secs(5);
/// What a worker may take to end when the time for draining is used up.
const AT_LEAST: Duration = Duration::from_millis(500);

/// What the workers of one set share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) tracker: TaskTracker,
    /// For the names of sockets: one that was used is not used again.
    pub(crate) numbers: Arc<AtomicU64>,
    /// Of each worker.
    pub(crate) statuses: watch::Sender<Vec<WorkerStatus>>,
}

/// What a set wants of its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Be ready, and take no requests.
    Prepare,
    Serve,
    /// Take no more requests, and be gone by then.
    Finish(Instant),
}

/// Keeps a worker alive for as long as that is wished. `at` is its place among the statuses.
pub(crate) fn keep(shared: Arc<Shared>, at: usize, wishes: watch::Receiver<Wish>) {
    let tracker = shared.tracker.clone();
    tracker.spawn(Keeper { shared, at, wishes }.run());
}

/// The task of one worker.
struct Keeper {
    shared: Arc<Shared>,
    at: usize,
    wishes: watch::Receiver<Wish>,
}

/// Why a life of a worker is over.
enum Over {
    /// It was wished.
    Finished,
    /// It failed, after this time.
    Failed(Failure, Duration),
}

impl Keeper {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let (failure, ran_for) = match self.live().await {
                Over::Finished => break,
                Over::Failed(failure, ran_for) => (failure, ran_for),
            };
            let pause = backoff.after(ran_for);
            tracing::warn!(
                application = %self.shared.plan.application,
                "a worker {failure}; another one is started in {:.1} s", pause.as_secs_f32()
            );
            self.tell(|status| status.fail(failure));
            tokio::select! {
                () = sleep(pause) => {}
                _ = finish(&mut self.wishes) => break,
            }
        }
        self.enter(Phase::Gone, None);
    }

    /// One process, from its start to its end.
    async fn live(&mut self) -> Over {
        let begun = Instant::now();
        let mut process = match Process::start(&self.shared) {
            Ok(process) => process,
            Err(failure) => return Over::Failed(failure, begun.elapsed()),
        };
        self.enter(Phase::Starting, Some(process.child.pid()));
        let ready = tokio::select! {
            ready = process.until_ready(&self.shared.plan) => Some(ready),
            _ = finish(&mut self.wishes) => None,
        };
        match ready {
            Some(Ok(())) => {}
            Some(Err(failure)) => return Over::Failed(failure, begun.elapsed()),
            None => {
                process.end(UNUSED).await;
                return Over::Finished;
            }
        }
        self.enter(Phase::Ready, Some(process.child.pid()));
        tokio::select! {
            ending = process.child.ended() => {
                return Over::Failed(Failure::Ended(ending), begun.elapsed());
            }
            wish = wish(&mut self.wishes, |wish| wish != Wish::Prepare) => {
                if wish != Wish::Serve {
                    process.end(UNUSED).await;
                    return Over::Finished;
                }
            }
        }
        self.serve(process, begun).await
    }

    async fn serve(&mut self, process: Process, begun: Instant) -> Over {
        let id = self.shared.upstreams.add(process.upstream());
        self.enter(Phase::Serving, Some(process.child.pid()));
        let deadline = tokio::select! {
            ending = process.child.ended() => {
                self.shared.upstreams.fail(id);
                return Over::Failed(Failure::Ended(ending), begun.elapsed());
            }
            deadline = finish(&mut self.wishes) => deadline,
        };
        self.shared.upstreams.remove(id);
        self.enter(Phase::Draining, Some(process.child.pid()));
        let deadline = self.drain(&process, id, deadline).await;
        self.end(&process, deadline).await;
        // What was still under way is answered now.
        self.shared.upstreams.fail(id);
        Over::Finished
    }

    /// Waits until nothing is under way, or the time is over; returns when that is, since a wish
    /// may bring it nearer.
    async fn drain(&mut self, process: &Process, id: UpstreamId, deadline: Instant) -> Instant {
        let mut deadline = deadline;
        let upstreams = Arc::clone(&self.shared.upstreams);
        let drained = upstreams.drained(id);
        tokio::pin!(drained);
        loop {
            let is_nearer = |wish| matches!(wish, Wish::Finish(nearer) if nearer < deadline);
            tokio::select! {
                () = &mut drained => return deadline,
                _ = process.child.ended() => return deadline,
                () = sleep_until(deadline) => return deadline,
                Wish::Finish(nearer) = wish(&mut self.wishes, is_nearer) => deadline = nearer,
            }
        }
    }

    /// Asks the process to end, and has it killed when the time is over.
    async fn end(&mut self, process: &Process, deadline: Instant) {
        let mut deadline = deadline;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            process.child.terminate(left.max(AT_LEAST));
            let is_nearer = |wish| matches!(wish, Wish::Finish(nearer) if nearer < deadline);
            tokio::select! {
                _ = process.child.ended() => return,
                Wish::Finish(nearer) = wish(&mut self.wishes, is_nearer), if !left.is_zero() => {
                    deadline = nearer;
                }
            }
        }
    }

    fn enter(&self, phase: Phase, pid: Option<u32>) {
        self.tell(|status| status.enter(phase, pid));
    }

    fn tell(&self, change: impl FnOnce(&mut WorkerStatus)) {
        self.shared.statuses.send_modify(|statuses| {
            if let Some(status) = statuses.get_mut(self.at) {
                change(status);
            }
        });
    }
}

/// Waits until the end is wished for, and says by when.
async fn finish(wishes: &mut watch::Receiver<Wish>) -> Instant {
    match wish(wishes, |wish| matches!(wish, Wish::Finish(_))).await {
        Wish::Finish(deadline) => deadline,
        Wish::Prepare | Wish::Serve => Instant::now(),
    }
}

/// Waits for such a wish; when nobody is left to wish, the end is wished for.
async fn wish(wishes: &mut watch::Receiver<Wish>, is_such: impl Fn(Wish) -> bool) -> Wish {
    match wishes.wait_for(|wish| is_such(*wish)).await {
        Ok(wish) => *wish,
        Err(_) => Wish::Finish(Instant::now()),
    }
}
