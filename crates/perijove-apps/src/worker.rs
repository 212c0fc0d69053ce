//! One worker, kept alive: started, published when it is ready, started again when it dies,
//! replaced by a new process when it has grown old.
//!
//! ```text
//! Starting ──▶ Probation ──▶ Ready ──▶ Serving ──▶ Draining ──▶ gone
//!    ▲ │           │           │          │
//!    │ ▼           ▼           ▼          ▼
//!   Pausing ◀──────── it died, or does not answer
//! ```

mod leaving;
mod process;
mod recycling;
mod roll;
mod status;
mod trial;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use perijove_gateway::{UpstreamId, Upstreams};
use perijove_process::Backoff;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

use crate::Plan;
use leaving::Leaving;
use process::Process;
use recycling::{Reason, Watched};
pub(crate) use roll::{Entries, Place, Roll};
pub use status::{Failure, Phase, WorkerStatus};

/// What a worker that was never published may take to end.
const UNUSED: Duration = Duration::from_secs(5);

/// What the workers of one set share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    /// The same, with no health address: whether a worker can be reached at all.
    pub(crate) greeting: Plan,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) tracker: TaskTracker,
    /// For the names of sockets and the like: one that was used is not used again.
    pub(crate) numbers: Arc<AtomicU64>,
    pub(crate) roll: Roll,
    /// The number of this set among all, and of its version.
    pub(crate) set: u64,
    pub(crate) generation: u64,
    /// Those that may be replaced at once while they are well.
    pub(crate) turns: Semaphore,
}

/// What a set wants of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Be ready, and take no requests.
    Prepare,
    Serve,
    /// Take no more requests, and be gone by then.
    Finish(End),
}

/// By when a worker must be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// While there are requests under way.
    pub(crate) requests: Instant,
    /// While there are websockets and other upgraded connections.
    pub(crate) websockets: Instant,
    /// What it may take, after that, to say good-bye to those.
    pub(crate) good_bye: Duration,
}

impl End {
    pub(crate) fn at(deadline: Instant) -> Self {
        Self { requests: deadline, websockets: deadline, good_bye: leaving::AT_LEAST }
    }

    /// As a plan allows, from now on.
    pub(crate) fn of(plan: &Plan) -> Self {
        let now = Instant::now();
        Self {
            requests: now + plan.drain_time,
            websockets: now + plan.websocket_time.max(plan.drain_time),
            good_bye: leaving::GOOD_BYE,
        }
    }

    /// Whichever is nearer.
    pub(crate) fn nearer(self, other: Self) -> Self {
        Self {
            requests: self.requests.min(other.requests),
            websockets: self.websockets.min(other.websockets),
            good_bye: self.good_bye.min(other.good_bye),
        }
    }
}

/// Keeps a worker alive for as long as that is wished. `at` is its place in its set.
pub(crate) fn keep(shared: Arc<Shared>, at: usize, wishes: watch::Receiver<Wish>) {
    let place = Place { set: shared.set, at, leaving: 0 };
    shared.roll.enter(place, WorkerStatus::new(shared.generation));
    let tracker = shared.tracker.clone();
    tracker.spawn(Keeper { shared, place, wishes, is_new: true }.run());
}

/// The task of one worker.
struct Keeper {
    shared: Arc<Shared>,
    place: Place,
    wishes: watch::Receiver<Wish>,
    /// It has not served yet: it is new in its place.
    is_new: bool,
}

/// Why a life of a worker is over.
enum Over {
    /// It was wished.
    Finished,
    /// It failed, after this time.
    Failed(Failure, Duration),
}

/// A process that is ready, and since when there is one.
struct Alive {
    process: Process,
    begun: Instant,
}

/// A process that takes requests.
struct Published {
    alive: Alive,
    id: UpstreamId,
}

impl Keeper {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let over = match self.bring_up().await {
                Ok(alive) => self.serve(alive).await,
                Err(over) => over,
            };
            let (failure, ran_for) = match over {
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
        self.shared.roll.leave(self.place);
    }

    /// A process that is ready and wished to serve.
    async fn bring_up(&mut self) -> Result<Alive, Over> {
        let begun = Instant::now();
        let failed = |failure| Over::Failed(failure, begun.elapsed());
        let mut process = Process::start(&self.shared, self.place.at).map_err(failed)?;
        let pid = Some(process.child.pid());
        self.enter(Phase::Starting, pid);
        self.tell(|status| status.asker = Some(process.child.asker().clone()));
        let ready = tokio::select! {
            ready = process.until_ready(&self.shared.plan) => Some(ready),
            _ = finish(&mut self.wishes) => None,
        };
        let Some(ready) = ready else {
            process.end(UNUSED).await;
            return Err(Over::Finished);
        };
        ready.map_err(failed)?;
        // One that is started again has no time to lose: nobody else stands in for it.
        if self.is_new && *self.wishes.borrow() == Wish::Prepare {
            self.enter(Phase::Probation, pid);
            let passed = tokio::select! {
                passed = trial::pass(&process, &self.shared.plan) => passed,
                _ = finish(&mut self.wishes) => Ok(()),
            };
            passed.map_err(failed)?;
        }
        self.enter(Phase::Ready, pid);
        tokio::select! {
            ending = process.child.ended() => return Err(failed(Failure::Ended(ending))),
            wish = wish(&mut self.wishes, |wish| wish != Wish::Prepare) => {
                if wish != Wish::Serve {
                    process.end(UNUSED).await;
                    return Err(Over::Finished);
                }
            }
        }
        Ok(Alive { process, begun })
    }

    /// Serves with a process, and with those that replace it, until one fails or the end is
    /// wished.
    async fn serve(&mut self, alive: Alive) -> Over {
        self.is_new = false;
        let mut current = self.publish(alive);
        loop {
            let Published { alive: Alive { process, begun }, id } = &current;
            let (recycling, pid) = (&self.shared.plan.recycling, process.child.pid());
            let watched =
                Watched { upstreams: &self.shared.upstreams, id: *id, pid, begun: *begun };
            let reason = tokio::select! {
                failure = trial::until_failed(process, &self.shared, *id) => {
                    return self.fail(&current, failure).await;
                }
                end = finish(&mut self.wishes) => {
                    self.leave(current, end, self.place).await;
                    return Over::Finished;
                }
                reason = recycling::until_due(recycling, watched) => reason,
            };
            current = match self.replace(current, reason).await {
                Ok(next) => next,
                Err(over) => return over,
            };
        }
    }

    /// Starts a new process beside one that is well, and exchanges them when the new one is ready.
    /// When it does not become ready, the old one goes on, and there is another try later.
    async fn replace(&mut self, current: Published, reason: Reason) -> Result<Published, Over> {
        let mut backoff = Backoff::default();
        let shared = Arc::clone(&self.shared);
        loop {
            let begun = Instant::now();
            let old = &current.alive.process;
            let next = tokio::select! {
                next = successor(&shared, self.place.at) => next,
                failure = trial::until_failed(old, &shared, current.id) => {
                    return Err(self.fail(&current, failure).await);
                }
                end = finish(&mut self.wishes) => {
                    self.leave(current, end, self.place).await;
                    return Err(Over::Finished);
                }
            };
            let failure = match next {
                Ok(next) => {
                    tracing::info!(application = %shared.plan.application,
                        "a worker is replaced: {reason}");
                    return Ok(self.exchange(current, next));
                }
                Err(failure) => failure,
            };
            let pause = backoff.after(begun.elapsed());
            tracing::warn!(application = %shared.plan.application,
                "a worker that was to be replaced ({reason}) goes on: the new one {failure}");
            self.tell(|status| status.last_failure = Some(failure));
            tokio::select! {
                () = sleep(pause) => {}
                end = finish(&mut self.wishes) => {
                    self.leave(current, end, self.place).await;
                    return Err(Over::Finished);
                }
            }
        }
    }

    fn exchange(&mut self, old: Published, next: Alive) -> Published {
        let place =
            Place { leaving: self.shared.numbers.fetch_add(1, Ordering::Relaxed), ..self.place };
        let status = self.shared.roll.follow().borrow().get(&self.place).cloned();
        let status = status.unwrap_or_else(|| WorkerStatus::new(self.shared.generation));
        self.shared.roll.enter(place, WorkerStatus { last_failure: None, ..status });
        let next = self.publish(next);
        self.tell(|status| status.recycled = status.recycled.saturating_add(1));
        let leaving = self.leave(old, End::of(&self.shared.plan), place);
        let roll = self.shared.roll.clone();
        self.shared.tracker.spawn(async move {
            leaving.await;
            roll.leave(place);
        });
        next
    }

    fn publish(&self, alive: Alive) -> Published {
        let id = self.shared.upstreams.add(alive.process.upstream());
        let child = &alive.process.child;
        self.enter(Phase::Serving, Some(child.pid()));
        self.tell(|status| {
            status.upstream = Some(id);
            status.asker = Some(child.asker().clone());
        });
        Published { alive, id }
    }

    /// Takes out a process that died or does not answer.
    async fn fail(&self, published: &Published, failure: Failure) -> Over {
        let Published { alive: Alive { process, begun }, id } = published;
        self.shared.upstreams.fail(*id);
        let ran_for = begun.elapsed();
        process.end(Duration::ZERO).await;
        Over::Failed(failure, ran_for)
    }

    /// Lets a process finish what is under way, and ends it.
    fn leave(
        &self,
        published: Published,
        end: End,
        place: Place,
    ) -> impl Future<Output = ()> + use<> {
        let Published { alive: Alive { process, .. }, id } = published;
        let leaving = Leaving {
            shared: Arc::clone(&self.shared),
            place,
            wishes: self.wishes.clone(),
            process,
            id,
            end,
        };
        leaving.run()
    }

    fn enter(&self, phase: Phase, pid: Option<u32>) {
        self.tell(|status| status.enter(phase, pid));
    }

    fn tell(&self, change: impl FnOnce(&mut WorkerStatus)) {
        self.shared.roll.change(self.place, change);
    }
}

/// A new process for a place that has one; it has waited for its turn, and stays up.
async fn successor(shared: &Shared, at: usize) -> Result<Alive, Failure> {
    // The semaphore lives as long as the set, and is never closed.
    let _turn = shared.turns.acquire().await;
    let begun = Instant::now();
    let mut process = Process::start(shared, at)?;
    process.until_ready(&shared.plan).await?;
    trial::pass(&process, &shared.plan).await?;
    Ok(Alive { process, begun })
}

/// Waits until the end is wished for, and says by when.
async fn finish(wishes: &mut watch::Receiver<Wish>) -> End {
    match wish(wishes, |wish| matches!(wish, Wish::Finish(_))).await {
        Wish::Finish(end) => end,
        Wish::Prepare | Wish::Serve => End::at(Instant::now()),
    }
}

/// Waits for such a wish; when nobody is left to wish, the end is wished for.
async fn wish(wishes: &mut watch::Receiver<Wish>, is_such: impl Fn(Wish) -> bool) -> Wish {
    match wishes.wait_for(|wish| is_such(*wish)).await {
        Ok(wish) => *wish,
        Err(_) => Wish::Finish(End::at(Instant::now())),
    }
}
