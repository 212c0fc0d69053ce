//! The use case: a user and a context in, the address of a notebook out.

use std::{error::Error, sync::Arc, time::Duration};

use thiserror::Error;

use crate::{
    context::{ContextError, LaunchRequest},
    core::Core,
    notebook::{Notebook, WrongName},
    pages,
    pending::{Pending, Why},
    phase::Phase,
    record::Launch,
    spawn::SpawnError,
    store::StoreError,
    user::NameError,
};

/// A launch that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launched {
    /// The page to open, as a path.
    pub(crate) url: String,
    /// `Ready`, or `Starting`.
    pub(crate) phase: Phase,
    /// Whether this launch starts something; else it joined what was there.
    pub(crate) is_created: bool,
    /// Whether nothing has come about yet: the page asks, or waits in line.
    pub(crate) is_asking: bool,
}

/// Why nothing was launched.
#[derive(Debug, Error)]
pub(crate) enum LaunchError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    NotebookName(#[from] WrongName),
    #[error("the Python of notebooks, {path}, is not there")]
    NoPython { path: String },
    #[error("too many notebooks are running: {limit} at most")]
    TooMany { limit: usize },
    #[error("{limit} notebooks of this user are running, and one may have no more")]
    TooManyOfOne { limit: usize },
    #[error("too many wait for a notebook already")]
    QueueFull,
    #[error("the notebook's state could not be saved")]
    Store(#[from] StoreError),
    #[error("the notebook's folder could not be prepared")]
    Folder(#[from] SpawnError),
    #[error("the system gives no random numbers")]
    NoRandomness,
    #[error("perijove is stopping")]
    Closing,
}

/// Runs a notebook, or joins it when it runs with the same context.
pub(crate) async fn launch(
    core: &Arc<Core>,
    notebook: &Notebook,
    request: LaunchRequest,
) -> Result<Launched, LaunchError> {
    let plan = core.plan.load_full();
    if !plan.python.is_file() {
        return Err(LaunchError::NoPython { path: plan.python.display().to_string() });
    }
    let LaunchRequest { context, hash, path, settings, manner, .. } = request;
    let kill_timeout = settings.kill_timeout.as_ref();
    warn_of_conflict("folder", plan.folder.conflicts(settings.folder.as_ref()));
    warn_of_conflict("kill-timeout", plan.kill_timeout.conflicts(kill_timeout));
    let kill_timeout: Duration = plan.kill_timeout.over(kill_timeout);
    let file = context.notebook_file(&notebook.name, &hash);
    let launch = Launch {
        folder: plan.folder.over(settings.folder.as_ref()).join(notebook.user.folder_name()),
        // A span below a second is not "never".
        kill_timeout: kill_timeout.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
        opens: path.clone().unwrap_or(file),
        context,
        hash,
    };
    if !manner.asks && !manner.is_from_elsewhere {
        return core.server_or_new(notebook).launch(launch).await;
    }
    let (notebook, beside) = (notebook.clone(), manner.beside);
    let pending = Pending { notebook, launch, path, beside, why: Why::Busy };
    match would_disturb(core, &pending, manner.is_from_elsewhere).await {
        Some(why) => ask(core, Pending { why, ..pending }),
        None => launch_pending(core, pending).await,
    }
}

/// Launches it, or has its user wait where there is no room.
pub(crate) async fn launch_pending(
    core: &Arc<Core>,
    pending: Pending,
) -> Result<Launched, LaunchError> {
    let server = core.server_or_new(&pending.notebook);
    match server.launch(pending.launch.clone()).await {
        Err(LaunchError::TooMany { .. }) => ask(core, Pending { why: Why::TooMany, ..pending }),
        Err(LaunchError::TooManyOfOne { .. }) => {
            ask(core, Pending { why: Why::TooManyOfOne, ..pending })
        }
        other => other,
    }
}

/// Whether something would be replaced that its user may want to keep.
async fn would_disturb(core: &Core, pending: &Pending, is_from_elsewhere: bool) -> Option<Why> {
    let server = core.server(&pending.notebook)?;
    let view = server.view();
    let runs = matches!(view.phase, Phase::Starting | Phase::Ready);
    if !runs || view.hash.as_ref() == Some(&pending.launch.hash) {
        return None;
    }
    if is_from_elsewhere {
        return Some(Why::Elsewhere);
    }
    // One that does not say is not taken for idle.
    let is_busy = view.phase == Phase::Ready && server.look().await.is_none_or(|use_| use_.is_busy);
    is_busy.then_some(Why::Busy)
}

/// Keeps it for the page that asks, or waits.
fn ask(core: &Core, pending: Pending) -> Result<Launched, LaunchError> {
    let user = pending.notebook.user.clone();
    let id = core.waiting.put(pending)?;
    let url = pages::address_of_ask(core, &user, &id);
    Ok(Launched { url, phase: Phase::Absent, is_created: false, is_asking: true })
}

/// Starts once more what a notebook was last; `None` when it never was anything.
pub(crate) async fn launch_again(
    core: &Arc<Core>,
    notebook: &Notebook,
) -> Option<Result<Launched, LaunchError>> {
    let server = core.server(notebook)?;
    let launch = server.view().again?;
    let (notebook, path) = (notebook.clone(), Some(launch.opens.clone()));
    let pending = Pending { notebook, launch, path, beside: None, why: Why::TooMany };
    Some(launch_pending(core, pending).await)
}

/// An error with all its causes.
pub(crate) fn said(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// A setting that the site hands over and the file overrules: said once.
pub(crate) fn warn_of_conflict(key: &'static str, is_conflict: bool) {
    use std::sync::Mutex;
    static SAID: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    if !is_conflict {
        return;
    }
    let mut said = SAID.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !said.contains(&key) {
        said.push(key);
        tracing::warn!("the site hands over another `{key}` than perijove.toml: the file counts");
    }
}
