//! One process of a worker: its socket, its start, whether it is ready.

use std::{
    error::Error,
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use perijove_gateway::Protocol;
use perijove_process::{Child, NotReady, until_ready};

use super::{Failure, Shared};
use crate::{
    Plan,
    driver::{self, Launch},
};

/// Time from SIGTERM to SIGKILL for a worker that never became ready.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a socket's name that the kernel takes.
const LONGEST_NAME: usize = 107;

/// A process that was started.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) socket: Socket,
    pub(super) protocol: Protocol,
    pub(super) capacity: Option<usize>,
}

/// The file of a socket, removed with this.
#[derive(Debug)]
pub(super) struct Socket(PathBuf);

impl Socket {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // One that stays is removed at the next start.
        fs::remove_file(&self.0).ok();
    }
}

fn not_started(what: &str, error: &dyn Error) -> Failure {
    let source = error.source().map(|source| format!(": {source}"));
    Failure::NotStarted { reason: format!("{what}: {error}{}", source.unwrap_or_default()) }
}

fn bind(path: PathBuf) -> io::Result<(Socket, OwnedFd)> {
    if path.as_os_str().len() > LONGEST_NAME {
        let message = format!(
            "{} is longer than {LONGEST_NAME} bytes: choose a shorter `runtime-folder`",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let listener = UnixListener::bind(&path)?;
    let socket = Socket(path);
    // Until now the folder, which only we may enter, kept others out.
    fs::set_permissions(socket.path(), fs::Permissions::from_mode(0o600))?;
    Ok((socket, listener.into()))
}

impl Process {
    pub(super) fn start(shared: &Shared) -> Result<Self, Failure> {
        let plan = &shared.plan;
        let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
        let (socket, listener) = bind(plan.sockets.join(format!("web-{number}.sock")))
            .map_err(|error| not_started("its socket could not be made", &error))?;
        let Launch { command, protocol, capacity } = driver::launch(plan, listener)
            .map_err(|error| not_started("it could not be prepared", &error))?;
        let child = Child::start(command, format!("web-{number}"), &shared.tracker)
            .map_err(|error| not_started("it was refused", &error))?;
        Ok(Self { child, socket, protocol, capacity })
    }

    /// Waits until it answers; one that fails to is ended.
    pub(super) async fn until_ready(&self, plan: &Plan) -> Result<(), Failure> {
        let within = plan.start_time;
        let probe = || driver::ready(plan, &self.protocol, self.socket.path());
        match until_ready(probe, self.child.ended(), within).await {
            Ok(()) => Ok(()),
            Err(NotReady::Ended(ending)) => Err(Failure::Ended(ending)),
            Err(NotReady::Late(why)) => {
                self.end(IMPATIENCE).await;
                let last_lines = self.child.output().last_lines();
                let why = why.map(|error| error.to_string());
                Err(Failure::Late { waited: within, why, last_lines })
            }
        }
    }

    pub(super) async fn end(&self, grace: Duration) {
        self.child.terminate(grace);
        self.child.ended().await;
    }
}
