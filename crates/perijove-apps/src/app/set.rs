//! A number of equal workers of one version, which come and go together or one by one.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::{Semaphore, watch};

use super::{Parts, StartError, Step, Tell};
use crate::{
    Failure, Phase, Plan, WorkerStatus, driver,
    worker::{self, End, Entries, Place, Roll, Shared, Wish},
};

/// How often a worker that never became ready is started before the set is given up.
const TRIES: u32 = 3;

/// The workers of one plan. When it is dropped, they are ended.
#[derive(Debug)]
pub(super) struct Set {
    shared: Arc<Shared>,
    /// To each worker.
    wishes: Vec<watch::Sender<Wish>>,
}

impl Set {
    /// A set without workers yet.
    pub(super) fn new(plan: Plan, parts: &Parts, generation: u64) -> Self {
        let at_once = (driver::instances(&plan) / 3).max(1);
        let shared = Arc::new(Shared {
            greeting: Plan { health: None, ..plan.clone() },
            plan,
            upstreams: Arc::clone(&parts.upstreams),
            tracker: parts.tracker.clone(),
            numbers: Arc::clone(&parts.numbers),
            roll: parts.roll.clone(),
            set: parts.numbers.fetch_add(1, Ordering::Relaxed),
            generation,
            turns: Semaphore::new(at_once),
        });
        Self { shared, wishes: Vec::new() }
    }

    /// Starts one more worker, and says which place it has.
    pub(super) fn add(&mut self, wish: Wish) -> usize {
        let at = self.wishes.len();
        let (sender, wishes) = watch::channel(wish);
        worker::keep(Arc::clone(&self.shared), at, wishes);
        self.wishes.push(sender);
        at
    }

    /// Starts as many workers as there are to be.
    pub(super) fn fill(&mut self, wish: Wish) {
        for _ in self.wishes.len()..self.size() {
            self.add(wish);
        }
    }

    /// How many workers there are to be.
    pub(super) fn size(&self) -> usize {
        driver::instances(self.plan())
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    pub(super) fn number(&self) -> u64 {
        self.shared.set
    }

    pub(super) fn generation(&self) -> u64 {
        self.shared.generation
    }

    /// The workers that are there now.
    pub(super) fn statuses(&self) -> Vec<WorkerStatus> {
        self.pick(&self.shared.roll.follow().borrow())
    }

    fn pick(&self, all: &Entries) -> Vec<WorkerStatus> {
        Roll::of(all, self.number()).map(|(_, status)| status.clone()).collect()
    }

    /// Waits until so many workers are ready, or it is clear that they will not be.
    pub(super) async fn until_ready(&self, enough: usize, tell: &Tell) -> Result<(), StartError> {
        let mut all = self.shared.roll.follow();
        let mut told = 0;
        loop {
            let statuses = self.pick(&all.borrow_and_update());
            let ready = statuses.iter().filter(|status| is_ready(status)).count();
            if ready > told {
                tell(Step::Ready { ready, of: self.size() });
                told = ready;
            }
            match judge(&statuses, enough) {
                Some(Ok(())) => return Ok(()),
                Some(Err(failure)) => return Err(self.error(failure)),
                // An error cannot be: the sender lives in `self`.
                None => all.changed().await.map_err(|_| StartError::Stopped)?,
            }
        }
    }

    fn error(&self, failure: Failure) -> StartError {
        let application = self.plan().application.clone();
        if failure.is_in_the_application() {
            StartError::Application { application, failure }
        } else {
            StartError::Worker { application, failure }
        }
    }

    pub(super) fn serve(&self) {
        for wish in &self.wishes {
            wish.send_replace(Wish::Serve);
        }
    }

    /// Wishes the end by then, or earlier if that was wished before.
    pub(super) fn wish_end(&self, end: End) {
        self.wishes.iter().for_each(|wish| wish_end(wish, end));
    }

    /// Wishes the end of one worker that serves, and says which; `None` when there is none.
    pub(super) fn end_one(&self, end: End) -> Option<usize> {
        let serves = |wish: &watch::Sender<Wish>| *wish.borrow() == Wish::Serve;
        let at = self.wishes.iter().position(serves)?;
        self.wishes.get(at).into_iter().for_each(|wish| wish_end(wish, end));
        Some(at)
    }

    pub(super) fn has_served(&self) -> bool {
        self.wishes.iter().any(|wish| *wish.borrow() != Wish::Prepare)
    }

    /// Waits until what is ready and wished to serve takes requests.
    pub(super) async fn until_served(&self) {
        self.until_none(|_, status| status.phase == Phase::Ready).await;
    }

    pub(super) async fn finish(&self, end: End) {
        self.wish_end(end);
        self.until_gone().await;
    }

    pub(super) async fn until_gone(&self) {
        self.until_none(|_, _| true).await;
    }

    /// Waits until a worker that was ended has nothing left, but perhaps websockets.
    pub(super) async fn until_idle(&self, at: usize) {
        self.until_none(|place, status| place.at == at && status.phase != Phase::Lingering).await;
    }

    async fn until_none(&self, is_such: impl Fn(&Place, &WorkerStatus) -> bool) {
        let mut all = self.shared.roll.follow();
        let is_over = |all: &Entries| {
            !Roll::of(all, self.number()).any(|(place, status)| is_such(place, status))
        };
        // The sender lives in `self`.
        all.wait_for(is_over).await.ok();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.statuses().is_empty()
    }
}

fn is_ready(status: &WorkerStatus) -> bool {
    matches!(status.phase, Phase::Ready | Phase::Serving)
}

fn wish_end(wish: &watch::Sender<Wish>, end: End) {
    wish.send_if_modified(|wish| {
        let nearer = match wish {
            Wish::Finish(earlier) => earlier.nearer(end),
            Wish::Prepare | Wish::Serve => end,
        };
        let is_nearer = *wish != Wish::Finish(nearer);
        *wish = Wish::Finish(nearer);
        is_nearer
    });
}

/// Whether enough are ready, or why that will not come; `None` while it may.
fn judge(all: &[WorkerStatus], enough: usize) -> Option<Result<(), Failure>> {
    if all.iter().filter(|status| is_ready(status)).count() >= enough {
        return Some(Ok(()));
    }
    all.iter().find_map(|status| {
        let failure = status.last_failure.as_ref()?;
        let is_final = failure.is_in_the_application()
            || matches!(failure, Failure::Late { .. })
            || status.restarts >= TRIES;
        is_final.then(|| Err(failure.clone()))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use perijove_process::{Ending, How};

    use super::*;

    fn status(phase: Phase, restarts: u32, failure: Option<Failure>) -> WorkerStatus {
        WorkerStatus { phase, restarts, last_failure: failure, ..WorkerStatus::new(1) }
    }

    fn ended(code: i32) -> Failure {
        let how = How::Exited(code);
        Failure::Ended(Ending { how, ran_for: Duration::ZERO, last_lines: Vec::new() })
    }

    fn check(all: &[WorkerStatus], enough: usize, expected: Option<bool>) {
        assert_eq!(judge(all, enough).map(|verdict| verdict.is_ok()), expected, "{all:?}");
    }

    #[test]
    fn a_set_is_ready_when_enough_workers_are() {
        let starting = status(Phase::Starting, 0, None);
        let ready = status(Phase::Ready, 0, None);
        let serving = status(Phase::Serving, 1, Some(ended(1)));
        let late = Failure::Late { waited: Duration::ZERO, why: None, last_lines: Vec::new() };
        check(&[starting.clone(), starting.clone()], 1, None);
        check(&[starting.clone(), ready.clone()], 1, Some(true));
        check(&[starting.clone(), ready.clone()], 2, None);
        check(&[serving, ready], 2, Some(true));
        check(&[starting.clone(), status(Phase::Pausing, 1, Some(ended(1)))], 1, None);
        check(&[starting.clone(), status(Phase::Starting, 3, Some(ended(1)))], 1, Some(false));
        check(&[starting.clone(), status(Phase::Pausing, 1, Some(ended(78)))], 1, Some(false));
        check(&[starting, status(Phase::Pausing, 1, Some(late))], 1, Some(false));
    }
}
