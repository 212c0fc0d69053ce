//! Each page, for a person as HTML and for a program as JSON.

use std::{error::Error, sync::LazyLock};

use minijinja::{Environment, Value, context};
use perijove_gateway::{Head, Response};

use crate::{
    launch::said,
    phase::Phase,
    server::View,
    user::{encode_path, hex},
};

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.add_filter("capitalize_first", capitalize_first);
    for (name, source) in [
        ("base.html", include_str!("../templates/base.html")),
        ("ask.html", include_str!("../templates/ask.html")),
        ("queue.html", include_str!("../templates/queue.html")),
        ("absent.html", include_str!("../templates/absent.html")),
        ("login.html", include_str!("../templates/login.html")),
        ("signed_in.html", include_str!("../templates/signed_in.html")),
        ("end.html", include_str!("../templates/end.html")),
        ("failed.html", include_str!("../templates/failed.html")),
        ("list.html", include_str!("../templates/list.html")),
        ("message.html", include_str!("../templates/message.html")),
        ("progress.html", include_str!("../templates/progress.html")),
    ] {
        if let Err(error) = environment.add_template(name, source) {
            tracing::error!(name, %error, "a template is broken");
        }
    }
    environment
});

/// A page that says one thing.
pub(super) struct Message<'a> {
    pub(super) status: u16,
    pub(super) title: &'a str,
    pub(super) text: &'a str,
    pub(super) hint: &'a str,
    pub(super) back: Option<(&'a str, &'a str)>,
}

/// Somebody else's notebook: word for word the same whether that user exists or not, runs a
/// notebook or not.
pub(crate) fn not_yours(head: &Head) -> Response {
    message(
        head,
        &Message {
            status: 403,
            title: "This notebook is not yours",
            text: "You are signed in as somebody who may not open what lies here.",
            hint: "",
            back: Some(("/", "Go to the site")),
        },
    )
}

/// Nobody is signed in: a person is led to the form and back to `next`, a program is told.
pub(crate) fn sign_in_first(head: &Head, path: &str, next: Option<&[u8]>) -> Response {
    let Some(next) = next.filter(|_| wants_page(head)) else {
        return json(401, "sign in first", "open the page of notebooks in a browser");
    };
    let next = query_value(next);
    let mut answer = Response::redirect(303, &format!("{path}-/login?next={next}"));
    answer.fields.push("Cache-Control", "no-store");
    answer
}

/// No ticket, or one that is good no longer: the site gives another, perhaps at an address that is known.
pub(crate) fn open_from_site(head: &Head, there: Option<String>) -> Response {
    message(
        head,
        &Message {
            status: 401,
            title: "Open it from the site",
            text: "Notebooks are opened by a click on the site, which is good for a minute and once.",
            hint: "Go back to the site and click there again.",
            back: there.as_deref().map(|there| (there, "Go on from the site")),
        },
    )
}

/// The form to sign in by, with what went wrong the last time.
pub(crate) fn login(status: u16, path: &str, next: &str, name: &str, problem: &str) -> Response {
    let action = format!("{path}-/login");
    render(status, "login.html", context! { title => "Sign in", action, next, name, problem }, "")
}

/// Whoever comes to the form is signed in already.
pub(crate) fn signed_in(path: &str, name: &str, next: &str) -> Response {
    let action = format!("{path}-/logout");
    render(200, "signed_in.html", context! { title => "Signed in", action, next, name }, "")
}

/// The site gives no answer.
pub(crate) fn no_word(head: &Head) -> Response {
    let mut answer = message(
        head,
        &Message {
            status: 503,
            title: "One moment",
            text: "The site does not say yet who may pass here.",
            hint: "Try again in a few seconds.",
            back: None,
        },
    );
    answer.fields.push("Retry-After", "2");
    answer
}

/// Plain HTTP from beyond this machine.
pub(crate) fn in_the_clear(head: &Head) -> Response {
    message(
        head,
        &Message {
            status: 403,
            title: "Notebooks need HTTPS",
            text: "What is typed here runs as code, so it does not travel in the clear.",
            hint: "Open the site by https. On a network that is safe, `insecure = true` in the table \
               [notebook] of perijove.toml lifts this.",
            back: None,
        },
    )
}

/// A network that is not among those whose clients may come.
pub(crate) fn not_from_here(head: &Head) -> Response {
    message(
        head,
        &Message {
            status: 403,
            title: "Not from this network",
            text: "Notebooks can be opened from some networks only, and this is none of them.",
            hint: "`allow-from` in the table [notebook] of perijove.toml names them.",
            back: None,
        },
    )
}

/// A proxy has taken a websocket's handshake apart.
pub(crate) fn stripped(head: &Head, missing: &str, hint: &str) -> Response {
    let text = format!(
        "This websocket came without {missing}: a proxy in front of perijove takes that away, and \
         without it no kernel can be reached."
    );
    let title = "A proxy takes websockets apart";
    message(head, &Message { status: 400, title, text: &text, hint, back: None })
}

/// Whoever comes sends more than is kept of a visitor.
pub(crate) fn too_much_told(head: &Head) -> Response {
    let text = "The site has set more cookies than can be carried over to the notebook's address.";
    let hint = "Clear the cookies of the site, then sign in again.";
    let title = "Too many cookies";
    message(head, &Message { status: 431, title, text, hint, back: None })
}

/// Signed out, on the domain of notebooks.
pub(crate) fn signed_out(head: &Head) -> Response {
    let hint = "What runs goes on. To come back, open it from the site.";
    let text = "This browser can open no notebook here any more.";
    message(head, &Message { status: 200, title: "Signed out", text, hint, back: None })
}

/// Asked for at the site's own address, by something that cannot be led on.
pub(crate) fn elsewhere(head: &Head, domain: &str) -> Response {
    let text = format!("Notebooks are not at this address. They are at {domain}.");
    let hint = "Open them from the site in a browser.";
    message(head, &Message { status: 404, title: "Nothing here", text: &text, hint, back: None })
}

/// Plain HTTP on this machine, but under a name that may be anybody's.
pub(crate) fn not_by_that_name(head: &Head, port: u16) -> Response {
    let hint = format!(
        "Open http://localhost:{port} or the site by https. A proxy in front must be among the \
         `trusted-proxies` of perijove.toml."
    );
    message(
        head,
        &Message {
            status: 403,
            title: "Not by that name",
            text: "By plain HTTP, notebooks are for this machine alone, under its own name.",
            hint: &hint,
            back: None,
        },
    )
}

/// A request that another site has caused.
pub(crate) fn foreign(head: &Head, reason: &str) -> Response {
    message(
        head,
        &Message {
            status: 403,
            title: "Not from there",
            text: "This request comes from another site than this one.",
            hint: reason,
            back: None,
        },
    )
}

/// A change that is asked for where there is nothing to be changed.
pub(crate) fn not_here(head: &Head) -> Response {
    message(
        head,
        &Message {
            status: 404,
            title: "Nothing here",
            text: "There is nothing at this address.",
            hint: "",
            back: Some(("/", "Go to the site")),
        },
    )
}

pub(super) fn too_many(head: &Head) -> Response {
    let mut answer = message(
        head,
        &Message {
            status: 503,
            title: "Too many notebooks are running",
            text: "Each place is taken. Try again when somebody has shut theirs down.",
            hint: "",
            back: Some(("/", "Go to the site")),
        },
    );
    answer.fields.push("Retry-After", "30");
    answer
}

/// A launch that failed for a reason of ours.
pub(super) fn error(head: &Head, status: u16, error: &dyn Error) -> Response {
    let text = format!("{}.", capitalize_first(&said(error)));
    let title = "Your notebook cannot be started now";
    message(head, &Message { status, title, text: &text, hint: "", back: None })
}

/// A notebook that starts, or stops to start anew. `is_front` when the visitor is to be led on to
/// what the launch opens, else to the same address again.
pub(super) fn progress(head: &Head, view: &View, is_front: bool) -> Response {
    let (title, text) = match view.phase {
        Phase::Stopping => ("Your notebook is stopping", "the notebook is stopping"),
        _ => ("Your notebook is starting", "the notebook is starting"),
    };
    let mut answer = if wants_page(head) {
        let nonce = nonce();
        let values = context! {
            title, is_front,
            nonce => nonce.as_str(),
            events => format!("{}-/progress", view.address),
        };
        render(200, "progress.html", values, &nonce)
    } else {
        json(503, text, "try again in a moment")
    };
    answer.fields.push("Retry-After", "1");
    answer
}

pub(super) fn absent(head: &Head, view: Option<&View>) -> Response {
    if !wants_page(head) {
        // A page of JupyterLab that is still open takes 404 to mean that its folder was removed, and
        // asks again at once, for ever; of 424, which JupyterHub has for this, it makes nothing.
        let was_there = view.is_some_and(|view| view.hash.is_some());
        let status = if was_there { 424 } else { 404 };
        return json(status, "the notebook is not running", "open it from the site");
    }
    let start = view.filter(|view| view.again.is_some());
    let values = context! {
        title => "Your notebook is not running",
        reason => view.and_then(|view| view.reason.clone()),
        lines => view.map(|view| view.last_lines.join("\n")),
        start => start.map(|view| format!("{}-/start", view.address)),
        comes_back => view.is_some_and(|view| view.comes_back),
    };
    render(404, "absent.html", values, "")
}

/// A user who never had this notebook, and may start it.
pub(super) fn absent_yet(head: &Head, address: &str) -> Response {
    if !wants_page(head) {
        return json(404, "the notebook is not running", "start it by its page");
    }
    let values = context! {
        title => "Your notebook",
        is_first => true,
        start => format!("{address}-/start"),
    };
    render(200, "absent.html", values, "")
}

pub(super) fn failed(head: &Head, view: &View) -> Response {
    let reason = view.reason.clone().unwrap_or_default();
    if !wants_page(head) {
        return json(502, &format!("the notebook did not start: {reason}"), "");
    }
    let values = context! {
        title => "Your notebook did not start",
        reason,
        lines => view.last_lines.join("\n"),
        start => format!("{}-/start", view.address),
    };
    render(502, "failed.html", values, "")
}

pub(super) fn message(head: &Head, message: &Message<'_>) -> Response {
    if !wants_page(head) {
        return json(message.status, message.text, message.hint);
    }
    let values = context! {
        title => message.title,
        text => message.text,
        hint => message.hint,
        back => message.back.map(|back| back.0),
        back_text => message.back.map(|back| back.1),
    };
    render(message.status, "message.html", values, "")
}

/// Whether the client would rather see a page than data.
pub(crate) fn wants_page(head: &Head) -> bool {
    head.get("accept").is_some_and(|accept| {
        let accept = String::from_utf8_lossy(accept).to_ascii_lowercase();
        accept.split(',').any(|kind| kind.trim().starts_with("text/html"))
    })
}

pub(super) fn json(status: u16, error: &str, hint: &str) -> Response {
    // Jupyter's own pages look for `message`.
    let body = serde_json::json!({"error": error, "message": error, "hint": hint});
    let mut answer = Response::new(status, "application/json", body.to_string());
    answer.fields.push("Cache-Control", "no-store");
    answer
}

pub(super) fn render(status: u16, name: &str, values: Value, nonce: &str) -> Response {
    let rendered = TEMPLATES.get_template(name).and_then(|template| template.render(values));
    let text = rendered.unwrap_or_else(|error| {
        tracing::error!(name, %error, "a page could not be made");
        "This page could not be made.".to_owned()
    });
    let mut answer = Response::new(status, "text/html; charset=utf-8", text);
    let script =
        if nonce.is_empty() { String::new() } else { format!("script-src 'nonce-{nonce}'; ") };
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; {script}connect-src 'self'; \
         form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
    );
    answer.fields.push("Content-Security-Policy", policy);
    answer.fields.push("Cache-Control", "no-store");
    answer.fields.push("Referrer-Policy", "same-origin");
    answer.fields.push("X-Content-Type-Options", "nosniff");
    answer
}

/// A target as the value of a query: escapes stay readable by being escaped once more.
fn query_value(target: &[u8]) -> String {
    encode_path(&String::from_utf8_lossy(target))
}

pub(super) fn nonce() -> String {
    let mut bytes = [0; 16];
    // Without randomness the page works by its refresh only: the policy then names no script.
    if getrandom::fill(&mut bytes).is_err() {
        return String::new();
    }
    hex(&bytes)
}

fn capitalize_first(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}
