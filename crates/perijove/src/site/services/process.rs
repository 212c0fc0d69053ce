//! One process of a service: its command, its socket, whether it serves.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use perijove_gateway::{Protocol, Upstream, UpstreamAddress, UpstreamId, Upstreams};
use perijove_process::{Account, Child, Command, NotReady, Output, ParentDeath, until_ready};
use sha2::{Digest, Sha256};
use tokio::net::UnixStream;

use super::Shared;
use crate::{config::plan::ServicePlan, folders::hexadecimal};

/// The least time between SIGTERM and SIGKILL.
const AT_LEAST: Duration = Duration::from_millis(200);

/// A process that was started.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    socket: Option<Socket>,
}

/// The file of a socket, removed with this.
#[derive(Debug)]
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

impl Process {
    /// The error is why there is none.
    pub(super) fn start(
        plan: &ServicePlan,
        environment: &BTreeMap<OsString, OsString>,
        shared: &Shared,
    ) -> Result<Self, String> {
        let socket = plan.has_socket.then(|| socket(plan, shared)).transpose();
        let socket = socket.map_err(|error| format!("has no place for its socket ({error})"))?;
        let path = socket.as_ref().map(|socket| socket.0.display().to_string());
        let fill = |word: &String| word.replace("{socket}", path.as_deref().unwrap_or_default());
        let mut words = plan.words.iter().map(fill);
        let mut command = Command::new(words.next().unwrap_or_default()).arguments(words);
        command.environment.clone_from(environment);
        for (name, value) in &plan.environment {
            command = command.variable(name, value);
        }
        if let Some(path) = path {
            command = command.variable("SOCKET", path);
        }
        command.folder = Some(plan.folder.clone());
        command.account.clone_from(&plan.account);
        command.parent_death = ParentDeath::Terminates;
        // All that it started ends when it must.
        command.is_session = true;
        let output = output(plan, shared).map_err(|error| format!("has no log ({error})"))?;
        let child = Child::start_with(command, plan.name.clone(), &shared.tracker, output)
            .map_err(|error| format!("could not be started: {error}"))?;
        Ok(Self { child, socket })
    }

    /// Waits until it serves its socket, if it has one, and has requests sent there.
    pub(super) async fn until_served(
        &self,
        plan: &ServicePlan,
        upstreams: &Upstreams,
    ) -> Result<Option<UpstreamId>, String> {
        let Some(Socket(path)) = &self.socket else { return Ok(None) };
        let probe = || UnixStream::connect(path);
        match until_ready(probe, self.child.ended(), plan.start_time).await {
            Ok(_) => Ok(Some(upstreams.add(Upstream {
                address: UpstreamAddress::Unix(path.clone()),
                protocol: Protocol::Http1,
                capacity: None,
                account: Some(plan.account.as_ref().map_or_else(own, |account| account.uid)),
                is_replaced: true,
            }))),
            Err(NotReady::Ended(ending)) => {
                Err(format!("ended before it served its socket ({})", ending.how))
            }
            Err(NotReady::Late(_)) => {
                let seconds = plan.start_time.as_secs_f32();
                Err(format!("did not serve its socket within {seconds:.1} s"))
            }
        }
    }

    pub(super) async fn end(&self, grace: Duration) {
        self.child.terminate(grace.max(AT_LEAST));
        self.child.ended().await;
    }
}

fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A place for a socket that no other process has had, where the account may make one.
fn socket(plan: &ServicePlan, shared: &Shared) -> io::Result<Socket> {
    let digest = Sha256::digest(plan.name.as_bytes());
    let folder = shared.sockets.join(hexadecimal(digest.get(..4).unwrap_or_default()));
    make_folder(&folder, plan.account.as_ref())?;
    let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("{}-{number}", shared.berth.number()));
    // One may be left over from another life of this program.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(Socket(path)),
    }
}

/// Another account must get through the folders above to its own, and sees nothing there.
fn make_folder(folder: &Path, account: Option<&Account>) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let Some(account) = account else { return Ok(()) };
    for above in folder.ancestors().skip(1).take(2) {
        fs::set_permissions(above, fs::Permissions::from_mode(0o711))?;
    }
    std::os::unix::fs::chown(folder, Some(account.uid), Some(account.gid))
}

/// What it prints goes to the log, or to a file of its own.
fn output(plan: &ServicePlan, shared: &Shared) -> io::Result<Output> {
    match &plan.log_file {
        Some(path) => Ok(Output::to(shared.logs.writer(path)?)),
        None => Ok(Output::default()),
    }
}
