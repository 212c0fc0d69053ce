//! The hub's own addresses below `-/` of the path of notebooks, which belong to no user: signing in
//! and out, tickets; and what else there is on the domain of notebooks.

use std::{pin::Pin, sync::Arc};

use perijove_gateway::{Response, Service, ServiceRequest};

use crate::{
    audit::{self, Deed},
    authority::Asked,
    config::Plan,
    core::Core,
    guard::Side,
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
    side: Side,
}

impl Entrance {
    pub(crate) fn new(
        core: Arc<Core>,
        login: Option<Arc<Login>>,
        tickets: Option<Tickets>,
        side: Side,
    ) -> Self {
        Self { core, login, tickets, side }
    }

    async fn answer(&self, request: ServiceRequest) -> Response {
        let plan = self.core.plan.load_full();
        let head = &request.head;
        let path = String::from_utf8_lossy(head.path()).into_owned();
        if path == "/"
            && let Some(to) = self.root_leads_to(&request, &plan)
        {
            return Response::redirect(302, &to);
        }
        let below = path.strip_prefix(plan.path.as_str()).unwrap_or_default();
        if let Some(tickets) = &self.tickets {
            match (below, head.method()) {
                ("-/ticket", "GET") => return take(tickets, &request, &plan.path).await,
                ("-/logout", "POST") => return leave(tickets, &request).await,
                _ => {}
            }
        }
        match (below, head.method(), &self.login) {
            ("-/login", "GET" | "HEAD", Some(login)) => {
                leading_on(form_of(login, &request, &plan.path), &plan)
            }
            ("-/login", "POST", Some(login)) => {
                leading_on(sign_in(login, &request, &plan).await, &plan)
            }
            ("-/logout", "GET" | "HEAD", Some(_)) => Response::redirect(303, &address(&plan.path)),
            ("-/logout", "POST", Some(login)) => sign_out(login, &request, &plan).await,
            _ => pages::not_here(head),
        }
    }
}

impl Entrance {
    /// Where the root leads: on the domain of notebooks to the site, as far as it is known where that
    /// is; to notebooks where there is nothing else.
    fn root_leads_to(&self, request: &ServiceRequest, plan: &Plan) -> Option<String> {
        if self.side == Side::Domain {
            let tickets = self.tickets.as_ref()?;
            let site = tickets.origin_of_site(&asked(request)).map(|site| format!("{site}/"));
            return Some(site.unwrap_or_else(|| plan.path.clone()));
        }
        (plan.is_alone && (self.login.is_some() || self.tickets.is_some()))
            .then(|| plan.path.clone())
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

fn towards<'a>(request: &'a ServiceRequest, plan: &'a Plan) -> Towards<'a> {
    Towards { client: &request.client, path: &plan.path, is_framed: plan.is_framed() }
}

/// Where a form leads to in the end counts, too, for what a page's policy says about forms.
fn leading_on(mut answer: Response, plan: &Plan) -> Response {
    const POLICY: &str = "Content-Security-Policy";
    let policy =
        answer.fields.get(POLICY).map(|policy| String::from_utf8_lossy(policy).into_owned());
    if let (Some(domain), Some(policy)) = (&plan.domain, policy) {
        let forms = format!("form-action 'self' {}", domain.origins());
        answer.fields.set(POLICY, policy.replace("form-action 'self'", &forms));
    }
    answer
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

async fn sign_in(login: &Login, request: &ServiceRequest, plan: &Plan) -> Response {
    let path = plan.path.as_str();
    let form = Form::read(&request.body);
    let (name, next) = (form.get("name"), own_path(path, form.get("next")));
    let password = Password::new(form.get("password"));
    match login.attempt(towards(request, plan), name, password).await {
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
    let (head, client) = (&request.head, &request.client);
    let query = Form::read(head.query().unwrap_or_default());
    let mut begun = None;
    if let Some(taken) = tickets.redeem(query.get("ticket"), &client.host).await {
        let to = own_path(path, &taken.to).to_owned();
        let cookie = tickets.begin(taken, &asked(request)).await;
        begun = cookie.map(|cookie| {
            let mut answer = Response::redirect(303, &to);
            answer.fields.push("Set-Cookie", cookie);
            answer
        });
    }
    let mut answer = begun.unwrap_or_else(|| {
        audit::note(Deed::Refusal, "-/ticket", pages::from(client), "no ticket that is good");
        pages::open_from_site(head, None)
    });
    answer.fields.set("Cache-Control", "no-store");
    answer.fields.set("Referrer-Policy", "no-referrer");
    answer
}

/// Ends a visit.
async fn leave(tickets: &Tickets, request: &ServiceRequest) -> Response {
    let cookie = tickets.end(&asked(request)).await;
    let mut answer = pages::signed_out(&request.head);
    answer.fields.push("Set-Cookie", cookie);
    answer
}

async fn sign_out(login: &Arc<Login>, request: &ServiceRequest, plan: &Plan) -> Response {
    let cookie = login.end(asked(request), towards(request, plan)).await;
    let mut answer = Response::redirect(303, &address(&plan.path));
    answer.fields.push("Set-Cookie", cookie);
    // What pages have kept in the browser is the user's own.
    answer.fields.push("Cache-Control", "no-store");
    answer
}
