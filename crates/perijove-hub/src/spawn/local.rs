//! Notebooks as processes on this machine, each under a guardian that outlives us.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
            net::UnixListener,
        },
    },
    path::Path,
    time::Duration,
};

use perijove_process::{How, guardian};
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::{
    Handle, Pending, Place, SpawnError, Spawner, Start, Status, Warm,
    bounds::{Bounds, Kept},
    startup_path,
};
use crate::{config::Plan, isolation::why_cold, launch::said, record::Ended};

/// The descriptor at which a server finds its socket.
const SOCKET: i32 = 3;
/// From the request to end to the end now; Jupyter ends its kernels meanwhile.
const GRACE: Duration = Duration::from_secs(10);
/// How long a guardian may take from its start to its first note.
const ON_ITS_WAY: Duration = Duration::from_secs(30);
/// Between two looks whether it has made it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The line in the log before what one start prints.
const MARK: &str = "--- perijove starts this notebook ---";
/// The exit status of a launcher that lacks something (`EX_UNAVAILABLE` of sysexits).
const UNAVAILABLE: i32 = 69;

/// Starts guardians.
#[derive(Debug, Default)]
pub(crate) struct Local {
    warm: Warm,
}

impl Spawner for Local {
    fn start<'a>(&'a self, start: Start<'a>) -> Pending<'a, Result<Handle, SpawnError>> {
        Box::pin(async move {
            let claim = match self.claim(start.place).await? {
                Ok(claim) => claim,
                Err(handle) => return Ok(handle),
            };
            let place = start.place.clone();
            let kept = Kept::of(&start);
            // With the claim, which must not be free before this has ended.
            let begin = move || {
                mark_start(&place.log);
                let bounds = kept.bounds()?;
                listen(&place).map(|socket| (socket, claim, bounds))
            };
            let begun = spawn_blocking(begin).await.map_err(|_| SpawnError::Stopping)?;
            let (socket, claim, bounds) = begun?;
            let program = guardian::Program {
                path: start.plan.guardian.clone(),
                arguments: vec!["guardian".into()],
            };
            let spec = spec(&start, bounds);
            match self.fork(&start, &program, &spec, (&socket, &claim)).await {
                Ok(handle) => return wrap(&handle, true),
                Err(Cold::Because(reason)) => {
                    tracing::info!(
                        user = start.notebook.user.name(),
                        reason,
                        "a notebook is started cold"
                    );
                }
                Err(Cold::Off) => {}
                Err(Cold::Never(error)) => return Err(SpawnError::Guardian(error)),
            }
            let started = guardian::start_with(&program, &spec, vec![(socket, SOCKET)], claim);
            wrap(&started.await.map_err(SpawnError::Guardian)?, false)
        })
    }

    fn find(&self, place: &Place) -> Option<Handle> {
        wrap(&guardian::adopt(&place.status)?, false).ok()
    }

    fn poll(&self, place: &Place, handle: &Handle) -> Status {
        let Ok(handle) = unwrap(handle) else { return gone() };
        match guardian::poll(&handle, &place.status) {
            guardian::Status::Running => Status::Running,
            guardian::Status::Ended(ended) => {
                let is_meant =
                    matches!(ended.why, guardian::Why::TimedOut | guardian::Why::Stopped)
                        || ended.how == Some(How::Exited(0));
                let ended = in_words(ended);
                if is_meant { Status::Ended(ended) } else { Status::Died(ended) }
            }
            guardian::Status::Gone => gone(),
        }
    }

    fn ended<'a>(&'a self, place: &'a Place, handle: &'a Handle) -> Pending<'a, ()> {
        Box::pin(async move {
            let Ok(process) = unwrap(handle) else { return };
            if guardian::ended(&process).await.is_ok() {
                return;
            }
            // Where a process cannot be waited for, it is looked at now and then.
            while self.poll(place, handle) == Status::Running {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        })
    }

    fn stop<'a>(
        &'a self,
        handle: &'a Handle,
        within: Duration,
    ) -> Pending<'a, Result<(), SpawnError>> {
        Box::pin(async move {
            let handle = unwrap(handle)?;
            guardian::stop(&handle, within).await.map_err(SpawnError::Stop)
        })
    }

    fn prepare(&self, plan: &Plan) {
        self.warm.prepare(plan);
    }

    fn status(&self) -> serde_json::Value {
        self.warm.status()
    }

    fn last_lines(&self, place: &Place) -> Vec<String> {
        let mut lines = guardian::last_lines(&place.log).unwrap_or_default();
        // What an earlier start has printed explains nothing about this one.
        if let Some(mark) = lines.iter().rposition(|line| line == MARK) {
            lines.drain(..=mark);
        }
        lines
    }
}

/// Why a server was not forked.
enum Cold {
    Off,
    Because(String),
    /// And must not be started in another way: one may have been started.
    Never(guardian::StartError),
}

impl Local {
    /// Starts a server from the zygote. The socket and the claim are still there when that fails.
    async fn fork(
        &self,
        start: &Start<'_>,
        program: &guardian::Program,
        spec: &guardian::Spec,
        (socket, claim): (&OwnedFd, &guardian::Claim),
    ) -> Result<guardian::Handle, Cold> {
        if !start.plan.warm {
            return Err(Cold::Off);
        }
        if spec.program != start.plan.python {
            return Err(Cold::Because("it runs within another program".to_owned()));
        }
        if let Some(reason) = why_cold(start.plan) {
            return Err(Cold::Because(reason));
        }
        let ready = self.warm.zygote(start.plan, spec).await.map_err(Cold::Because)?;
        let because = |error: std::io::Error| Cold::Because(error.to_string());
        let socket = socket.try_clone().map_err(because)?;
        let claim = claim.share().map_err(because)?;
        let descriptors = vec![(socket, SOCKET)];
        let forked = guardian::start_from(ready.zygote(), program, spec, descriptors, claim);
        match forked.await {
            Ok(handle) => {
                ready.count();
                Ok(handle)
            }
            Err(error) => {
                ready.give_up();
                if error.is_void() {
                    Err(Cold::Because(said(&error)))
                } else {
                    Err(Cold::Never(error))
                }
            }
        }
    }

    /// The right to start a server there, or the server of a guardian that an earlier perijove has
    /// started amid its death: it is on its way before it has noted anything down.
    async fn claim(&self, place: &Place) -> Result<Result<guardian::Claim, Handle>, SpawnError> {
        let deadline = Instant::now() + ON_ITS_WAY;
        loop {
            let told = |source| {
                let path = place.status.display().to_string();
                SpawnError::File { what: "could not lock", path, source }
            };
            if let Some(claim) = guardian::claim(&place.status).map_err(told)? {
                return Ok(Ok(claim));
            }
            if let Some(handle) = self.find(place) {
                return Ok(Err(handle));
            }
            if Instant::now() >= deadline {
                return Err(SpawnError::Busy);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

fn wrap(handle: &guardian::Handle, is_warm: bool) -> Result<Handle, SpawnError> {
    let detail = serde_json::to_value(handle).map_err(SpawnError::Handle)?;
    Ok(Handle { process: handle.process.pid, started: handle.started, is_warm, detail })
}

fn unwrap(handle: &Handle) -> Result<guardian::Handle, SpawnError> {
    serde_json::from_value(handle.detail.clone()).map_err(SpawnError::Handle)
}

fn gone() -> Status {
    let reason = "it is gone, and its guardian left no word how".to_owned();
    Status::Ended(Ended { reason, last_lines: Vec::new() })
}

/// Binds the server's socket in a folder that only we can write: a link there could lead the
/// gateway anywhere.
fn listen(place: &Place) -> Result<OwnedFd, SpawnError> {
    let told = |what, path: &Path| {
        let path = path.display().to_string();
        move |source| SpawnError::File { what, path, source }
    };
    let folder = &place.socket_folder;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(told("could not make the folder", folder))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
        .map_err(told("could not close the folder", folder))?;
    if let Err(error) = fs::remove_file(&place.socket)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(told("could not remove the old socket", &place.socket)(error));
    }
    let listener =
        UnixListener::bind(&place.socket).map_err(told("could not listen on", &place.socket))?;
    fs::set_permissions(&place.socket, fs::Permissions::from_mode(0o600))
        .map_err(told("could not close the socket", &place.socket))?;
    Ok(listener.into())
}

fn spec(start: &Start<'_>, bounds: Bounds) -> guardian::Spec {
    let Start { plan, notebook, place, launch, token } = *start;
    let input = json!({
        "socket": SOCKET,
        "base_url": place.address,
        "root": launch.folder,
        "token": token.reveal(),
        "user": notebook.user.name(),
        "arguments": plan.arguments,
        "extra_template_paths": launch.context.extra_template_paths,
        "allow_origin": plan.allow_origin,
        "kernel_idle_timeout": plan.kernel_idle_timeout.as_secs_f64(),
    });
    let mut environment = environment(start);
    environment.extend(bounds.environment);
    guardian::Spec {
        program: bounds.program,
        arguments: bounds.arguments,
        environment,
        folder: launch.folder.clone(),
        confinement: bounds.confinement,
        group: bounds.group,
        is_wrapped: bounds.is_wrapped,
        input: input.to_string(),
        kill_after: (launch.kill_timeout > 0).then(|| Duration::from_secs(launch.kill_timeout)),
        stop_grace: GRACE,
        log: place.log.clone(),
        status: place.status.clone(),
    }
}

/// All that a notebook sees of the environment: nothing of ours, nothing of the site's.
fn environment(start: &Start<'_>) -> BTreeMap<String, String> {
    let Start { plan, notebook, launch, .. } = *start;
    let below = |path: &str| launch.folder.join(path).display().to_string();
    let mut environment: BTreeMap<String, String> = [
        ("PATH".to_owned(), search_path(plan)),
        ("HOME".to_owned(), launch.folder.display().to_string()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("JUPYTER_CONFIG_DIR".to_owned(), below(".jupyter")),
        ("JUPYTER_DATA_DIR".to_owned(), below(".local/share/jupyter")),
        ("JUPYTER_RUNTIME_DIR".to_owned(), below(".local/share/jupyter/runtime")),
    ]
    .into();
    environment.extend(plan.environment.clone());
    environment.extend(launch.context.environment.clone());
    // Python runs our loader at the start of a kernel; it runs the one that was meant, too.
    let loader = plan.startup_loader().display().to_string();
    if let Some(own) = environment.insert("PYTHONSTARTUP".to_owned(), loader) {
        environment.insert("PERIJOVE_PYTHONSTARTUP".to_owned(), own);
    }
    let startup = startup_path(&launch.folder, &notebook.name).display().to_string();
    environment.insert("PERIJOVE_STARTUP".to_owned(), startup);
    environment
}

pub(super) fn search_path(plan: &Plan) -> String {
    let minimal = "/usr/local/bin:/usr/bin:/bin";
    match plan.python.parent() {
        Some(folder) => format!("{}:{minimal}", folder.display()),
        None => minimal.to_owned(),
    }
}

/// Says in the log that another start begins. The log is for people: when it cannot be written,
/// the start goes on.
fn mark_start(log: &Path) {
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(log);
    opened.and_then(|mut log| writeln!(log, "{MARK}")).ok();
}

/// How a server ended.
fn in_words(ended: guardian::Ended) -> Ended {
    let last_line = ended.last_lines.iter().rfind(|line| !line.trim().is_empty());
    let reason = match (ended.why, ended.how) {
        (guardian::Why::TimedOut, _) => "it was ended: its time was up".to_owned(),
        (guardian::Why::Stopped, _) => "it was stopped".to_owned(),
        // The launcher says in one line what is missing.
        (_, Some(How::Exited(UNAVAILABLE))) if last_line.is_some() => {
            last_line.cloned().unwrap_or_default()
        }
        (_, Some(How::Exited(0))) => "it was shut down from within".to_owned(),
        (_, Some(how)) => format!("it ended by itself ({how})"),
        (_, None) => "it ended by itself".to_owned(),
    };
    Ended { reason, last_lines: ended.last_lines }
}
