//! Warm starts: a zygote, which has imported what a notebook needs, is kept ready and forked.
//!
//! ```text
//! Beginning ──▶ Ready ──▶ (it ended, or packages have changed) ──▶ Beginning
//!      └──────▶ Failed ──▶ (after a pause) ──▶ Beginning
//! ```
//!
//! There is one for the Python and the environment of the plan. Whatever is wrong with it,
//! notebooks are started cold meanwhile. Those that were forked do not need it any more.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use perijove_process::{
    Backoff, Command, ParentDeath, Usage,
    guardian::{Spec, Zygote},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::TaskTracker;

use self::{facts::Facts, stamps::Stamps};
use super::local::search_path;
use crate::{config::Plan, isolation::why_cold, launch::said};

mod facts;
mod stamps;

/// How long its imports may take.
const BEGIN: Duration = Duration::from_secs(60);
/// How long a start waits for a zygote that begins, which takes about as long as a cold start.
const WAIT: Duration = Duration::from_secs(15);

/// Keeps a zygote.
#[derive(Debug, Default)]
pub(crate) struct Warm {
    /// Held for moments.
    kept: Mutex<Option<Kept>>,
    tasks: TaskTracker,
}

/// What a zygote is for: another Python or environment needs another one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Purpose {
    python: PathBuf,
    script: PathBuf,
    environment: BTreeMap<String, String>,
}

/// A zygote that is being kept, and the task that does it.
#[derive(Debug)]
struct Kept {
    purpose: Purpose,
    phase: watch::Receiver<Phase>,
    task: AbortHandle,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Debug)]
enum Phase {
    Beginning,
    Ready(Arc<Ready>),
    Failed(String),
}

/// A zygote to fork from.
#[derive(Debug)]
pub(crate) struct Ready {
    zygote: Zygote,
    facts: Facts,
    environment: BTreeMap<String, String>,
    stamps: Stamps,
    /// From its start until it was ready.
    took: Duration,
    forks: AtomicU64,
    is_over: Notify,
}

impl Warm {
    /// Has a zygote made for this plan, unless there is one.
    ///
    /// To be called within the runtime from whose thread children are forked.
    pub(crate) fn prepare(&self, plan: &Plan) {
        let mut kept = self.kept();
        if !plan.warm || why_cold(plan).is_some() {
            kept.take();
            return;
        }
        let purpose = Purpose::of(plan);
        if kept.as_ref().is_some_and(|kept| kept.purpose == purpose) {
            return;
        }
        let (tell, phase) = watch::channel(Phase::Beginning);
        let task = self.tasks.spawn(keep(purpose.clone(), tell, self.tasks.clone()));
        *kept = Some(Kept { purpose, phase, task: task.abort_handle() });
    }

    /// A zygote from which this server can be forked, or why there is none.
    pub(crate) async fn zygote(&self, plan: &Plan, spec: &Spec) -> Result<Arc<Ready>, String> {
        self.prepare(plan);
        let phase = self.kept().as_ref().map(|kept| kept.phase.clone());
        let mut phase = phase.ok_or("it is not wanted")?;
        let known = timeout(WAIT, phase.wait_for(|phase| !matches!(phase, Phase::Beginning)));
        let ready = match known.await {
            Ok(Ok(phase)) => match &*phase {
                Phase::Ready(ready) => ready.clone(),
                Phase::Failed(reason) => return Err(reason.clone()),
                Phase::Beginning => return Err("its zygote begins".to_owned()),
            },
            Ok(Err(_)) => return Err("perijove is stopping".to_owned()),
            Err(_) => return Err("its zygote was not ready in time".to_owned()),
        };
        if let Some(reason) = ready.facts.why_cold(&ready.environment, &spec.environment) {
            return Err(reason);
        }
        let look = ready.clone();
        let stamps = tokio::task::spawn_blocking(move || look.facts.stamps()).await;
        if stamps.is_ok_and(|stamps| stamps != ready.stamps) {
            ready.give_up();
            return Err("packages have changed".to_owned());
        }
        Ok(ready)
    }

    /// What is to be told of it.
    pub(crate) fn status(&self) -> Value {
        let phase = self.kept().as_ref().map(|kept| kept.phase.borrow().clone());
        let (state, reason, ready) = match phase {
            None => ("off", None, None),
            Some(Phase::Beginning) => ("starting", None, None),
            Some(Phase::Failed(reason)) => ("failed", Some(reason), None),
            Some(Phase::Ready(ready)) => ("ready", None, Some(ready)),
        };
        let pid = ready.as_ref().map(|ready| ready.zygote.pid());
        json!({
            "state": state,
            "reason": reason,
            "pid": pid,
            "milliseconds": ready.as_ref().map(|ready| whole(ready.took)),
            "memory": pid.and_then(Usage::alone).map(|usage| usage.memory),
            "started": ready.map(|ready| ready.forks.load(Ordering::Relaxed)),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Ready {
    pub(crate) fn zygote(&self) -> &Zygote {
        &self.zygote
    }

    pub(crate) fn count(&self) {
        self.forks.fetch_add(1, Ordering::Relaxed);
    }

    /// Has another one made.
    pub(crate) fn give_up(&self) {
        self.is_over.notify_one();
    }
}

impl Purpose {
    fn of(plan: &Plan) -> Self {
        // Places where nothing is, each in place of one that is a user's own: what is found there
        // when something is imported is replaced in each fork.
        let nowhere = |place: &str| format!("/nonexistent/{place}");
        let mut environment: BTreeMap<String, String> = [
            ("PATH".to_owned(), search_path(plan)),
            ("HOME".to_owned(), nowhere("home")),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("JUPYTER_CONFIG_DIR".to_owned(), nowhere("config")),
            ("JUPYTER_DATA_DIR".to_owned(), nowhere("data")),
            ("JUPYTER_RUNTIME_DIR".to_owned(), nowhere("runtime")),
        ]
        .into();
        environment.extend(plan.environment.clone());
        Self { python: plan.python.clone(), script: plan.zygote(), environment }
    }

    fn command(&self) -> Command {
        // Kernels are started so, for the sake of their debugger; it must be the same for all.
        let mut command = Command::new(&self.python).arguments(["-Xfrozen_modules=off"]);
        command = command.arguments([&self.script]);
        for (name, value) in &self.environment {
            command = command.variable(name, value);
        }
        command.folder = Some("/".into());
        command.parent_death = ParentDeath::Terminates;
        // A signal from a terminal is for us, not for it.
        command.is_session = true;
        command
    }
}

/// Makes one zygote after another: each as soon as the last one is over, but not too soon.
async fn keep(purpose: Purpose, tell: watch::Sender<Phase>, tasks: TaskTracker) {
    let mut backoff = Backoff::default();
    let mut told = None;
    loop {
        tell.send_replace(Phase::Beginning);
        let began = Instant::now();
        match begin(&purpose, &tasks).await {
            Ok(ready) => {
                let ready = Arc::new(ready);
                tell.send_replace(Phase::Ready(ready.clone()));
                told = None;
                tokio::select! {
                    how = ready.zygote.ended() => {
                        tracing::warn!(how = %how.how, "the zygote of notebooks ended; another one is made");
                    }
                    () = ready.is_over.notified() => {
                        tracing::info!("another zygote of notebooks is made");
                    }
                }
            }
            Err(reason) => {
                tell.send_replace(Phase::Failed(reason.clone()));
                if told.as_ref() != Some(&reason) {
                    tracing::warn!(reason, "notebooks are started cold");
                    told = Some(reason);
                }
            }
        }
        sleep(backoff.after(began.elapsed())).await;
    }
}

async fn begin(purpose: &Purpose, tasks: &TaskTracker) -> Result<Ready, String> {
    let began = Instant::now();
    let zygote = Zygote::begin(purpose.command(), "zygote", tasks, BEGIN);
    let zygote = zygote.await.map_err(|error| said(&error))?;
    let took = began.elapsed();
    let facts = Facts::read(zygote.said(), &purpose.python)?;
    let look = facts.clone();
    let stamps = tokio::task::spawn_blocking(move || look.stamps()).await;
    let stamps = stamps.map_err(|_| "perijove is stopping".to_owned())?;
    if stamps.newest() > facts.began() {
        return Err("packages changed while it was made".to_owned());
    }
    tracing::info!(milliseconds = took.as_millis(), "notebooks are started warm");
    Ok(Ready {
        zygote,
        facts,
        environment: purpose.environment.clone(),
        stamps,
        took,
        forks: AtomicU64::new(0),
        is_over: Notify::new(),
    })
}
