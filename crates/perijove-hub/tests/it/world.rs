//! A site, a hub behind a gateway in a process of its own, and a folder for both.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use perijove_process::guardian;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Builder;

use crate::{
    client::{self, Answer, PATIENCE, Socket},
    site::Site,
};

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) site: Site,
    pub(crate) folder: TempDir,
    /// Where the gateway listens, the same after a restart.
    pub(crate) address: String,
    hub: Option<Child>,
    wanted: Value,
    /// Whether the state folder is a disk of 2 MiB.
    has_small_disk: bool,
    users: Option<TempDir>,
}

impl World {
    /// With a stand-in for Jupyter.
    pub(crate) async fn new() -> Self {
        Self::with(json!({})).await
    }

    pub(crate) async fn with(notebook: Value) -> Self {
        Self::start(cold(notebook), system_python(), fake()).await
    }

    /// With two megabytes for the state, and folders of users elsewhere.
    pub(crate) async fn with_small_disk() -> Self {
        let users = TempDir::with_prefix("pj-").unwrap();
        let notebook = cold(json!({"folder": users.path()}));
        let mut world = Self::prepare(notebook, system_python(), fake()).await;
        world.has_small_disk = true;
        world.users = Some(users);
        world.revive().await;
        world
    }

    pub(crate) async fn start(notebook: Value, python: PathBuf, package: PathBuf) -> Self {
        let mut world = Self::prepare(notebook, python, package).await;
        world.revive().await;
        world
    }

    async fn prepare(mut notebook: Value, python: PathBuf, package: PathBuf) -> Self {
        // What a test that is ended from outside leaves behind must not run for ever.
        if notebook["kill-timeout"].is_null() {
            notebook["kill-timeout"] = json!("10m");
        }
        let site = Site::start().await;
        let folder = TempDir::with_prefix("pj-").unwrap();
        let wanted = json!({
            "folder": folder.path(), "listen": "127.0.0.1:0", "site": site.address,
            "python": python, "package": package, "notebook": notebook,
        });
        let (address, hub, has_small_disk, users) = (String::new(), None, false, None);
        Self { site, folder, address, hub, wanted, has_small_disk, users }
    }

    pub(crate) fn wants(&mut self, key: &str, value: Value) {
        self.wanted[key] = value;
    }

    pub(crate) async fn revive(&mut self) {
        let mut hub = self
            .command()
            .arg(self.wanted.to_string())
            // What must not reach a notebook.
            .env("SITE_SECRET", "the site's own")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = hub.stdout.take().unwrap();
        let first = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line).unwrap();
            line
        });
        let line = tokio::time::timeout(PATIENCE, first).await.unwrap().unwrap();
        self.hub = Some(hub);
        line.trim().strip_prefix("http://").expect("an address").clone_into(&mut self.address);
        // Browsers come back to where they were.
        self.wanted["listen"] = json!(self.address);
    }

    /// The hub's program, with a disk of its own for the state folder if that is wanted.
    fn command(&self) -> Command {
        let program = program();
        if !self.has_small_disk {
            return Command::new(program);
        }
        let state = self.folder.path().join("state");
        std::fs::create_dir_all(&state).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c"]);
        command.arg("mount -t tmpfs -o size=2m,mode=700 small \"$1\" && exec \"$2\" \"$3\"");
        command.arg("sh").arg(state).arg(program);
        command
    }

    /// A path as the hub sees it.
    pub(crate) fn path_within(&self, below: &str) -> PathBuf {
        self.path_of(self.hub.as_ref().unwrap(), below)
    }

    fn path_of(&self, hub: &Child, below: &str) -> PathBuf {
        let path = self.folder.path().join(below);
        let root = PathBuf::from(format!("/proc/{}/root", hub.id()));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        let mut hub = self.hub.take().unwrap();
        hub.kill().unwrap();
        hub.wait().unwrap();
    }

    pub(crate) async fn control(&self, method: &str, path: &str, body: Value) -> Answer {
        client::control(&self.folder.path().join("control.sock"), method, path, &body).await
    }

    /// Launches and waits until the notebook is ready.
    pub(crate) async fn launch(&self, user: &str, body: Value) -> Value {
        let answer = self.control("POST", &format!("/notebooks/{user}"), body).await;
        assert!(matches!(answer.status, 200 | 202), "{answer:?}");
        let is_decided = |entry: &Value| entry["state"] == "ready" || entry["state"] == "failed";
        let entry = self.until_so(user, is_decided).await;
        assert_eq!(entry["state"], "ready", "{entry}");
        entry
    }

    /// Waits until the notebook has come to that state.
    pub(crate) async fn until(&self, user: &str, state: &str) -> Value {
        self.until_so(user, |entry| entry["state"] == state).await
    }

    pub(crate) async fn until_so(&self, user: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.control("GET", &format!("/notebooks/{user}"), Value::Null).await;
            let entry = answer.json();
            if is_so(&entry) {
                return entry;
            }
            assert!(tokio::time::Instant::now() < deadline, "it stays like this: {entry}");
            // There is no event for who only talks to the control socket.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A request of a browser in which `user` is signed in to the site.
    pub(crate) async fn get(&self, user: &str, path: &str) -> Answer {
        self.fetch("GET", path, &[("Cookie", &format!("session={user}"))]).await
    }

    pub(crate) async fn fetch(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        client::fetch(&self.address, method, path, fields, "").await
    }

    /// Runs Python in a notebook, as its user; what it leaves in `result`.
    pub(crate) async fn run(&self, user: &str, code: &str) -> Value {
        let cookie = format!("session={user}");
        let origin = format!("http://{}", self.address);
        let fields = [("Cookie", cookie.as_str()), ("Origin", &origin)];
        let path = format!("/notebook/{user}/run");
        let answer = client::fetch(&self.address, "POST", &path, &fields, code).await;
        let said = answer.json();
        assert!(said["error"].is_null(), "{said} of {code}");
        said["result"].clone()
    }

    pub(crate) fn process(&self) -> u32 {
        self.hub.as_ref().unwrap().id()
    }

    pub(crate) async fn websocket(&self, user: &str, path: &str) -> Result<Socket, u16> {
        let origin = format!("http://{}", self.address);
        let cookie = format!("session={user}");
        client::websocket(&self.address, path, &[("Origin", &origin), ("Cookie", &cookie)]).await
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut hub) = self.hub.take() {
            // Where the state is a disk of the hub's own, it is gone with the hub.
            end_guardians(&self.path_of(&hub, "state/notebooks"));
            hub.kill().ok();
            hub.wait().ok();
        }
        end_guardians(&self.path("state/notebooks"));
    }
}

/// Ends what would outlive the test, as it outlives perijove.
fn end_guardians(folder: &Path) {
    let Ok(notebooks) = std::fs::read_dir(folder) else { return };
    for notebook in notebooks.flatten() {
        if let Some(guardian) = guardian::adopt(&notebook.path().join("status.json")) {
            // On a thread without a runtime: the test's own does not run any more.
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(guardian::stop(&guardian, Duration::ZERO)).ok();
                });
            });
        }
    }
}

/// What stands in for Jupyter.
fn fake() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake")
}

/// Nothing is gained by a warm start of the stand-in.
fn cold(mut notebook: Value) -> Value {
    notebook["warm"] = json!(false);
    notebook
}

/// The example `hub`, which cargo builds beside the tests.
pub(crate) fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("examples/hub")
}

/// The system's Python itself, not a script that finds it and leaves its traces.
pub(crate) fn system_python() -> PathBuf {
    let said = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let said = said.expect("python3 on the path");
    PathBuf::from(String::from_utf8(said.stdout).unwrap().trim())
}
