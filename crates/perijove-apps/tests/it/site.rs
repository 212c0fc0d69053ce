//! A site in a temporary folder, with a stand-in for the worker.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use perijove_apps::{
    App, Application, Driver, Phase, Plan, Recycling, Rollout, StartError, Status, python,
};
use perijove_gateway::{UpstreamSettings, Upstreams};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// More than a loaded machine needs.
pub(crate) const LONG: Duration = Duration::from_secs(25);

pub(crate) struct Site {
    folder: TempDir,
    pub(crate) plan: Plan,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) tracker: TaskTracker,
}

#[expect(clippy::disallowed_methods, reason = "a test finds the Python of the machine it runs on")]
fn path_variable() -> OsString {
    std::env::var_os("PATH").unwrap()
}

pub(crate) fn environment() -> BTreeMap<OsString, OsString> {
    [("PATH".into(), path_variable()), ("GREETING".into(), "good day".into())].into()
}

pub(crate) fn any_python() -> PathBuf {
    let path = path_variable();
    python::find(&python::Places { path: Some(&path), ..python::Places::default() }).unwrap()
}

impl Site {
    /// A site whose workers behave like this.
    pub(crate) fn new(behaviour: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("site");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("behaviour"), behaviour).unwrap();
        let plan = Plan {
            account: None,
            umask: None,
            application: Application::Module("shop:application".into()),
            name: "shop".into(),
            root,
            python: any_python(),
            package: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/package"),
            driver: Driver::Native,
            server_arguments: Vec::new(),
            install: false,
            workers: 2,
            threads: 4,
            interface: perijove_apps::Interface::Auto,
            asgi: perijove_apps::Asgi::default(),
            environment: environment(),
            sockets: folder.path().join("app"),
            health: None,
            start_time: LONG,
            drain_time: Duration::from_secs(1),
            websocket_time: Duration::from_secs(1),
            probation: Duration::from_millis(50),
            deadlock_time: Duration::ZERO,
            request_time: Duration::ZERO,
            interrupt_time: Duration::ZERO,
            rollout: Rollout::Together,
            recycling: Recycling::default(),
        };
        let upstreams = Upstreams::new(UpstreamSettings::default());
        Self { folder, plan, upstreams, tracker: TaskTracker::new() }
    }

    /// Workers that are started from now on behave like this.
    pub(crate) fn behave(&self, behaviour: &str) {
        fs::write(self.plan.root.join("behaviour"), behaviour).unwrap();
    }

    pub(crate) async fn try_start(&self) -> Result<App, StartError> {
        App::start(self.plan.clone(), Arc::clone(&self.upstreams), &self.tracker).await
    }

    /// Starts, and waits until all workers serve.
    pub(crate) async fn start(&self) -> App {
        let app = self.try_start().await.unwrap();
        until(&app, serves).await;
        app
    }

    /// How many workers the gateway knows of.
    pub(crate) fn published(&self) -> usize {
        format!("{:?}", self.upstreams).matches("web-").count()
    }

    /// The sockets of workers.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("app")).unwrap();
        let mut sockets: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        sockets.sort();
        sockets
    }

    /// What a worker saw at its start.
    pub(crate) fn seen(&self, pid: u32) -> serde_json::Value {
        let text = fs::read(self.plan.root.join(format!("seen-{pid}"))).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Waits until nothing of the application is left: no task, no socket, no process.
    pub(crate) async fn is_over(&self) {
        self.tracker.close();
        timeout(LONG, self.tracker.wait()).await.expect("the end of all tasks in time");
        assert!(self.sockets().is_empty(), "{:?}", self.sockets());
        assert_eq!(self.published(), 0);
        for entry in fs::read_dir(&self.plan.root).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if let Some(pid) = name.strip_prefix("seen-") {
                assert!(!Path::new("/proc").join(pid).exists(), "worker {pid} is left");
            }
        }
    }
}

pub(crate) async fn until(app: &App, wanted: impl Fn(&Status) -> bool) -> Status {
    let status = timeout(LONG, app.until(wanted)).await;
    status.unwrap_or_else(|_| panic!("{:?}", app.status()))
}

pub(crate) fn serves(status: &Status) -> bool {
    status.workers.iter().all(|worker| worker.phase == Phase::Serving)
}

pub(crate) fn pids(status: &Status) -> Vec<u32> {
    status.workers.iter().filter_map(|worker| worker.pid).collect()
}
