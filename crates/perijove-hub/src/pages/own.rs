//! Pages of a user's own: all notebooks, and what is done with one of them.

use std::{sync::Arc, time::Duration};

use minijinja::{Value, context};
use perijove_gateway::{Client, Head, Response, ServiceRequest};
use serde_json::json;
use tokio::time::timeout;

use super::render::{self, not_here, render, wants_page};
use crate::{
    audit::{self, Deed},
    clock,
    core::Core,
    idle::{Rules, in_words},
    notebook::Notebook,
    phase::Phase,
    server::{Server, View},
    user::User,
};

/// How long the end of a notebook is waited for before the answer says that it is stopping.
const PATIENCE: Duration = Duration::from_secs(25);
/// The same while the page warns.
const OFTEN: u64 = 5;

/// Answers below `-/`, also while the notebook runs.
pub(super) async fn answer(
    core: &Arc<Core>,
    request: &ServiceRequest,
    notebook: &Notebook,
    below: &str,
) -> Response {
    let head = &request.head;
    let server = core.server(notebook);
    if let Some(id) = below.strip_prefix("ask/") {
        return super::ask::answer(core, request, notebook, id).await;
    }
    match (head.method(), below) {
        ("GET" | "HEAD", "") => list(core, head, notebook, None),
        ("GET" | "HEAD", "state") => state(core, notebook, server.as_ref()),
        ("GET" | "HEAD", "stop") => confirm(core, notebook),
        ("POST", "keep") => keep(core, head, notebook, server).await,
        ("POST", "stop") => stop(core, request, notebook, server).await,
        _ => not_here(head),
    }
}

/// What a notebook's own pages have to know.
fn state(core: &Core, notebook: &Notebook, server: Option<&Server>) -> Response {
    let view = server.map(Server::view);
    let now = clock::now();
    let life = view.as_ref().map(|view| view.life).unwrap_or_default();
    let ask_again = if let Some(warning) = life.warning {
        (warning.at.saturating_sub(now) / 3).clamp(1, OFTEN)
    } else {
        let plan = core.plan.load();
        let kill_span =
            view.as_ref().and_then(|view| Some(view.kill_at?.saturating_sub(view.started?)));
        Rules::new(plan.idle_timeout, plan.warn_before).pause_of_pages(kill_span)
    };
    let body = json!({
        "state": view.as_ref().map_or(Phase::Absent, |view| view.phase).as_str(),
        "name": notebook.name.as_str(),
        "now": now,
        "idle_at": life.idle_at,
        "kill_at": view.as_ref().and_then(|view| view.kill_at),
        "busy": life.is_busy,
        "warning": life.warning,
        "ask_again": ask_again,
        "out_of_memory": view.as_ref().and_then(View::of_guardian).and_then(|it| it.out_of_memory),
        "revived": view.as_ref().and_then(|view| view.revived),
        "home": view.map(|view| view.home),
    });
    data(200, &body)
}

async fn keep(
    core: &Arc<Core>,
    head: &Head,
    notebook: &Notebook,
    server: Option<Server>,
) -> Response {
    let is_kept = match server {
        Some(server) => server.keep().await.is_some(),
        None => false,
    };
    if wants_page(head) {
        return to_list(core, notebook);
    }
    if is_kept {
        data(200, &json!({"kept": true}))
    } else {
        render::json(409, "the notebook does not run, or does not answer", "")
    }
}

async fn stop(
    core: &Arc<Core>,
    request: &ServiceRequest,
    notebook: &Notebook,
    server: Option<Server>,
) -> Response {
    let (head, client) = (&request.head, &request.client);
    audit::note(Deed::Stop, notebook, from(client), "by its user");
    let mut state = Phase::Absent;
    if let Some(server) = server {
        // Whatever becomes of it within that time, it is told to end.
        timeout(PATIENCE, server.stop()).await.ok();
        state = server.view().phase;
    }
    if wants_page(head) {
        // Back to the page that had the button, if that is one of ours.
        let first = Notebook::first(notebook.user.clone());
        let ask = format!("{}-/ask/", first.address(&core.plan.load()));
        let referrer = head.get("referer").map(|from| String::from_utf8_lossy(from).into_owned());
        let came_from = referrer.as_ref().and_then(|from| from.split_once(&ask));
        return match came_from.filter(|(_, id)| id.bytes().all(|b| b.is_ascii_hexdigit())) {
            Some((_, id)) => Response::redirect(303, &format!("{ask}{id}")),
            None => to_list(core, notebook),
        };
    }
    data(200, &json!({"state": state}))
}

/// The address of whoever asks.
pub(crate) fn from(client: &Client) -> String {
    client.address.map_or_else(|| "a Unix socket".to_owned(), |address| address.to_string())
}

/// A link alone ends nothing: it asks first.
fn confirm(core: &Core, notebook: &Notebook) -> Response {
    let address = notebook.address(&core.plan.load());
    let values = context! {
        title => "Shut this notebook down?",
        stop => format!("{address}-/stop"),
        list => format!("{address}-/"),
    };
    render(200, "end.html", values, "")
}

fn to_list(core: &Core, notebook: &Notebook) -> Response {
    let first = Notebook::first(notebook.user.clone());
    Response::redirect(303, &format!("{}-/", first.address(&core.plan.load())))
}

/// What is told of each notebook of a user.
pub(super) fn rows(core: &Core, user: &User) -> Vec<Value> {
    let now = clock::now();
    let all =
        core.all().into_iter().filter(|(each, view)| each.user == *user && view.hash.is_some());
    all.map(|(each, view)| row(&each, &view, now)).collect()
}

/// All notebooks of a user; `reason` says why they are shown.
pub(super) fn list(
    core: &Core,
    head: &Head,
    notebook: &Notebook,
    reason: Option<&str>,
) -> Response {
    let plan = core.plan.load();
    let all = core.all().into_iter().filter(|(each, _)| each.user == notebook.user);
    let known: Vec<(Notebook, View)> = all.filter(|(_, view)| view.hash.is_some()).collect();
    let running = known.iter().filter(|(_, view)| view.phase.is_active()).count();
    if !wants_page(head) {
        let entries: Vec<_> = known.iter().map(|(each, view)| entry(each, view)).collect();
        return data(
            200,
            &json!({"notebooks": entries, "running": running, "most": plan.max_per_user}),
        );
    }
    let now = clock::now();
    let rows: Vec<Value> = known.iter().map(|(each, view)| row(each, view, now)).collect();
    let values = context! {
        title => "Your notebooks",
        reason, rows, running,
        most => plan.max_per_user,
    };
    render(200, "list.html", values, "")
}

fn entry(notebook: &Notebook, view: &View) -> serde_json::Value {
    json!({
        "name": notebook.name.as_str(),
        "state": view.phase,
        "url": view.url,
        "started": view.started,
        "last_action": view.life.last_action,
        "busy": view.life.is_busy,
        "idle_at": view.life.idle_at,
        "kill_at": view.kill_at,
    })
}

fn row(notebook: &Notebook, view: &View, now: u64) -> Value {
    let ago = |at: u64| roughly(now.saturating_sub(at));
    let left = |at: u64| roughly(at.saturating_sub(now));
    let ends = [view.life.idle_at, view.kill_at].into_iter().flatten().min();
    context! {
        name => if notebook.name.is_first() { "Your first notebook" } else { notebook.name.as_str() },
        state => view.phase.as_str(),
        is_running => view.phase.is_active(),
        since => view.started.map(ago),
        idle => view.life.last_action.map(ago),
        is_busy => view.life.is_busy.unwrap_or_default(),
        ends => ends.map(left),
        reason => view.reason.clone(),
        url => view.url.clone(),
        stop => format!("{}-/stop", view.address),
        start => view.again.is_some().then(|| format!("{}-/start", view.address)),
    }
}

/// A span as one says it in passing: in its largest unit.
fn roughly(seconds: u64) -> String {
    match seconds {
        0..60 => in_words(seconds),
        60..3600 => in_words(seconds / 60 * 60),
        _ => in_words(seconds / 3600 * 3600),
    }
}

fn data(status: u16, body: &serde_json::Value) -> Response {
    let mut answer = Response::new(status, "application/json", body.to_string());
    answer.fields.push("Cache-Control", "no-store");
    answer
}
