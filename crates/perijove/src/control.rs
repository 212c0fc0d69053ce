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
};

use perijove_gateway::{
    Client, Head, Limits, Response, Route, Routes, Secret, Service, ServiceRequest, Target,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::folders::hexadecimal;

pub(crate) mod client;
pub(crate) mod reload;

use reload::Asked;

/// Bytes of a request's body: a launch carries its startup script and greeting.
const BODY_LIMIT: u64 = 1 << 20;

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
}

/// Tells how the program is doing, at any time and from any thread.
pub(crate) type Status = Arc<dyn Fn() -> Value + Send + Sync>;

/// Answers on the control socket.
pub(crate) struct Control {
    secret: Secret,
    intents: mpsc::Sender<Intent>,
    status: Status,
    /// What lies below `/notebooks`.
    notebooks: Option<Arc<dyn Service>>,
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
        status: Status,
        notebooks: Option<Arc<dyn Service>>,
    ) -> Arc<Self> {
        Arc::new(Self { secret, intents, status, notebooks })
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
        match (method.as_str(), path.as_str()) {
            ("GET", "/status") => json_answer(200, &(self.status)()),
            ("POST", "/reload") => reload::answer(&request.head, &self.intents).await,
            ("POST", "/stop") => self.stop(&request).await,
            (_, "/status" | "/reload" | "/stop") => error(
                405,
                "this method does nothing here",
                "`GET /status`, `POST /reload`, `POST /stop`",
            ),
            _ => match &self.notebooks {
                Some(notebooks) => notebooks.call(request).await,
                None => error(
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

    async fn stop(&self, request: &ServiceRequest) -> Response {
        let is_now = serde_json::from_slice::<Value>(&request.body)
            .is_ok_and(|body| body.get("now").and_then(Value::as_bool).unwrap_or(false));
        let intent = if is_now { Intent::StopNow } else { Intent::Stop };
        match self.intents.send(intent).await {
            Ok(()) => json_answer(202, &json!({ "stopping": true })),
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
