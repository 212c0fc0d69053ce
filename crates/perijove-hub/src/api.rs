//! The control API: launch, list, show, stop. Described in `docs/reference/control-openapi.yaml`.
//!
//! Whoever reaches it has shown the control socket's secret before.

use std::{pin::Pin, sync::Arc, time::Duration};

use perijove_gateway::{Response, Service, ServiceRequest};
use serde_json::{Value, json};

use crate::{
    audit::{self, Deed},
    context::LaunchRequest,
    core::Core,
    domain::Domain,
    launch::{LaunchError, launch, launch_again, said, warn_of_conflict},
    notebook::{Name, Notebook},
    phase::Phase,
    server::View,
    spawn::{SpawnError, startup_path},
    ticket::Tickets,
    user::User,
    vouch::Vouch,
};

/// How long the end of a notebook is waited for before the answer says that it is stopping.
const PATIENCE: Duration = Duration::from_secs(25);

/// Answers on the control socket below `/notebooks`.
#[derive(Debug)]
pub(crate) struct Api {
    core: Arc<Core>,
    /// Where the site lets pass by tickets: each launch has one.
    tickets: Option<Tickets>,
}

/// An answer that says what is wrong.
struct Problem {
    status: u16,
    error: String,
    hint: &'static str,
}

impl Api {
    pub(crate) fn new(core: Arc<Core>, tickets: Option<Tickets>) -> Self {
        Self { core, tickets }
    }

    async fn answer(&self, request: ServiceRequest) -> Response {
        let head = &request.head;
        let path = String::from_utf8_lossy(head.path()).into_owned();
        let answered = match path.strip_prefix("/notebooks") {
            Some("" | "/") => self.all(head.method()),
            Some(rest) if rest.starts_with('/') => {
                self.one(head.method(), rest.get(1..).unwrap_or_default(), &request.body).await
            }
            None if path == "/starts" => self.starts(head.method()),
            _ => Err(problem(404, "there is nothing at this address", "")),
        };
        answered.unwrap_or_else(|problem| {
            let body = json!({"error": problem.error, "hint": problem.hint});
            answer(problem.status, &body)
        })
    }

    fn all(&self, method: &str) -> Result<Response, Problem> {
        if method != "GET" {
            return Err(wrong_method());
        }
        let all = self.core.all();
        let plan = self.core.plan.load();
        let domain = plan.domain.as_ref();
        let running = all.iter().filter(|(_, view)| view.phase != Phase::Absent);
        let entries: Vec<Value> =
            running.map(|(notebook, view)| entry(domain, notebook, view)).collect();
        Ok(answer(200, &Value::from(entries)))
    }

    /// How starts are prepared.
    fn starts(&self, method: &str) -> Result<Response, Problem> {
        if method != "GET" {
            return Err(wrong_method());
        }
        Ok(answer(200, &self.core.spawner.status()))
    }

    async fn one(&self, method: &str, path: &str, body: &[u8]) -> Result<Response, Problem> {
        let (segment, name) = path.split_once('/').unwrap_or((path, ""));
        let user = User::from_segment(segment.as_bytes()).map_err(LaunchError::Name)?;
        let name = Name::new(name).map_err(LaunchError::NotebookName)?;
        let notebook = Notebook::new(user, name);
        match method {
            "GET" => self.show(&notebook),
            "POST" => self.launch(&notebook, body).await,
            "DELETE" => self.stop(&notebook).await,
            _ => Err(wrong_method()),
        }
    }

    fn show(&self, notebook: &Notebook) -> Result<Response, Problem> {
        let server = self.core.server(notebook).ok_or_else(|| unknown(notebook))?;
        let view = server.view();
        if view.hash.is_none() {
            return Err(unknown(notebook));
        }
        Ok(answer(200, &self.entry(notebook, &view)))
    }

    async fn launch(&self, notebook: &Notebook, body: &[u8]) -> Result<Response, Problem> {
        let mut vouch = None;
        let launched = if is_again(body) {
            let again = launch_again(&self.core, notebook).await;
            again.ok_or_else(|| unknown(notebook))?
        } else {
            let mut request = LaunchRequest::parse(body).map_err(LaunchError::Context)?;
            vouch = request.visitor.take().and_then(Vouch::told);
            self.check_domain(request.settings.domain.as_deref())?;
            launch(&self.core, notebook, request).await
        };
        let why = launched.as_ref().map_or_else(|error| said(error), |_| String::new());
        let deed = if launched.is_ok() { Deed::Launch } else { Deed::Refusal };
        audit::note(deed, notebook, audit::CONTROL, &why);
        let launched = launched?;
        let url = match &self.tickets {
            None => Some(launched.url),
            Some(tickets) => tickets.issue(&notebook.user, &launched.url, vouch).await,
        };
        let url = url.ok_or(LaunchError::NoRandomness)?;
        let is_ready = launched.phase == Phase::Ready;
        let body = json!({
            "url": url,
            "state": match launched.is_asking {
                true => "asking",
                false if is_ready => "ready",
                false => "starting",
            },
            "created": launched.is_created,
        });
        Ok(answer(if is_ready { 200 } else { 202 }, &body))
    }

    fn entry(&self, notebook: &Notebook, view: &View) -> Value {
        entry(self.core.plan.load().domain.as_ref(), notebook, view)
    }

    /// A site that believes its notebooks to be on a domain must not have them on its own.
    fn check_domain(&self, wanted: Option<&str>) -> Result<(), Problem> {
        let Some(wanted) = wanted else { return Ok(()) };
        let plan = self.core.plan.load();
        if plan.domain.is_some() {
            if Domain::parse(wanted).ok() != plan.domain {
                warn_of_conflict("domain", true);
            }
            return Ok(());
        }
        let error = format!(
            "the site wants its notebooks at {wanted}, and perijove has no domain for them"
        );
        Err(problem(422, error, "set `domain` in the table [notebook] of perijove.toml"))
    }

    async fn stop(&self, notebook: &Notebook) -> Result<Response, Problem> {
        let server = self.core.server(notebook).ok_or_else(|| not_running(notebook))?;
        audit::note(Deed::Stop, notebook, audit::CONTROL, "");
        match tokio::time::timeout(PATIENCE, server.stop()).await {
            Ok(Some(true)) => Ok(answer(200, &self.entry(notebook, &server.view()))),
            Ok(Some(false)) => Err(not_running(notebook)),
            Ok(None) => Err(LaunchError::Closing.into()),
            Err(_) => Ok(answer(202, &self.entry(notebook, &server.view()))),
        }
    }
}

impl Service for Api {
    fn call(&self, request: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        Box::pin(self.answer(request))
    }
}

/// Whether a launch asks for what the notebook was last.
fn is_again(body: &[u8]) -> bool {
    let body: Option<Value> = serde_json::from_slice(body).ok();
    body.is_some_and(|body| body.get("again") == Some(&Value::Bool(true)))
}

fn entry(domain: Option<&Domain>, notebook: &Notebook, view: &View) -> Value {
    let Notebook { user, name } = notebook;
    let record = view.of_guardian();
    let out_of_memory = record.as_ref().and_then(|record| record.out_of_memory);
    let url = match domain {
        Some(domain) => format!("{}{}", domain.origin_of(user), view.url),
        None => view.url.clone(),
    };
    json!({
        "user": user.name(),
        "name": (!name.is_first()).then(|| name.as_str()),
        "state": view.phase.as_str(),
        "url": url,
        "started": view.started,
        "pid": view.process,
        "warm": view.is_warm,
        "folder": view.folder,
        "startup": view.folder.as_ref().map(|folder| startup_path(folder, name)),
        "kill_at": view.kill_at,
        "last_action": view.life.last_action,
        "busy": view.life.is_busy,
        "idle_at": view.life.idle_at,
        "warning": view.life.warning,
        "context_hash": view.hash,
        "log": view.log,
        "limits": record.map(|record| record.limits).unwrap_or_default(),
        "out_of_memory": out_of_memory.map(|ran_out| json!({
            "times": ran_out.times, "at": ran_out.at, "limit": ran_out.limit,
        })),
        "reason": view.reason,
        "last_lines": view.last_lines,
    })
}

fn answer(status: u16, body: &Value) -> Response {
    let mut answer = Response::new(status, "application/json", body.to_string());
    answer.fields.push("Cache-Control", "no-store");
    answer
}

fn problem(status: u16, error: impl Into<String>, hint: &'static str) -> Problem {
    Problem { status, error: error.into(), hint }
}

fn wrong_method() -> Problem {
    problem(405, "this address does not take this method", "")
}

fn unknown(notebook: &Notebook) -> Problem {
    problem(404, format!("no notebook of `{notebook}` is known"), "launch one first")
}

fn not_running(notebook: &Notebook) -> Problem {
    problem(404, format!("no notebook of `{notebook}` is running"), "")
}

impl From<LaunchError> for Problem {
    fn from(failure: LaunchError) -> Self {
        use LaunchError as E;
        let (status, hint) = match &failure {
            E::Name(_) => (400, "give the user's name percent-encoded, as one segment"),
            E::Context(_) => (400, "see docs/reference/control-openapi.yaml"),
            E::NotebookName(_) => (400, "for example `analysis`; leave it out for the first one"),
            E::NoPython { .. } => (422, "set `python` in the table [notebook] of perijove.toml"),
            E::TooMany { .. } => (503, "stop one, or raise `notebook.max-notebooks`"),
            E::TooManyOfOne { .. } => (503, "stop one, or raise `notebook.max-per-user`"),
            E::Store(_) => (503, "free some room; what runs goes on"),
            E::Folder(SpawnError::Isolation(unable)) => (422, unable.hint()),
            E::Folder(_) => (503, "see that the folder of notebooks can be written"),
            E::QueueFull => (503, "try again later"),
            E::NoRandomness | E::Closing => (503, "try again"),
        };
        Self { status, error: said(&failure), hint }
    }
}
