//! The path of every request, on one screen.
//!
//! ```text
//! fields of our own dropped → route → guard → body limited → target → fields of our own dropped
//! ```

mod documents;

use std::{pin::Pin, sync::Arc, time::Duration};

use crate::{
    Ancestors, Body, Client, Head, Pass, Question, Request, Response, Route, Service,
    ServiceRequest, Target, Tunnel, Verdict, body, clock, connection::Door, error::Fault,
    note::Note, private::keep_private, proxy, routes::Found,
};

/// A body that a service reads is no longer than this.
const SERVICE_BODY: u64 = 1 << 20;

/// The answer, or the work that makes it.
pub(crate) enum Handling {
    Ready(Made),
    Waiting(Work),
}

pub(crate) type Made = Result<Answer, Fault>;
pub(crate) type Work = Pin<Box<dyn Future<Output = Made> + Send>>;

pub(crate) enum Answer {
    Response(Response),
    Upgrade(Box<Upgrade>),
}

/// A connection that is to be joined to an upstream, and what is needed to ask the guard again.
pub(crate) struct Upgrade {
    /// Of status 101, without a body.
    pub(crate) answer: Response,
    pub(crate) tunnel: Box<Tunnel>,
    pub(crate) route: Arc<Route>,
    pub(crate) head: Head,
    pub(crate) client: Client,
    pub(crate) ask_again: Option<Duration>,
}

/// Answers a request. What needs no waiting is answered at once, without an allocation.
pub(crate) fn handle(door: &Arc<Door>, mut request: Request, note: &mut Note) -> Handling {
    if let Err(fault) = drop_our_fields(&mut request) {
        return Handling::Ready(Err(fault));
    }
    let route = match find(door, &request) {
        Ok(route) => route,
        Err(fault) => return Handling::Ready(Err(fault)),
    };
    note.belongs_to(&route);
    if route.guard.is_none()
        && let Some(made) = at_once(&route, &request)
        && (made.is_ok() || !changes_errors(&route))
    {
        record(&route, &request.head);
        let finished = |mut made| {
            if let Some(finish) = &route.finish {
                finish.polish(&mut made, &request.head);
            }
            Answer::Response(made)
        };
        return Handling::Ready(made.map(finished));
    }
    Handling::Waiting(if changes_errors(&route) {
        Box::pin(documents::answer_with_documents(door.clone(), route, request))
    } else {
        Box::pin(answer(door.clone(), route, request))
    })
}

fn changes_errors(route: &Route) -> bool {
    route.finish.as_ref().is_some_and(|finish| finish.is_for_errors())
}

async fn answer(door: Arc<Door>, route: Arc<Route>, mut request: Request) -> Made {
    let has_tried_files = route.guard.is_none();
    let ancestors = route.ancestors.clone();
    let (route, pass) = match admit(&door, route, &mut request).await? {
        Admission::Granted(route, pass) => (route, pass),
        Admission::Refused(answer) => return Ok(Answer::Response(framed(*answer, ancestors))),
    };
    if !pass.proven.is_empty() {
        request.client.learn(&pass.proven);
    }
    record(&route, &request.head);
    request.body = body::limited(request.body, route.limits.body)?;
    let (head, client) = (request.head.clone(), request.client.clone());
    let answer = match &route.target {
        Target::Files(files) => files.serve(&request).ok_or_else(nothing_here)?,
        Target::Proxy { files, upstreams } => {
            let files = if has_tried_files { &[] } else { &**files };
            if let Some(answer) = files.iter().find_map(|files| files.serve(&request)) {
                answer
            } else {
                if let Some(spooling) = &route.spooling
                    && spooling.is_for(&request.body)
                    && !upstreams.takes_streams()
                {
                    request.body = Box::pin(spooling.receive(request.body)).await?;
                }
                if let Some(relocation) = &route.rewrite.relocation {
                    request.head = relocation.outward(&request.head)?;
                }
                proxy::forward(upstreams, request, &route).await?
            }
        }
        Target::Service(service) => call(&**service, request, &route, &pass).await?,
        Target::Redirect { status, location } => Response::redirect(*status, location),
        Target::Moved(moved) => moved.answer(&head),
    };
    let mut answer = framed(answer, ancestors);
    if let Some(relocation) = &route.rewrite.relocation {
        relocation.inward(&mut answer.fields, &client.host);
    }
    if route.guard.is_some() {
        keep_private(&mut answer.fields);
    }
    answer.fields.extend(&pass.fields);
    if let Some(finish) = &route.finish
        && !finish.is_for_errors()
    {
        answer = finish.apply(answer, &head)?;
    }
    Ok(match std::mem::take(&mut answer.body) {
        Body::Tunnel(tunnel) => {
            let ask_again = pass.ask_again;
            Answer::Upgrade(Box::new(Upgrade { answer, tunnel, route, head, client, ask_again }))
        }
        body => Answer::Response(Response { body, ..answer }),
    })
}

/// What a guard made of a request.
enum Admission {
    Granted(Arc<Route>, Pass),
    Refused(Box<Response>),
}

/// Asks the guard, which may send the request to another route, once.
async fn admit(
    door: &Door,
    mut route: Arc<Route>,
    request: &mut Request,
) -> Result<Admission, Fault> {
    let mut has_moved = false;
    loop {
        let Some(guard) = &route.guard else {
            return Ok(Admission::Granted(route, Pass::default()));
        };
        let question = Question { head: &request.head, client: &request.client, is_open: false };
        match guard.check(question).await {
            Verdict::Pass(pass) => return Ok(Admission::Granted(route, pass)),
            Verdict::Refuse(answer) => return Ok(Admission::Refused(answer)),
            Verdict::Deny(denial) => return Err((*denial).into()),
            Verdict::Reroute(_) if has_moved => {
                return Err(Fault::ours(500, "a request was sent to another route twice"));
            }
            Verdict::Reroute(target) => {
                has_moved = true;
                request.head = rewritten(&request.head, &target)?;
                route = find(door, request)?;
            }
        }
    }
}

fn find(door: &Door, request: &Request) -> Result<Arc<Route>, Fault> {
    if matches!(request.head.method(), "CONNECT" | "TRACE") {
        return Err(Fault::client(405, "this method is not served"));
    }
    match door.routes.find(&request.client.host, request.head.path()) {
        Found::Route(route) => Ok(route),
        Found::Nothing => Err(nothing_here()),
        Found::Misdirected => Err(Fault::client(421, "this host is not served here")),
        Found::Ambiguous => Err(Fault::client(400, "the path can be read in more than one way")),
    }
}

fn nothing_here() -> Fault {
    Fault::client(404, "there is nothing at this address")
}

/// The answer of a target that never waits; `None` when there is a need to.
fn at_once(route: &Route, request: &Request) -> Option<Result<Response, Fault>> {
    match &route.target {
        Target::Files(files) => Some(files.serve(request).ok_or_else(nothing_here)),
        Target::Proxy { files, .. } => files.iter().find_map(|files| files.serve(request)).map(Ok),
        Target::Service(_) => None,
        Target::Redirect { status, location } => Some(Ok(Response::redirect(*status, location))),
        Target::Moved(moved) => Some(Ok(moved.answer(&request.head))),
    }
}

async fn call(
    service: &dyn Service,
    request: Request,
    route: &Route,
    pass: &Pass,
) -> Result<Response, Fault> {
    let body = body::whole(request.body, route.limits.body.min(SERVICE_BODY)).await?;
    let (head, client) = (request.head, request.client);
    let subject = pass.subject.clone();
    Ok(service.call(ServiceRequest { head, body, client, subject }).await)
}

fn record(route: &Route, head: &Head) {
    route.activity.record_request();
    if !matches!(head.method(), "GET" | "HEAD" | "OPTIONS") {
        route.activity.record_action(clock::unix_seconds());
    }
}

/// `Perijove-…` is between the parts of this program: nobody outside says it, or hears it.
fn drop_our_fields(request: &mut Request) -> Result<(), Fault> {
    if request.head.fields().any(|(name, _)| is_ours(name)) {
        request.head = rewritten(&request.head, request.head.target())?;
    }
    Ok(())
}

/// Without fields of our own, and with what is said about frames.
fn framed(answer: Response, ancestors: Option<Arc<Ancestors>>) -> Response {
    let mut answer = clean(answer);
    if let Some(ancestors) = ancestors.filter(|_| !matches!(answer.body, Body::Tunnel(_))) {
        ancestors.apply(&mut answer.fields);
    }
    answer
}

fn clean(mut answer: Response) -> Response {
    answer.fields.retain(|name, _| !is_ours(name));
    answer
}

/// Whether a name begins with `Perijove-`, where `_` is taken for `-` as WSGI does.
fn is_ours(name: &[u8]) -> bool {
    let Some((start, [b'-' | b'_', ..])) = name.split_at_checked(8) else { return false };
    start.eq_ignore_ascii_case(b"perijove")
}

/// The same head with another target, without fields of ours.
fn rewritten(head: &Head, target: &[u8]) -> Result<Head, Fault> {
    let fields: Vec<_> = head.fields().filter(|(name, _)| !is_ours(name)).collect();
    Ok(Head::from_parts(head.method(), target, &fields)?.with_version(head.version()))
}
