//! The use case: a user and a context in, the address of a notebook out.

use std::{error::Error, sync::Arc, time::Duration};

use thiserror::Error;

use crate::{
    context::{ContextError, LaunchRequest},
    core::Core,
    notebook::{Notebook, WrongName},
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
    let LaunchRequest { context, hash, path, settings } = request;
    let kill_timeout = settings.kill_timeout.as_ref();
    warn_of_conflict("folder", plan.folder.conflicts(settings.folder.as_ref()));
    warn_of_conflict("kill-timeout", plan.kill_timeout.conflicts(kill_timeout));
    let kill_timeout: Duration = plan.kill_timeout.over(kill_timeout);
    let file = context.notebook_file(&notebook.name, &hash);
    let launch = Launch {
        folder: plan.folder.over(settings.folder.as_ref()).join(notebook.user.folder_name()),
        // A span below a second is not "never".
        kill_timeout: kill_timeout.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
        opens: path.unwrap_or(file),
        context,
        hash,
    };
    core.server_or_new(notebook).launch(launch).await
}

/// Starts once more what a notebook was last; `None` when it never was anything.
pub(crate) async fn launch_again(
    core: &Arc<Core>,
    notebook: &Notebook,
) -> Option<Result<Launched, LaunchError>> {
    let server = core.server(notebook)?;
    let launch = server.view().again?;
    Some(server.launch(launch).await)
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
fn warn_of_conflict(key: &'static str, is_conflict: bool) {
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
