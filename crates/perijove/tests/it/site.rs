//! A running perijove for a story: the real program, on a port of its own, in a folder of its own.

use std::{
    fs,
    net::TcpListener,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) mod http;
mod log;
mod package;
mod small_state;
mod survivors;

pub(crate) use http::{Answer, Connection};
use log::Log;

/// How long anything may take before a story fails. The machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A site that is about to be served.
pub(crate) struct Plan {
    folder: TempDir,
    settings: Vec<String>,
    start: Start,
}

/// How the program is started, and started again.
#[derive(Clone, Default)]
struct Start {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Its state folder is a small file system of its own.
    has_small_state: bool,
    /// There is no configuration file.
    has_no_file: bool,
    /// Another file than the one that was built.
    program: Option<PathBuf>,
    /// A socket that is handed over.
    socket: Option<Arc<TcpListener>>,
    /// Notebooks run on when the program ends: somebody must end them.
    has_notebooks: bool,
}

/// A site that is served.
pub(crate) struct Site {
    folder: TempDir,
    start: Start,
    child: Child,
    pub(crate) addresses: Vec<String>,
    log: Log,
}

/// What a program that has ended leaves behind.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
}

impl Plan {
    /// An empty folder, served on a free port, with folders of its own and one worker.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("pj").tempdir_in("/tmp").unwrap();
        let settings =
            ["listen = ['127.0.0.1:0']", "state-folder = 'state'", "runtime-folder = 'run'"];
        let plan = Self {
            folder,
            settings: settings.map(str::to_owned).to_vec(),
            start: Start::default(),
        };
        plan.set("site.workers = 1").set("limits.drain-time = '20s'")
    }

    /// The application in `apps/NAME.py`.
    pub(crate) fn wsgi(self, name: &str) -> Self {
        package::ensure();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/apps/{name}.py"));
        let text = fs::read_to_string(source).unwrap();
        self.file("app.py", &text)
    }

    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        write(&self.folder.path().join(name), content);
        self
    }

    pub(crate) fn link(self, name: &str, to: &str) -> Self {
        link(self.folder.path(), name, to);
        self
    }

    /// A line of the configuration, `table.key = value`; the last one for a key wins.
    pub(crate) fn set(mut self, line: &str) -> Self {
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        self.settings.retain(|known| key(known) != key(line));
        self.settings.push(line.to_owned());
        self
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.start.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.start.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A copy of the program, or a link to one.
    pub(crate) fn program(mut self, program: &Path) -> Self {
        self.start.program = Some(program.to_owned());
        self
    }

    pub(crate) fn with_notebooks(mut self) -> Self {
        self.start.has_notebooks = true;
        self
    }

    /// Nothing is written: no configuration file at all.
    pub(crate) fn without_file(mut self) -> Self {
        self.start.has_no_file = true;
        let folder = self.folder.path().to_owned();
        let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        self.argument("--listen")
            .argument("127.0.0.1:0")
            .variable("STATE_DIRECTORY", &at("state"))
            .variable("RUNTIME_DIRECTORY", &at("run"))
    }

    /// A socket that somebody else has bound is handed over, as service managers do.
    pub(crate) fn socket(mut self, socket: TcpListener) -> Self {
        self.start.socket = Some(Arc::new(socket));
        self
    }

    /// Its state folder has four megabytes.
    pub(crate) fn small_state(mut self) -> Self {
        self.start.has_small_state = true;
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it, and returns when it says that it is ready.
    pub(crate) async fn start(self) -> Site {
        self.configure();
        Site::start_in(self.folder, self.start).await
    }

    /// Starts it, and waits for its end: for sites that do not start.
    pub(crate) fn run(self) -> Ended {
        self.configure();
        let mut child = self.start.spawn(self.folder.path());
        let log = Log::follow(child.stderr.take().unwrap());
        let status = wait(&mut child);
        log.until_closed();
        Ended { code: status.and_then(|status| status.code()), log: log.text() }
    }

    /// Starts it, sends a signal when a file is there, and waits for the end.
    pub(crate) async fn run_until(self, file: &str, signal: Signal) -> Ended {
        self.configure();
        let path = self.folder.path().join(file);
        let mut child = self.start.spawn(self.folder.path());
        let log = Log::follow(child.stderr.take().unwrap());
        until(&format!("{file} is there"), || path.exists()).await;
        send(child.id() as i32, signal);
        let status = wait(&mut child);
        log.until_closed();
        Ended { code: status.and_then(|status| status.code()), log: log.text() }
    }

    fn configure(&self) {
        if self.start.has_no_file {
            return;
        }
        let settings = self.settings.join("\n") + "\n";
        fs::write(self.folder.path().join("perijove.toml"), settings).unwrap();
    }
}

impl Start {
    fn spawn(&self, folder: &Path) -> Child {
        let program = if self.has_small_state { small_state::program } else { program };
        let mut command = program(folder);
        if let Some(copy) = &self.program {
            let plain = command;
            command = Command::new(copy);
            command.current_dir(folder).env_clear().stdin(Stdio::null());
            command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        }
        if let Some(socket) = &self.socket {
            command = handing_over(socket, folder);
        }
        command.arg("serve").args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

impl Site {
    async fn start_in(folder: TempDir, start: Start) -> Self {
        let mut child = start.spawn(folder.path());
        let log = Log::follow(child.stderr.take().unwrap());
        let said = Log::follow(child.stdout.take().unwrap());
        let mut site = Self { folder, start, child, addresses: Vec::new(), log };
        let is_ready = |text: &str| text.lines().any(|line| line.starts_with("ready: "));
        // Others of the same story may have to answer meanwhile, so nothing is blocked here.
        until("it is ready", || is_ready(&said.text()) || said.is_closed()).await;
        assert!(is_ready(&said.text()), "not ready:\n{}", site.log.text());
        site.addresses = said
            .text()
            .lines()
            .filter_map(|line| line.strip_prefix("ready: ").map(str::to_owned))
            .collect();
        site
    }
}

/// The program with a socket as descriptor 3, where service managers put the first one.
fn handing_over(socket: &TcpListener, folder: &Path) -> Command {
    let plain = program(folder);
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\" 3<&0 </dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(plain.get_program()).current_dir(folder).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(OwnedFd::from(socket.try_clone().unwrap()));
    command
}

/// The program, to be run in a folder with an environment that holds nothing of the test's.
pub(crate) fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perijove"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    for name in ["PATH", "HOME", "LANG"] {
        #[expect(clippy::disallowed_methods, reason = "what every program needs, and no more")]
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

impl Site {
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `127.0.0.1:PORT` of the first address.
    pub(crate) fn address(&self) -> &str {
        self.addresses[0].split_once("://").unwrap().1
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::to(self.address()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.connect().await.ask("GET", path, b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.connect().await.ask("POST", path, body).await
    }

    /// A request that goes on while the story does.
    pub(crate) async fn begin(&self, path: &str) -> tokio::task::JoinHandle<Answer> {
        let mut connection = self.connect().await;
        let path = path.to_owned();
        tokio::spawn(async move { connection.ask("GET", &path, b"").await })
    }

    /// Runs another command of the program about this site.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        program(self.folder.path()).args(arguments).output().unwrap()
    }

    /// A command that runs while the story goes on.
    pub(crate) fn begin_command(&self, arguments: &[&str]) -> tokio::task::JoinHandle<Output> {
        let mut command = program(self.folder.path());
        command.args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    }

    /// Runs a command that must succeed; its output.
    pub(crate) fn tell(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out}{err}\n{}", self.log.text());
        out
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.tell(&["status", "--json"])).unwrap()
    }

    /// Process ids of the workers that serve.
    pub(crate) fn workers(&self) -> Vec<i32> {
        let status = self.status();
        let workers = status["application"]["workers"].as_array().unwrap();
        workers.iter().filter_map(|worker| worker["pid"].as_i64()).map(|pid| pid as i32).collect()
    }

    pub(crate) fn kill_worker(&self, number: usize) {
        send(self.workers()[number], Signal::KILL);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.child.id() as i32, signal);
    }

    /// Waits for a file in the site's folder, which an application makes to say where it is.
    pub(crate) async fn until_file(&self, name: &str) {
        let path = self.folder.path().join(name);
        until(&format!("{name} is there"), || path.exists()).await;
    }

    /// Makes a file that an application waits for.
    pub(crate) fn make(&self, name: &str) {
        write(&self.folder.path().join(name), "");
    }

    /// Has a name lead elsewhere, from one moment to the next.
    pub(crate) fn link(&self, name: &str, to: &str) {
        link(self.folder.path(), name, to);
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        write(&self.folder.path().join(name), content);
    }

    /// Fills the state folder to the last byte; only where that is small.
    pub(crate) fn fill_state(&self) {
        small_state::fill(self.child.id(), self.folder.path());
    }

    pub(crate) fn free_state(&self) {
        small_state::free(self.child.id(), self.folder.path());
    }

    /// Changes the configuration of the running site: a line is added.
    pub(crate) fn configure(&self, line: &str) {
        let path = self.folder.path().join("perijove.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{line}\n")).unwrap();
    }

    /// Waits until the log holds some words.
    pub(crate) fn logs(&self, words: &str) -> String {
        let is_told = self.log.until(|text| text.contains(words), PATIENCE);
        assert!(is_told, "the log lacks {words:?}:\n{}", self.log.text());
        let told = self.log.text();
        told.lines().find(|line| line.contains(words)).unwrap().to_owned()
    }

    /// Asks for the end, and waits for it.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Waits for the end.
    pub(crate) fn ended(mut self) -> Ended {
        let status = wait(&mut self.child);
        self.log.until_closed();
        let Some(status) = status else { panic!("it does not end:\n{}", self.log.text()) };
        Ended { code: status.code(), log: self.log.text() }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Site {
    /// Kills the program as a power cut would, and starts it again.
    pub(crate) async fn crash_and_start(self) -> Self {
        self.crash_and_start_after(|| {}).await
    }

    /// The same, with something in between.
    pub(crate) async fn crash_and_start_after(mut self, meanwhile: impl FnOnce()) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        meanwhile();
        self.begin_again().await
    }

    /// Starts it again after it has ended, however that came.
    pub(crate) async fn start_again(mut self) -> Self {
        self.child.wait().unwrap();
        self.begin_again().await
    }

    /// Starts it once more, while a process that was replaced may still finish what is under way.
    pub(crate) async fn begin_another(&self) -> Child {
        let mut child = self.start.spawn(self.folder.path());
        let log = Log::follow(child.stderr.take().unwrap());
        let said = Log::follow(child.stdout.take().unwrap());
        until("another one is ready", || said.text().contains("ready: ") || said.is_closed()).await;
        assert!(said.text().contains("ready: "), "not ready:\n{}", log.text());
        child
    }

    pub(crate) async fn stop_and_start(mut self) -> Self {
        self.signal(Signal::TERM);
        assert_eq!(wait(&mut self.child).and_then(|status| status.code()), Some(0));
        self.begin_again().await
    }

    async fn begin_again(mut self) -> Self {
        // What is left of this one must not end the notebooks.
        let start = std::mem::take(&mut self.start);
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        drop(self);
        Self::start_in(folder, start).await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // A story that failed leaves it running; its workers end with it, its notebooks do not.
        if self.start.has_notebooks && self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            program(self.folder.path()).args(["notebook", "stop", "--all"]).output().ok();
        }
        self.child.kill().ok();
        self.child.wait().ok();
        // One that has taken over from the first process, or was about to.
        survivors::end_programs(self.folder.path());
        if self.start.has_notebooks {
            survivors::end(self.folder.path());
        }
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn shows(&self, words: &str) -> &Self {
        assert!(self.log.contains(words), "{words:?} is missing:\n{}", self.log);
        self
    }
}

/// Waits until something holds, looking often: for what no event tells.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn send(process: i32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(process).unwrap(), signal).unwrap();
}

fn write(path: &PathBuf, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn link(folder: &Path, name: &str, to: &str) {
    let new = folder.join("new-link");
    std::os::unix::fs::symlink(to, &new).unwrap();
    fs::rename(new, folder.join(name)).unwrap();
}

/// An address on which nobody listens now.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The root of the source tree.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
