//! May this request pass to a notebook? Its spelling, where it comes from, whose it is.
//!
//! A notebook server's own checks of Origin and XSRF are off, so these are the only ones.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use perijove_gateway::{Client, Guard, Head, Pass, Question, Response, Scheme, Verdict, contains};

use crate::{
    audit::{self, Deed},
    authority::{Asked, Authenticator, Word},
    config::Plan,
    core::Core,
    origin::{Origin, is_this_machine},
    pages,
    user::User,
};

mod address;
mod fetch;
mod stripped;

use address::{Address, read_address};
use fetch::{Fetch, judge};

/// Guards all that lies below the path of notebooks.
#[derive(Debug)]
pub(crate) struct Door {
    core: Arc<Core>,
    authenticator: Arc<dyn Authenticator>,
    side: Side,
}

/// At which addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Those of the site, or all that there are.
    Site,
    /// Those of the domain that notebooks have to themselves.
    Domain,
}

/// Guards the hub's own addresses that belong to no user: only where a request comes from counts.
#[derive(Debug)]
pub(crate) struct Threshold {
    core: Arc<Core>,
    side: Side,
}

impl Threshold {
    pub(crate) fn new(core: Arc<Core>, side: Side) -> Self {
        Self { core, side }
    }
}

impl Guard for Threshold {
    fn check<'a>(
        &'a self,
        question: Question<'a>,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        let Question { head, client, .. } = question;
        let plan = self.core.plan.load();
        let manners = check_place(&plan, question)
            .and_then(|()| check_manners(&plan, question, self.side))
            .map_err(|refusal| refusal.noted(head, client));
        let verdict = manners.map_or_else(refuse, |()| Verdict::Pass(Pass::default()));
        Box::pin(std::future::ready(verdict))
    }
}

impl Door {
    pub(crate) fn new(core: Arc<Core>, authenticator: Arc<dyn Authenticator>, side: Side) -> Self {
        Self { core, authenticator, side }
    }

    async fn verdict(&self, question: Question<'_>) -> Verdict {
        let Question { head, client, is_open } = question;
        let plan = self.core.plan.load_full();
        let address = read_address(&plan, head);
        if let Err(refusal) = check_place(&plan, question) {
            return refuse(refusal.noted(head, client));
        }
        if !is_open {
            if let Some(target) = &address.respelled {
                return respell(head, target);
            }
            if let Err(refusal) = check_manners(&plan, question, self.side) {
                return refuse(refusal.noted(head, client));
            }
            if let Some(missing) = stripped::missing(head) {
                return refuse(stripped::tell(head, client, &missing));
            }
        }
        let owner = address.owner_in(&plan);
        let asked = Asked { head, client, owner: &owner, is_open };
        match self.authenticator.ask(asked).await {
            Word::Yes(yes)
                if address.admits(&yes.user) && self.is_host_of(&plan, &yes.user, client) =>
            {
                Verdict::Pass(Pass {
                    subject: Some(yes.user.name().into()),
                    fields: yes.cookies,
                    proven: Vec::new(),
                    ask_again: Some(yes.ask_again),
                })
            }
            Word::Yes(_) | Word::Nobody => {
                note(head, client, "somebody else's");
                refuse(pages::not_yours(head))
            }
            Word::No(answer) => {
                if matches!(answer.status, 401 | 403) {
                    note(head, client, "not let in");
                }
                refuse(answer)
            }
            Word::Silence => refuse(pages::no_word(head)),
        }
    }
}

impl Door {
    /// Whether the host is that of a user, where each has one.
    fn is_host_of(&self, plan: &Plan, user: &User, client: &Client) -> bool {
        match &plan.domain {
            Some(domain) if self.side == Side::Domain => domain.is_host_of(user, &client.host),
            _ => true,
        }
    }
}

impl Guard for Door {
    fn check<'a>(
        &'a self,
        question: Question<'a>,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        Box::pin(self.verdict(question))
    }
}

impl Address {
    /// The owner's name as it stands in addresses; empty where there is none.
    fn owner_in(&self, plan: &Plan) -> String {
        match &self.owner {
            address::Owner::User(owner) => owner.canonical(&plan.site_paths),
            address::Owner::Asker | address::Owner::Nobody => String::new(),
        }
    }

    /// Whether this is the one user who may pass: the owner, or anybody where the path names
    /// nobody and leads to the asker's own.
    fn admits(&self, user: &User) -> bool {
        match &self.owner {
            address::Owner::Asker => true,
            address::Owner::User(owner) => owner == user,
            address::Owner::Nobody => false,
        }
    }
}

fn note(head: &Head, client: &Client, why: &str) {
    let path = String::from_utf8_lossy(head.path()).into_owned();
    let from = client.address.map(|address| address.to_string()).unwrap_or_default();
    audit::note(Deed::Refusal, path, from, why);
}

fn refuse(answer: Response) -> Verdict {
    Verdict::Refuse(Box::new(answer))
}

/// A page is told its right address; whatever a redirect would not serve (a body, a websocket) or
/// would repeat (a secret in the query) is sent on without a word.
fn respell(head: &Head, target: &address::Respelled) -> Verdict {
    let is_page = matches!(head.method(), "GET" | "HEAD") && head.get("upgrade").is_none();
    if is_page && target.is_path_changed {
        return refuse(Response::redirect(308, &target.target));
    }
    Verdict::Reroute(Bytes::copy_from_slice(target.target.as_bytes()))
}

/// Whether a host is that of an origin in the configuration.
fn is_listed(plan: &Plan, host: &str) -> bool {
    let origins = ["http", "https"].map(|scheme| Origin::new(scheme, host));
    origins.iter().flatten().any(|origin| plan.allow_origin.contains(&origin.to_string()))
}

/// An answer instead, and why.
struct Refusal {
    why: &'static str,
    answer: Box<Response>,
}

impl Refusal {
    fn noted(self, head: &Head, client: &Client) -> Response {
        note(head, client, self.why);
        *self.answer
    }
}

/// Whether the client's network may come, and the bytes are safe on their way.
fn check_place(plan: &Plan, question: Question<'_>) -> Result<(), Refusal> {
    let Question { head, client, .. } = question;
    let is_within = |networks: &[_]| client.address.is_some_and(|at| contains(networks, at.ip()));
    if !plan.allow_from.is_empty() && !is_within(&plan.allow_from) {
        return Err(Refusal {
            why: "from a network that may not",
            answer: pages::not_from_here(head).into(),
        });
    }
    if client.is_exposed() && !plan.insecure {
        return Err(Refusal { why: "plain HTTP", answer: pages::in_the_clear(head).into() });
    }
    Ok(())
}

fn check_manners(plan: &Plan, question: Question<'_>, side: Side) -> Result<(), Refusal> {
    let Question { head, client, .. } = question;
    // Anybody can bind a name of theirs to this machine; by HTTPS it would not get far.
    let is_known = client.scheme == Scheme::Https
        || client.address.is_none()
        || is_this_machine(&client.host)
        || is_listed(plan, &client.host);
    if !is_known && !plan.insecure {
        let answer = pages::not_by_that_name(head, client.port).into();
        return Err(Refusal { why: "by a name of somebody's", answer });
    }
    let own = match &plan.domain {
        // What is written counts, not what a request says.
        Some(domain) if side == Side::Domain => {
            Origin::parse(domain.origin_at(&client.host).as_bytes())
        }
        _ => Origin::new(client.scheme.as_str(), &client.host),
    };
    let fetch = Fetch::read(head, own, plan.is_framed());
    judge(&fetch, &plan.allow_origin).map_err(|reason| Refusal {
        why: "where it comes from",
        answer: pages::foreign(head, reason).into(),
    })
}
