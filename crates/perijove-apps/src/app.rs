//! One application: keeps its workers alive, publishes them, replaces them, stops them.
//!
//! One task owns the sets of workers; everybody else holds a handle.

mod owner;
mod rollout;
mod set;
mod step;

use std::{
    borrow::Cow,
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
    task::JoinSet,
    time::Instant,
};
use tokio_util::task::TaskTracker;

use crate::{
    Application, Failure, Plan, ServerError, WorkerStatus, driver,
    python::{self, PythonError},
    worker::{End, Roll, Wish},
};
use owner::Owner;
use set::Set;
pub use step::{Step, Tell};

/// How many may ask for a replacement before the first is done.
const REQUESTS: usize = 8;
/// How long a worker may take to say where its code is.
const STACKS: Duration = Duration::from_secs(3);

/// A handle on a running application. When the last one is dropped, its workers are ended.
#[derive(Clone, Debug)]
pub struct App {
    requests: mpsc::Sender<Replace>,
    /// When all must be gone.
    stop: watch::Sender<Option<Instant>>,
    /// Guards which set is the one in use; held for moments.
    current: Arc<Mutex<Current>>,
    roll: Roll,
    upstreams: Arc<Upstreams>,
    is_over: watch::Receiver<bool>,
}

#[derive(Clone, Debug)]
struct Current {
    application: Application,
    python: PathBuf,
    generation: u64,
    /// The number of the set.
    set: u64,
}

struct Replace {
    plan: Box<Plan>,
    tell: Tell,
    answer: oneshot::Sender<Result<Prepared, StartError>>,
}

/// A new version that is ready beside the old one. When it is dropped, the old one goes on and the
/// new one is ended.
#[derive(Debug)]
pub struct Prepared {
    go: oneshot::Sender<()>,
    done: oneshot::Receiver<Result<(), StartError>>,
}

impl Prepared {
    /// Has the new version take over. Where it does so worker by worker, it may still fail; then the
    /// old one is brought back.
    pub async fn switch(self) -> Result<(), StartError> {
        self.go.send(()).map_err(|()| StartError::Stopped)?;
        self.done.await.unwrap_or(Err(StartError::Stopped))
    }
}

/// Where the code of a worker is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stacks {
    pub pid: u32,
    /// Of its threads and its tasks; `None` when it does not say.
    pub lines: Option<Vec<String>>,
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
    #[error(transparent)]
    Server(#[from] ServerError),
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
            Self::Server(error) => error.last_lines(),
            Self::Python(_) | Self::Sockets { .. } | Self::Stopped => &[],
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Python(error) => Some(error.hint().into()),
            Self::Server(error) => Some(error.hint().into()),
            Self::Sockets { .. } => Some("choose another `runtime-folder`".into()),
            Self::Application { .. } => Some(
                "its last lines say why; is `site.app` right, and is all it needs installed?"
                    .into(),
            ),
            Self::Worker { failure: Failure::Late { .. }, .. } => {
                Some("give it more time with `site.start-time`, or let it load less".into())
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
        let parts = Parts {
            upstreams: Arc::clone(&upstreams),
            tracker: tracker.clone(),
            numbers: Arc::new(1.into()),
            roll: Roll::new(),
        };
        let plan = parts.check(plan).await?;
        let mut set = Set::new(plan, &parts, 1);
        set.fill(Wish::Serve);
        let quiet: Tell = Arc::new(|_| {});
        if let Err(error) = set.until_ready(1, &quiet).await {
            set.finish(End::at(Instant::now())).await;
            return Err(error);
        }
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let (stop, stopped) = watch::channel(None);
        let (over, is_over) = watch::channel(false);
        let current = Arc::new(Mutex::new(Current::of(&set)));
        let roll = parts.roll.clone();
        let owner = Owner::new(parts, set, Arc::clone(&current), stopped);
        tracker.spawn(async move {
            owner.run(inbox).await;
            over.send_replace(true);
        });
        Ok(Self { requests, stop, current, roll, upstreams, is_over })
    }

    /// Starts new workers beside the old ones, and returns when all of the new are ready and have
    /// shown that they stay up; where they replace the old ones one by one, when the first one is.
    /// On failure the old ones go on. Each step is told.
    pub async fn prepare(&self, plan: Plan, tell: Tell) -> Result<Prepared, StartError> {
        let (answer, answered) = oneshot::channel();
        let request = Replace { plan: Box::new(plan), tell, answer };
        self.requests.send(request).await.map_err(|_| StartError::Stopped)?;
        answered.await.unwrap_or(Err(StartError::Stopped))
    }

    /// Prepares new workers, and exchanges them for the old ones. Requests under way at the old
    /// ones are finished within the old plan's drain time, which is not waited for here.
    pub async fn replace(&self, plan: Plan) -> Result<(), StartError> {
        self.prepare(plan, Arc::new(|_| {})).await?.switch().await
    }

    /// Takes all workers out, lets them finish what is under way, and ends them. A second call can
    /// only bring the end nearer.
    pub async fn stop(&self, within: Duration) {
        let deadline = Instant::now() + within;
        self.stop.send_modify(|stop| *stop = Some(stop.map_or(deadline, |s| s.min(deadline))));
        // An error means that the task is over, too.
        self.is_over.clone().wait_for(|is_over| *is_over).await.ok();
    }

    /// What it is doing; the workers of the version in use come first.
    pub fn status(&self) -> Status {
        let Current { application, python, generation, set } = self.current().clone();
        let all = self.roll.follow().borrow().clone();
        let (now, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(place, _)| place.set == set && place.leaving == 0);
        let mut workers: Vec<_> = now.into_iter().chain(others).map(|(_, status)| status).collect();
        for status in &mut workers {
            status.measure(&self.upstreams);
        }
        Status { application: application.to_string(), python, generation, workers }
    }

    /// Where the code of each worker is. Those that do not run our package do not say, nor does one in
    /// which no Python runs.
    pub async fn stacks(&self) -> Vec<Stacks> {
        let all = self.roll.follow().borrow().clone();
        let mut asked = JoinSet::new();
        for (at, status) in all.into_values().enumerate() {
            let Some(pid) = status.pid else { continue };
            asked.spawn(async move {
                let lines = match status.asker {
                    Some(asker) => asker.ask("stacks", STACKS).await,
                    None => None,
                };
                (at, Stacks { pid, lines })
            });
        }
        let mut told: Vec<_> = asked.join_all().await;
        told.sort_by_key(|(at, _)| *at);
        told.into_iter().map(|(_, stacks)| stacks).collect()
    }

    /// Waits until the workers are as wanted.
    pub async fn until(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut roll = self.roll.follow();
        loop {
            roll.mark_unchanged();
            let status = self.status();
            if wanted(&status) || roll.changed().await.is_err() {
                return status;
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn of(set: &Set) -> Self {
        let plan = set.plan();
        Self {
            application: plan.application.clone(),
            python: plan.python.clone(),
            generation: set.generation(),
            set: set.number(),
        }
    }
}

/// What every set needs.
#[derive(Debug)]
struct Parts {
    upstreams: Arc<Upstreams>,
    tracker: TaskTracker,
    numbers: Arc<AtomicU64>,
    roll: Roll,
}

impl Parts {
    async fn check(&self, mut plan: Plan) -> Result<Plan, StartError> {
        plan.python = python::check(&plan.python, &plan.environment).await?.path;
        driver::prepare(&plan, &self.tracker).await?;
        Ok(plan)
    }
}

/// Makes the folder, and takes out what another life of this program left of workers.
fn prepare_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("web-") {
            let is_folder = entry.file_type()?.is_dir();
            let remove = if is_folder { fs::remove_dir_all } else { fs::remove_file };
            remove(entry.path())?;
        }
    }
    Ok(())
}
