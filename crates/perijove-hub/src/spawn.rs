//! Where notebooks run: the seam behind which a process here, or elsewhere, is started.

use std::{fmt, path::PathBuf, pin::Pin, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    config::Plan,
    notebook::Notebook,
    record::{Ended, Launch, Token},
};

mod bounds;
mod folder;
mod home;
mod local;
mod ours;
mod probe;
mod warm;

pub(crate) use folder::{ensure_notebook, prepare, replace, startup_path, temporary_path};
pub(crate) use local::Local;
pub(crate) use probe::{ProbeError, Way, ask, probe};
use warm::Warm;

pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Starts notebook servers, finds them again, and ends them.
pub(crate) trait Spawner: Send + Sync + fmt::Debug {
    /// Starts a server, or finds one that was being started while its starter died; its handle is
    /// noted at once, so that a crash here loses nothing.
    fn start<'a>(&'a self, start: Start<'a>) -> Pending<'a, Result<Handle, SpawnError>>;

    /// The server of that place which was started although nobody noted its handle.
    fn find(&self, place: &Place) -> Option<Handle>;

    fn poll(&self, place: &Place, handle: &Handle) -> Status;

    /// Waits until it has ended, however that comes.
    fn ended<'a>(&'a self, place: &'a Place, handle: &'a Handle) -> Pending<'a, ()>;

    /// Ends it and all that it started: politely for so long, then at once.
    fn stop<'a>(
        &'a self,
        handle: &'a Handle,
        within: Duration,
    ) -> Pending<'a, Result<(), SpawnError>>;

    /// Has ready what starts with this plan can use.
    fn prepare(&self, _plan: &Plan) {}

    /// What is to be told of that.
    fn status(&self) -> serde_json::Value {
        serde_json::json!({"state": "off"})
    }

    /// What it printed last.
    fn last_lines(&self, place: &Place) -> Vec<String>;
}

/// All that a start needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) notebook: &'a Notebook,
    pub(crate) place: &'a Place,
    pub(crate) launch: &'a Launch,
    pub(crate) token: &'a Token,
}

/// What names a running server, also to a later perijove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handle {
    /// For people: the process that holds the server.
    pub(crate) process: i32,
    /// Seconds since the Unix epoch.
    pub(crate) started: u64,
    /// Whether it was forked from a process that had imported what it needs.
    #[serde(default)]
    pub(crate) is_warm: bool,
    /// The spawner's own.
    pub(crate) detail: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    Ended(Ended),
    /// It has ended without having been told to.
    Died(Ended),
}

/// The guardian's record of a notebook, in the folder of its log.
pub(crate) const STATUS: &str = "status.json";

/// The paths of one notebook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where its address begins: `/notebook/ada/`.
    pub(crate) address: String,
    /// The folder of its socket, which the user cannot write.
    pub(crate) socket_folder: PathBuf,
    pub(crate) socket: PathBuf,
    /// Its folder of ours, with its log and its guardian's record.
    pub(crate) state: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) status: PathBuf,
}

impl Place {
    pub(crate) fn new(plan: &Plan, notebook: &Notebook) -> Self {
        let short = notebook.short_name();
        let socket_folder = plan.runtime_folder.join("notebook").join(&short);
        let state = plan.state_folder.join("notebooks").join(&short);
        Self {
            address: notebook.address(plan),
            socket: socket_folder.join("sock"),
            socket_folder,
            log: state.join("notebook.stderr.log"),
            status: state.join(STATUS),
            state,
        }
    }
}

/// Why a server was not started or not stopped.
#[derive(Debug, Error)]
pub(crate) enum SpawnError {
    #[error("{what} {path}")]
    File { what: &'static str, path: String, source: std::io::Error },
    #[error(transparent)]
    Isolation(#[from] crate::isolation::Unable),
    #[error("could not start the notebook's guardian")]
    Guardian(#[source] perijove_process::guardian::StartError),
    #[error("another start of the notebook has not come to an end")]
    Busy,
    #[error("could not stop the notebook")]
    Stop(#[source] perijove_process::guardian::StopError),
    #[error("perijove is stopping")]
    Stopping,
    #[error("the handle of the notebook is unreadable")]
    Handle(#[source] serde_json::Error),
}
