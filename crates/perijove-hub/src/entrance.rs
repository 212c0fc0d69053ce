//! The hub's own addresses below `-/` of the path of notebooks, which belong to no user: signing in
//! and out, tickets.

use std::{pin::Pin, sync::Arc};

use perijove_gateway::{Response, Service, ServiceRequest};

use crate::{
    authority::Asked,
    core::Core,
    login::{Attempt, Login},
    pages,
    register::Password,
    session::Towards,
    ticket::Tickets,
};

mod form;

pub(crate) use form::{Form, own_path};

/// Answers at those addresses.
#[derive(Debug)]
pub(crate) struct Entrance {
    core: Arc<Core>,
    login: Option<Arc<Login>>,
    tickets: Option<Tickets>,
}

impl Entrance {
    pub(crate) fn new(
        core: Arc<Core>,
        login: Option<Arc<Login>>,
        tickets: Option<Tickets>,
    ) -> Self {
        Self { core, login, tickets }
    }

    async fn answer(&self, request: ServiceRequest) -> Response {
        let plan = self.core.plan.load_full();
        let head = &request.head;
        let path = String::from_utf8_lossy(head.path()).into_owned();
        if plan.is_alone && path == "/" {
            return Response::redirect(302, &plan.path);
        }
        let below = path.strip_prefix(plan.path.as_str()).unwrap_or_default();
        if let ("-/ticket", "GET", Some(tickets)) = (below, head.method(), &self.tickets) {
            return take(tickets, &request, &plan.path).await;
        }
        match (below, head.method(), &self.login) {
            ("-/login", "GET" | "HEAD", Some(login)) => form_of(login, &request, &plan.path),
            ("-/login", "POST", Some(login)) => sign_in(login, &request, &plan.path).await,
            ("-/logout", "GET" | "HEAD", Some(_)) => Response::redirect(303, &address(&plan.path)),
            ("-/logout", "POST", Some(login)) => sign_out(login, &request, &plan.path).await,
            _ => pages::not_here(head),
        }
    }
}

impl Service for Entrance {
    fn call(&self, request: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        Box::pin(self.answer(request))
    }
}

fn address(path: &str) -> String {
    format!("{path}-/login")
}

fn asked(request: &ServiceRequest) -> Asked<'_> {
    Asked { head: &request.head, client: &request.client, owner: "", is_open: false }
}

fn towards<'a>(request: &'a ServiceRequest, path: &'a str) -> Towards<'a> {
    Towards { client: &request.client, path, is_framed: false }
}

/// The form; whoever is signed in is told so, and can sign out.
fn form_of(login: &Login, request: &ServiceRequest, path: &str) -> Response {
    let query = Form::read(request.head.query().unwrap_or_default());
    let next = own_path(path, query.get("next"));
    match login.session(&asked(request)) {
        Some(session) => pages::signed_in(path, session.user.name(), next),
        None => pages::login(200, path, next, "", ""),
    }
}

async fn sign_in(login: &Login, request: &ServiceRequest, path: &str) -> Response {
    let form = Form::read(&request.body);
    let (name, next) = (form.get("name"), own_path(path, form.get("next")));
    let password = Password::new(form.get("password"));
    match login.attempt(towards(request, path), name, password).await {
        Attempt::In(cookie) => {
            let mut answer = Response::redirect(303, next);
            answer.fields.push("Set-Cookie", cookie);
            answer.fields.push("Cache-Control", "no-store");
            answer
        }
        Attempt::No => {
            let problem = "That name and that password do not belong together.";
            pages::login(403, path, next, name, problem)
        }
        Attempt::Later(wait) => {
            let problem = "There were too many attempts. Wait a moment, then try again.";
            let mut answer = pages::login(429, path, next, name, problem);
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            answer.fields.push("Retry-After", seconds.to_string());
            answer
        }
        Attempt::Busy => {
            let problem = "Many people are signing in at this moment. Try again.";
            let mut answer = pages::login(503, path, next, name, problem);
            answer.fields.push("Retry-After", "5");
            answer
        }
    }
}

/// Takes a ticket, and leads on to where it is for: an address without it.
async fn take(tickets: &Tickets, request: &ServiceRequest, path: &str) -> Response {
    let query = Form::read(request.head.query().unwrap_or_default());
    let taken = tickets.redeem(query.get("ticket")).await;
    let begun = taken.and_then(|taken| {
        let cookie = tickets.begin(taken.user, towards(request, path))?;
        let mut answer = Response::redirect(303, own_path(path, &taken.to));
        answer.fields.push("Set-Cookie", cookie);
        Some(answer)
    });
    let mut answer = begun.unwrap_or_else(|| pages::open_from_site(&request.head));
    answer.fields.set("Cache-Control", "no-store");
    answer.fields.set("Referrer-Policy", "no-referrer");
    answer
}

async fn sign_out(login: &Arc<Login>, request: &ServiceRequest, path: &str) -> Response {
    let cookie = login.end(asked(request), towards(request, path)).await;
    let mut answer = Response::redirect(303, &address(path));
    answer.fields.push("Set-Cookie", cookie);
    // What pages have kept in the browser is the user's own.
    answer.fields.push("Cache-Control", "no-store");
    answer
}
