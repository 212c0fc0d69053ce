//! The control socket: how the site and the command line talk to the running program.
//!
//! Whoever can read the secret beside the socket may ask for anything, so socket and secret are for
//! this account alone; the kernel says who asked, and the log keeps it.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use perijove_gateway::{
    Client, Head, Limits, Response, Route, Routes, Secret, Service, ServiceRequest, Target,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::folders::hexadecimal;

pub(crate) mod client;
pub(crate) mod hall;
pub(crate) mod reload;

use client::Client as Asker;
use hall::{Absent, Hall};
use reload::Asked;

/// Bytes of a request's body: a launch carries its startup script and greeting.
const BODY_LIMIT: u64 = 1 << 20;

/// How long a new process may take until it is ready, unless somebody says otherwise.
const UPGRADE_TIME: Duration = Duration::from_secs(300);

/// How long the process that has taken over may take to answer.
const PASSING_ON: Duration = Duration::from_secs(600);

/// What somebody wants of the running program.
#[derive(Debug)]
pub(crate) enum Intent {
    /// Finish what is under way, then end.
    Stop,
    /// End now.
    StopNow,
    /// Read the configuration again, and start the application anew.
    Reload(Option<Asked>),
    /// Open log files again.
    ReopenLogs,
    /// Let a new process take over.
    Upgrade(Upgrade, Option<Asked>),
}

/// How a new process is to take over.
#[derive(Clone, Debug)]
pub(crate) struct Upgrade {
    /// Instead of the one that this program was started from.
    pub(crate) executable: Option<PathBuf>,
    /// How long it may take until it is ready.
    pub(crate) within: Duration,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { executable: None, within: UPGRADE_TIME }
    }
}

impl Upgrade {
    fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(body)? };
        let seconds = body.get("within").and_then(Value::as_u64);
        Ok(Self {
            executable: body.get("executable").and_then(Value::as_str).map(PathBuf::from),
            within: seconds.map_or(UPGRADE_TIME, Duration::from_secs),
        })
    }
}

/// Tells how the program is doing, at any time and from any thread.
pub(crate) type Status = Box<dyn Fn() -> Value + Send + Sync>;

/// What the program is asked about itself.
pub(crate) struct Questions {
    pub(crate) status: Status,
    pub(crate) stacks: Stacks,
}

/// Tells where the code of all workers is.
pub(crate) type Stacks = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Value> + Send>> + Send + Sync>;

/// Answers on the control socket.
pub(crate) struct Control {
    secret: Secret,
    intents: mpsc::Sender<Intent>,
    questions: Questions,
    /// What lies below `/notebooks`.
    hall: Arc<Hall>,
    socket: PathBuf,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    pub(crate) fn new(
        secret: Secret,
        intents: mpsc::Sender<Intent>,
        questions: Questions,
        hall: Arc<Hall>,
        socket: PathBuf,
    ) -> Arc<Self> {
        Arc::new(Self { secret, intents, questions, hall, socket })
    }

    /// Answers on the routes of the control socket: all paths lead here.
    pub(crate) fn serve_on(self: Arc<Self>, routes: &Routes) {
        let mut route = Route::new(Target::Service(self));
        route.limits = Limits { body: BODY_LIMIT, ..Limits::default() };
        routes.insert(None, "/", route);
    }

    async fn answer(&self, request: ServiceRequest) -> Response {
        if let Err(refusal) = self.admit(&request.head) {
            tracing::warn!(peer = peer(&request.client), "refused on the control socket");
            return refusal;
        }
        let method = request.head.method().to_owned();
        let path = String::from_utf8_lossy(request.head.path()).into_owned();
        if method != "GET" {
            tracing::info!(peer = peer(&request.client), "control: {method} {path}");
        }
        if self.hall.is_left() {
            return self.pass_on(&request).await;
        }
        match (method.as_str(), path.as_str()) {
            ("GET", "/status") => json_answer(200, &(self.questions.status)()),
            ("GET", "/stacks") => json_answer(200, &(self.questions.stacks)().await),
            ("POST", "/reload") => self.wish(&request, |asked| Intent::Reload(Some(asked))).await,
            ("POST", "/stop") => self.stop(&request).await,
            ("POST", "/upgrade") => match Upgrade::read(&request.body) {
                Ok(upgrade) => {
                    self.wish(&request, |asked| Intent::Upgrade(upgrade, Some(asked))).await
                }
                Err(wrong) => error(400, &wrong.to_string(), "send an object of JSON"),
            },
            (_, "/status" | "/stacks" | "/reload" | "/stop" | "/upgrade") => error(
                405,
                "this method does nothing here",
                "`GET /status`, `GET /stacks`, `POST /reload`, `POST /stop`, `POST /upgrade`",
            ),
            _ => match self.hall.answer(request.clone()).await {
                Ok(answer) => answer,
                Err(Absent::Successor) => self.pass_on(&request).await,
                Err(Absent::Nobody) => error(
                    422,
                    "no notebooks are served here",
                    "set `notebook.python` to a Python that has jupyterlab",
                ),
            },
        }
    }

    fn admit(&self, head: &Head) -> Result<(), Response> {
        let hint = "read the secret from the file beside the socket";
        let given =
            head.get("Authorization").ok_or_else(|| error(401, "the secret is missing", hint))?;
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        if is_equal(given, self.secret.reveal().as_bytes()) {
            Ok(())
        } else {
            Err(error(403, "the secret is wrong", hint))
        }
    }

    async fn wish(&self, request: &ServiceRequest, wish: impl FnOnce(Asked) -> Intent) -> Response {
        match reload::answer(&request.head, &self.intents, wish).await {
            Some(answer) => answer,
            None => self.pass_on(request).await,
        }
    }

    /// What came too late is asked of the process that has taken over.
    async fn pass_on(&self, request: &ServiceRequest) -> Response {
        let asker = Asker::new(self.socket.clone(), PASSING_ON);
        let method = request.head.method().to_owned();
        let target = String::from_utf8_lossy(request.head.target()).into_owned();
        let body = request.body.clone();
        let asked = tokio::task::spawn_blocking(move || asker.exchange(&method, &target, &body));
        match asked.await {
            Ok(Ok((status, body))) => Response::new(status, "application/json", body),
            Ok(Err(failure)) => error(503, &failure.to_string(), "try again"),
            Err(_) => error(503, "the program is stopping", "try again when it runs"),
        }
    }

    async fn stop(&self, request: &ServiceRequest) -> Response {
        let is_now = serde_json::from_slice::<Value>(&request.body)
            .is_ok_and(|body| body.get("now").and_then(Value::as_bool).unwrap_or(false));
        let intent = if is_now { Intent::StopNow } else { Intent::Stop };
        match self.intents.send(intent).await {
            Ok(()) => json_answer(202, &json!({ "stopping": true })),
            Err(_) if self.hall.is_left() => self.pass_on(request).await,
            Err(_) => error(503, "the program is stopping already", "wait for it"),
        }
    }
}

impl Service for Control {
    fn call(&self, request: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        Box::pin(self.answer(request))
    }
}

/// Compares in a time that does not tell how much was right.
fn is_equal(given: &[u8], wanted: &[u8]) -> bool {
    given.len() == wanted.len()
        && given.iter().zip(wanted).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn peer(client: &Client) -> String {
    client.peer.map_or_else(
        || "unknown".to_owned(),
        |peer| format!("account {} process {}", peer.user, peer.process),
    )
}

fn json_answer(status: u16, value: &Value) -> Response {
    Response::new(status, "application/json", value.to_string() + "\n")
}

fn error(status: u16, what: &str, hint: &str) -> Response {
    json_answer(status, &json!({ "error": what, "hint": hint }))
}

/// Where the secret of a control socket lies.
pub(crate) fn secret_file(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".secret");
    name.into()
}

/// The secret that the process before has made; a new one where there is none.
pub(crate) fn keep_secret(socket: &Path) -> io::Result<Secret> {
    match fs::read_to_string(secret_file(socket)) {
        Ok(text) if !text.is_empty() => Ok(Secret::new(text)),
        _ => make_secret(socket),
    }
}

/// Makes a new secret and puts it beside the socket, whole or not at all.
pub(crate) fn make_secret(socket: &Path) -> io::Result<Secret> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let text = hexadecimal(&bytes);
    let path = secret_file(socket);
    let draft = path.with_extension("draft");
    // A draft may be left over from a start that was cut off.
    drop(fs::remove_file(&draft));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&draft, &path)?;
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests;
