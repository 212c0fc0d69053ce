//! One application: keeps its workers alive, publishes them, replaces them, stops them.
//!
//! One task owns the sets of workers; everybody else holds a handle.

mod set;

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use perijove_gateway::Upstreams;
use serde::Serialize;
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::task::TaskTracker;

use crate::{
    Application, Failure, Plan, WorkerStatus,
    python::{self, PythonError},
    worker::Wish,
};
use set::Set;

/// How many may ask for a replacement before the first is done.
const REQUESTS: usize = 8;

/// A handle on a running application. When the last one is dropped, its workers are ended.
#[derive(Clone, Debug)]
pub struct App {
    requests: mpsc::Sender<Replace>,
    /// When all must be gone.
    stop: watch::Sender<Option<Instant>>,
    /// Guards which set is the one in use; held for moments.
    current: Arc<Mutex<Current>>,
    is_over: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Current {
    application: Application,
    python: PathBuf,
    statuses: watch::Receiver<Vec<WorkerStatus>>,
    generation: u64,
}

#[derive(Debug)]
struct Replace {
    plan: Box<Plan>,
    answer: oneshot::Sender<Result<(), StartError>>,
}

/// What an application is doing.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    pub application: String,
    pub python: PathBuf,
    /// 1 at the start, one more with each replacement.
    pub generation: u64,
    pub workers: Vec<WorkerStatus>,
}

/// Why an application does not run, or not in its new form.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Python(#[from] PythonError),
    #[error("the folder {} for sockets cannot be used", folder.display())]
    Sockets { folder: PathBuf, source: io::Error },
    #[error("the application {application} cannot be loaded")]
    Application { application: Application, failure: Failure },
    #[error("a worker of {application} {failure}")]
    Worker { application: Application, failure: Failure },
    #[error("the application was stopped meanwhile")]
    Stopped,
}

impl StartError {
    /// What the worker printed last, the end of a traceback perhaps; oldest first.
    pub fn last_lines(&self) -> &[String] {
        match self {
            Self::Application { failure, .. } | Self::Worker { failure, .. } => {
                failure.last_lines()
            }
            Self::Python(_) | Self::Sockets { .. } | Self::Stopped => &[],
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Python(error) => Some(error.hint()),
            Self::Sockets { .. } => Some("choose another `runtime-folder`"),
            Self::Application { .. } => {
                Some("its last lines say why; is `site.app` right, and is all it needs installed?")
            }
            Self::Worker { failure: Failure::Late { .. }, .. } => {
                Some("give it more time with `site.start-time`, or let it load less")
            }
            Self::Worker { .. } | Self::Stopped => None,
        }
    }
}

impl App {
    /// Starts the workers, and returns when the first one serves. Call it from the thread that
    /// lives as long as the program: workers end with the thread that started them.
    pub async fn start(
        plan: Plan,
        upstreams: Arc<Upstreams>,
        tracker: &TaskTracker,
    ) -> Result<Self, StartError> {
        let folder = plan.sockets.clone();
        prepare_folder(&folder).map_err(|source| StartError::Sockets { folder, source })?;
        let parts = Parts { upstreams, tracker: tracker.clone(), numbers: Arc::new(1.into()) };
        let set = parts.begin(plan, Wish::Serve).await?;
        if let Err(error) = set.until_ready(1).await {
            set.finish(Instant::now()).await;
            return Err(error);
        }
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let (stop, stopped) = watch::channel(None);
        let (over, is_over) = watch::channel(false);
        let current = Arc::new(Mutex::new(Current::of(&set, 1)));
        let owner =
            Owner { parts, set, leaving: Vec::new(), current: Arc::clone(&current), stopped };
        tracker.spawn(async move {
            owner.run(inbox).await;
            over.send_replace(true);
        });
        Ok(Self { requests, stop, current, is_over })
    }

    /// Starts new workers beside the old ones, and exchanges them when all of the new are ready.
    /// Requests under way at the old ones are finished within the old plan's drain time, which is
    /// not waited for here. On failure the old ones go on.
    pub async fn replace(&self, plan: Plan) -> Result<(), StartError> {
        let (answer, answered) = oneshot::channel();
        let request = Replace { plan: Box::new(plan), answer };
        self.requests.send(request).await.map_err(|_| StartError::Stopped)?;
        answered.await.unwrap_or(Err(StartError::Stopped))
    }

    /// Takes all workers out, lets them finish what is under way, and ends them. A second call can
    /// only bring the end nearer.
    pub async fn stop(&self, within: Duration) {
        let deadline = Instant::now() + within;
        self.stop.send_modify(|stop| *stop = Some(stop.map_or(deadline, |s| s.min(deadline))));
        // An error means that the task is over, too.
        self.is_over.clone().wait_for(|is_over| *is_over).await.ok();
    }

    pub fn status(&self) -> Status {
        self.current().status()
    }

    /// Waits until the workers that are in use now are as wanted.
    pub async fn until(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut statuses = self.current().statuses.clone();
        loop {
            statuses.mark_unchanged();
            let status = self.status();
            if wanted(&status) || statuses.changed().await.is_err() {
                return status;
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn of(set: &Set, generation: u64) -> Self {
        let plan = set.plan();
        Self {
            application: plan.application.clone(),
            python: plan.python.clone(),
            statuses: set.statuses(),
            generation,
        }
    }

    fn status(&self) -> Status {
        Status {
            application: self.application.to_string(),
            python: self.python.clone(),
            generation: self.generation,
            workers: self.statuses.borrow().clone(),
        }
    }
}

/// What every set needs.
#[derive(Debug)]
struct Parts {
    upstreams: Arc<Upstreams>,
    tracker: TaskTracker,
    numbers: Arc<AtomicU64>,
}

impl Parts {
    async fn begin(&self, mut plan: Plan, wish: Wish) -> Result<Set, StartError> {
        plan.python = python::check(&plan.python, &plan.environment).await?.path;
        Ok(Set::begin(plan, self, wish))
    }
}

/// The task of an application.
struct Owner {
    parts: Parts,
    set: Set,
    /// Replaced, and not gone yet.
    leaving: Vec<Set>,
    current: Arc<Mutex<Current>>,
    stopped: watch::Receiver<Option<Instant>>,
}

impl Owner {
    async fn run(mut self, mut inbox: mpsc::Receiver<Replace>) {
        loop {
            let mut stopped = self.stopped.clone();
            let request = tokio::select! {
                biased;
                () = until_stopped(&mut stopped) => break,
                request = inbox.recv() => request,
            };
            let Some(Replace { plan, answer }) = request else { break };
            let replaced = tokio::select! {
                biased;
                () = until_stopped(&mut stopped) => Err(StartError::Stopped),
                replaced = self.replace(*plan) => replaced,
            };
            // Whoever asked may have gone; it is in the log as well.
            answer.send(replaced).ok();
        }
        drop(inbox);
        self.finish().await;
    }

    async fn replace(&mut self, plan: Plan) -> Result<(), StartError> {
        // Dropped before it serves, a set ends by itself.
        let set = self.parts.begin(plan, Wish::Prepare).await?;
        set.until_ready(set.size()).await?;
        set.serve();
        let old = std::mem::replace(&mut self.set, set);
        old.wish_end(Instant::now() + old.plan().drain_time);
        self.leaving.retain(|set| !set.is_gone());
        self.leaving.push(old);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Current::of(&self.set, current.generation + 1);
        tracing::info!(application = %current.application, generation = current.generation,
            "new workers have taken over");
        Ok(())
    }

    async fn finish(mut self) {
        let sets = || std::iter::once(&self.set).chain(&self.leaving);
        loop {
            let deadline = self.stopped.borrow_and_update().unwrap_or_else(Instant::now);
            sets().for_each(|set| set.wish_end(deadline));
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

/// Makes the folder, and takes out sockets that another life of this program left.
fn prepare_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("web-") && name.ends_with(".sock") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
