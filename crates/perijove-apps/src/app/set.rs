//! A number of equal workers, which come and go together.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};

use super::{Parts, StartError};
use crate::{
    Failure, Phase, Plan, WorkerStatus, driver,
    worker::{self, Shared, Wish},
};

/// How often a worker that never became ready is started before the set is given up.
const TRIES: u32 = 3;

/// The workers of one plan. When it is dropped, they are ended.
#[derive(Debug)]
pub(super) struct Set {
    shared: Arc<Shared>,
    wish: watch::Sender<Wish>,
}

impl Set {
    pub(super) fn begin(plan: Plan, parts: &Parts, wish: Wish) -> Self {
        let workers = driver::instances(&plan);
        let (statuses, _) = watch::channel(vec![WorkerStatus::new(); workers]);
        let shared = Arc::new(Shared {
            plan,
            upstreams: Arc::clone(&parts.upstreams),
            tracker: parts.tracker.clone(),
            numbers: Arc::clone(&parts.numbers),
            statuses,
        });
        let (wish, wishes) = watch::channel(wish);
        for at in 0..workers {
            worker::keep(Arc::clone(&shared), at, wishes.clone());
        }
        Self { shared, wish }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    /// How many workers it has.
    pub(super) fn size(&self) -> usize {
        self.shared.statuses.borrow().len()
    }

    pub(super) fn statuses(&self) -> watch::Receiver<Vec<WorkerStatus>> {
        self.shared.statuses.subscribe()
    }

    /// Waits until so many workers are ready, or it is clear that they will not be.
    pub(super) async fn until_ready(&self, enough: usize) -> Result<(), StartError> {
        let mut statuses = self.statuses();
        let known = statuses.wait_for(|all| judge(all, enough).is_some()).await;
        match known.ok().and_then(|all| judge(&all, enough)) {
            Some(Ok(())) => Ok(()),
            Some(Err(failure)) => {
                let application = self.plan().application.clone();
                Err(if failure.is_in_the_application() {
                    StartError::Application { application, failure }
                } else {
                    StartError::Worker { application, failure }
                })
            }
            None => Err(StartError::Stopped),
        }
    }

    pub(super) fn serve(&self) {
        self.wish.send_replace(Wish::Serve);
    }

    /// Wishes the end by then, or earlier if that was wished before.
    pub(super) fn wish_end(&self, deadline: Instant) {
        self.wish.send_if_modified(|wish| {
            let is_nearer = !matches!(wish, Wish::Finish(earlier) if *earlier <= deadline);
            if is_nearer {
                *wish = Wish::Finish(deadline);
            }
            is_nearer
        });
    }

    pub(super) async fn finish(&self, deadline: Instant) {
        self.wish_end(deadline);
        self.until_gone().await;
    }

    pub(super) async fn until_gone(&self) {
        // The sender lives in `self`.
        self.statuses().wait_for(|all| all.iter().all(is_gone)).await.ok();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.shared.statuses.borrow().iter().all(is_gone)
    }
}

fn is_gone(status: &WorkerStatus) -> bool {
    status.phase == Phase::Gone
}

/// Whether enough are ready, or why that will not come; `None` while it may.
fn judge(all: &[WorkerStatus], enough: usize) -> Option<Result<(), Failure>> {
    let is_ready = |status: &&WorkerStatus| matches!(status.phase, Phase::Ready | Phase::Serving);
    if all.iter().filter(is_ready).count() >= enough {
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
        WorkerStatus { phase, restarts, last_failure: failure, ..WorkerStatus::new() }
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
