//! The task of an application: it owns the sets of workers, and exchanges them.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    Current, Parts, Prepared, Replace, Set, StartError, Step, Tell,
    rollout::{self, Way},
};
use crate::{
    Plan, WorkerStatus,
    worker::{End, Wish},
};

/// Versions that may live on for their websockets: each takes as much memory as the one in use.
const MOST_LEAVING: usize = 4;

pub(super) struct Owner {
    parts: Parts,
    set: Set,
    /// Being prepared, or taking over.
    coming: Option<Set>,
    /// Replaced, and not gone yet.
    leaving: Vec<Set>,
    current: Arc<Mutex<Current>>,
    stopped: watch::Receiver<Option<Instant>>,
}

impl Owner {
    pub(super) fn new(
        parts: Parts,
        set: Set,
        current: Arc<Mutex<Current>>,
        stopped: watch::Receiver<Option<Instant>>,
    ) -> Self {
        Self { parts, set, coming: None, leaving: Vec::new(), current, stopped }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Replace>) {
        loop {
            let mut stopped = self.stopped.clone();
            let request = tokio::select! {
                biased;
                () = until_stopped(&mut stopped) => break,
                request = inbox.recv() => request,
            };
            let Some(request) = request else { break };
            tokio::select! {
                biased;
                // Whoever asked is told by the end of the channel.
                () = until_stopped(&mut stopped) => break,
                () = self.replace(request) => {}
            }
        }
        drop(inbox);
        self.finish().await;
    }

    async fn replace(&mut self, request: Replace) {
        let Replace { plan, tell, answer } = request;
        let way = match self.prepare(*plan, &tell).await {
            Ok(way) => way,
            Err(error) => {
                self.give_up();
                // Whoever asked may have gone; it is in the log as well.
                answer.send(Err(error)).ok();
                return;
            }
        };
        let (go, going) = oneshot::channel();
        let (done, result) = oneshot::channel();
        let prepared = Prepared { go, done: result };
        if answer.send(Ok(prepared)).is_err() || going.await.is_err() {
            return self.give_up();
        }
        let switched = if way.is_one_by_one {
            self.one_by_one(&tell).await
        } else {
            self.together(&tell).await;
            Ok(())
        };
        done.send(switched).ok();
    }

    /// Starts what must be ready before the first old worker goes.
    async fn prepare(&mut self, plan: Plan, tell: &Tell) -> Result<Way, StartError> {
        let plan = self.parts.check(plan).await?;
        let way = rollout::choose(&plan, &self.set.statuses());
        let coming = Set::new(plan, &self.parts, self.set.generation() + 1);
        tell(Step::starting(coming.plan(), coming.size(), &way));
        let coming = self.coming.insert(coming);
        if way.is_one_by_one {
            coming.add(Wish::Prepare);
            coming.until_ready(1, tell).await?;
        } else {
            coming.fill(Wish::Prepare);
            coming.until_ready(coming.size(), tell).await?;
        }
        Ok(way)
    }

    /// Dropped before it serves, a set ends by itself; one that has served finishes what it has.
    fn give_up(&mut self) {
        let Some(coming) = self.coming.take() else { return };
        if coming.has_served() {
            coming.wish_end(End::of(coming.plan()));
            self.leaving.push(coming);
        }
    }

    /// Exchanges all at once.
    async fn together(&mut self, tell: &Tell) {
        let Some(coming) = &self.coming else { return };
        coming.serve();
        coming.until_served().await;
        self.take_over(tell);
    }

    /// Exchanges worker by worker; when one fails, the old ones are brought back.
    async fn one_by_one(&mut self, tell: &Tell) -> Result<(), StartError> {
        let mut ended = 0;
        let exchanged = self.exchange_each(tell, &mut ended).await;
        let Err(error) = exchanged else {
            self.take_over(tell);
            return Ok(());
        };
        let all = self.set.statuses().len() + ended;
        for _ in 0..ended {
            self.set.add(Wish::Serve);
        }
        let quiet: Tell = Arc::new(|_| {});
        if let Err(error) = self.set.until_ready(all, &quiet).await {
            tracing::error!(%error, "a worker of the old version does not come back");
        }
        self.give_up();
        Err(error)
    }

    async fn exchange_each(&mut self, tell: &Tell, ended: &mut usize) -> Result<(), StartError> {
        let Some(coming) = &mut self.coming else { return Ok(()) };
        coming.serve();
        for ready in 1..coming.size() {
            coming.until_served().await;
            if let Some(at) = self.set.end_one(End::of(self.set.plan())) {
                *ended += 1;
                self.set.until_idle(at).await;
            }
            coming.add(Wish::Prepare);
            coming.until_ready(ready + 1, tell).await?;
            coming.serve();
        }
        coming.until_served().await;
        Ok(())
    }

    /// The new version is the one in use; the old one finishes what it has.
    fn take_over(&mut self, tell: &Tell) {
        let Some(coming) = self.coming.take() else { return };
        let old = std::mem::replace(&mut self.set, coming);
        let (requests, websockets) = self.under_way(&old.statuses());
        old.wish_end(End::of(old.plan()));
        self.leaving.retain(|set| !set.is_gone());
        self.leaving.push(old);
        for set in self.leaving.iter().rev().skip(MOST_LEAVING) {
            set.wish_end(End::at(Instant::now() + set.plan().drain_time));
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Current::of(&self.set);
        tracing::info!(application = %current.application, generation = current.generation,
            "new workers have taken over");
        let application = current.application.to_string();
        drop(current);
        tell(Step::Switched { application, requests, websockets });
    }

    /// Requests that workers have, and websockets.
    fn under_way(&self, workers: &[WorkerStatus]) -> (usize, usize) {
        let work = workers.iter().filter_map(|status| self.parts.upstreams.work(status.upstream?));
        work.fold((0, 0), |(requests, websockets), work| {
            let more = work.under_way.saturating_sub(work.upgraded);
            (requests + more, websockets + work.upgraded)
        })
    }

    async fn finish(mut self) {
        let sets = || std::iter::once(&self.set).chain(&self.coming).chain(&self.leaving);
        loop {
            let deadline = self.stopped.borrow_and_update().unwrap_or_else(Instant::now);
            sets().for_each(|set| set.wish_end(End::at(deadline)));
            let gone = async {
                for set in sets() {
                    set.until_gone().await;
                }
            };
            tokio::select! {
                () = gone => return,
                // The end may come nearer.
                Ok(()) = self.stopped.changed() => {}
            }
        }
    }
}

async fn until_stopped(stopped: &mut watch::Receiver<Option<Instant>>) {
    // An error means that nobody has a handle any more.
    stopped.wait_for(Option::is_some).await.ok();
}
