//! The page of a launch that waits: it asks what is to become of it, or tells its place in line.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use minijinja::context;
use perijove_gateway::{Head, Response, ServiceRequest};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::{
    events, own,
    render::{self, error, not_here, render},
};
use crate::{
    audit::{self, Deed},
    core::Core,
    launch::{LaunchError, Launched, launch_pending},
    notebook::{Name, Notebook},
    pending::{Pending, Why},
    user::User,
};

/// Between two looks at the queue, when nothing changes.
const LOOK: Duration = Duration::from_secs(5);

pub(super) async fn answer(
    core: &Arc<Core>,
    request: &ServiceRequest,
    notebook: &Notebook,
    below: &str,
) -> Response {
    let (head, user) = (&request.head, &notebook.user);
    let (id, rest) = below.split_once('/').unwrap_or((below, ""));
    let Some(pending) = core.waiting.look(id, user) else { return gone(head) };
    match (head.method(), rest) {
        ("GET" | "HEAD", "") if pending.why == Why::TooMany => queue(core, head, id, user).await,
        ("GET" | "HEAD", "") => page(core, &pending, id),
        ("GET", "events") => follow(core, id, user),
        ("POST", "") => decide(core, request, id, user).await,
        _ => not_here(head),
    }
}

/// The address of a page of this kind.
pub(crate) fn address(core: &Core, user: &User, id: &str) -> String {
    let first = Notebook::first(user.clone());
    format!("{}-/ask/{id}", first.address(&core.plan.load()))
}

fn gone(head: &Head) -> Response {
    let message = render::Message {
        status: 404,
        title: "This launch is over",
        text: "It was decided before, or too long ago. Open the notebook from the site once more.",
        hint: "",
        back: Some(("/", "Go to the site")),
    };
    render::message(head, &message)
}

fn page(core: &Core, pending: &Pending, id: &str) -> Response {
    let plan = core.plan.load();
    let own = Notebook::first(pending.notebook.user.clone()).address(&plan);
    let server = core.server(&pending.notebook);
    let view = server.map(|server| server.view());
    let is_full = pending.why == Why::TooManyOfOne;
    let values = context! {
        title => if is_full { "You have as many notebooks as one may have" }
            else { "Another notebook is open" },
        why => match pending.why {
            Why::Busy => "It computes at the moment. To open what you have asked for in its place \
                          ends that, and with it all its variables; saved files stay.",
            Why::Elsewhere => "A link on another site asks for a notebook in its place. That ends \
                               the one you have, and with it all its variables; saved files stay.",
            Why::TooManyOfOne => "Stop one of them, then go on.",
            Why::TooMany => "",
        },
        is_full,
        rows => if is_full { own::rows(core, &pending.notebook.user) } else { Vec::new() },
        running => view.filter(|view| view.phase.is_active()).map(|view| view.url),
        beside => free_name(core, pending).as_str().to_owned(),
        action => format!("{own}-/ask/{id}"),
        list => format!("{own}-/"),
    };
    render(200, "ask.html", values, "")
}

/// What the user has chosen.
async fn decide(core: &Arc<Core>, request: &ServiceRequest, id: &str, user: &User) -> Response {
    let head = &request.head;
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let choice = body.split('&').find_map(|pair| pair.strip_prefix("choice="));
    let choice = choice.unwrap_or_default();
    if !matches!(choice, "replace" | "keep" | "beside") {
        return render::json(400, "`choice` must be replace, keep or beside", "");
    }
    let Some(mut pending) = core.waiting.take(id, user) else { return gone(head) };
    match choice {
        "keep" => {
            let server = core.server(&pending.notebook);
            let view = server.map(|server| server.view()).filter(|view| view.phase.is_active());
            let first = Notebook::first(user.clone());
            let list = || format!("{}-/", first.address(&core.plan.load()));
            return Response::redirect(303, &view.map_or_else(list, |view| view.url));
        }
        "beside" => {
            let name = free_name(core, &pending);
            let file = pending.launch.context.notebook_file(&name, &pending.launch.hash);
            pending.launch.opens = pending.path.clone().unwrap_or(file);
            pending.notebook = Notebook::new(user.clone(), name);
        }
        _ => {}
    }
    audit::note(Deed::Launch, &pending.notebook, own::from(&request.client), choice);
    match launch_pending(core, pending).await {
        Ok(launched) => Response::redirect(303, &launched.url),
        Err(failure) => error(head, 503, &failure),
    }
}

/// The name that the site has given, else the next number that is free.
fn free_name(core: &Core, pending: &Pending) -> Name {
    let is_free = |name: &Name| {
        let notebook = Notebook::new(pending.notebook.user.clone(), name.clone());
        *name != pending.notebook.name
            && core.server(&notebook).is_none_or(|server| !server.view().phase.is_active())
    };
    let numbers = (2..1000).filter_map(|number: u32| Name::new(&number.to_string()).ok());
    let mut names = pending.beside.clone().into_iter().chain(numbers);
    names.find(is_free).unwrap_or_default()
}

/// Launches whoever is first in line as soon as there is a seat.
async fn serve(core: &Arc<Core>, id: &str, user: &User) -> Option<Result<Launched, LaunchError>> {
    let pending = core.waiting.look(id, user)?;
    if core.waiting.before(id) != Some(0) {
        return None;
    }
    let seat = core.seat_of_queue(user).ok()?;
    core.waiting.take(id, user)?;
    let server = core.server_or_new(&pending.notebook);
    Some(server.launch_with(pending.launch, Some(seat)).await)
}

async fn queue(core: &Arc<Core>, head: &Head, id: &str, user: &User) -> Response {
    match serve(core, id, user).await {
        Some(Ok(launched)) => return Response::redirect(303, &launched.url),
        Some(Err(failure)) => return error(head, 503, &failure),
        None => {}
    }
    let nonce = render::nonce();
    let values = context! {
        title => "All places are taken",
        place => core.waiting.before(id).map(|before| before + 1),
        events => format!("{}/events", address(core, user, id)),
        nonce => nonce.as_str(),
    };
    render(200, "queue.html", values, &nonce)
}

/// Tells each change of the place in line, and where to go when it has come to its end.
fn follow(core: &Arc<Core>, id: &str, user: &User) -> Response {
    let (core_, id, user) = (core.clone(), id.to_owned(), user.clone());
    events::stream(core, move |sender| async move {
        let mut changes = core_.seat_changes();
        loop {
            let told = match serve(&core_, &id, &user).await {
                Some(Ok(launched)) => json!({"state": "starting", "url": launched.url}),
                Some(Err(_)) => json!({"state": "over"}),
                None => match core_.waiting.before(&id) {
                    Some(before) => json!({"state": "waiting", "place": before + 1}),
                    None => json!({"state": "over"}),
                },
            };
            let is_over = told.get("state").and_then(Value::as_str) != Some("waiting");
            if send(&sender, &told).await.is_none() || is_over {
                return;
            }
            timeout(LOOK, changes.changed()).await.ok();
        }
    })
}

async fn send(sender: &mpsc::Sender<Bytes>, data: &Value) -> Option<()> {
    sender.send(format!("event: state\ndata: {data}\n\n").into()).await.ok()
}
