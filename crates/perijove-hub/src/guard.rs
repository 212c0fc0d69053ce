//! May this request pass to a notebook? Its spelling, where it comes from, whose it is.
//!
//! A notebook server's own checks of Origin and XSRF are off, so these are the only ones.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use perijove_gateway::{Client, Guard, Head, Pass, Question, Response, Scheme, Verdict};

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

use address::{Address, read_address};
use fetch::{Fetch, judge};

/// Guards all that lies below the path of notebooks.
#[derive(Debug)]
pub(crate) struct Door {
    core: Arc<Core>,
    authenticator: Arc<dyn Authenticator>,
}

/// Guards the hub's own addresses that belong to no user: only where a request comes from counts.
#[derive(Debug)]
pub(crate) struct Threshold {
    core: Arc<Core>,
}

impl Threshold {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

impl Guard for Threshold {
    fn check<'a>(
        &'a self,
        question: Question<'a>,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        let manners = check_manners(&self.core.plan.load(), question);
        let verdict = manners.map_or_else(refuse, |()| Verdict::Pass(Pass::default()));
        Box::pin(std::future::ready(verdict))
    }
}

impl Door {
    pub(crate) fn new(core: Arc<Core>, authenticator: Arc<dyn Authenticator>) -> Self {
        Self { core, authenticator }
    }

    async fn verdict(&self, question: Question<'_>) -> Verdict {
        let Question { head, client, is_open } = question;
        let plan = self.core.plan.load_full();
        let address = read_address(&plan, head);
        if !is_open {
            if let Some(target) = &address.respelled {
                return respell(head, target);
            }
            if let Err(refusal) = check_manners(&plan, question) {
                note(head, client, "where it comes from");
                return refuse(refusal);
            }
        }
        let owner = address.owner_in(&plan);
        let asked = Asked { head, client, owner: &owner, is_open };
        match self.authenticator.ask(asked).await {
            Word::Yes(yes) if address.admits(&yes.user) => Verdict::Pass(Pass {
                subject: Some(yes.user.name().into()),
                fields: yes.cookies,
                proven: Vec::new(),
                ask_again: Some(yes.ask_again),
            }),
            Word::Yes(_) | Word::Nobody => {
                note(head, client, "somebody else's");
                refuse(pages::not_yours(head))
            }
            Word::No(answer) => refuse(answer),
            Word::Silence => refuse(pages::no_word(head)),
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

fn check_manners(plan: &Plan, question: Question<'_>) -> Result<(), Response> {
    let Question { head, client, .. } = question;
    if client.is_exposed() && !plan.insecure {
        return Err(pages::in_the_clear(head));
    }
    // Anybody can bind a name of theirs to this machine; by HTTPS it would not get far.
    let is_known = client.scheme == Scheme::Https
        || client.address.is_none()
        || is_this_machine(&client.host)
        || is_listed(plan, &client.host);
    if !is_known && !plan.insecure {
        return Err(pages::not_by_that_name(head, client.port));
    }
    let fetch = Fetch::read(head, client);
    judge(&fetch, &plan.allow_origin).map_err(|reason| pages::foreign(head, reason))
}
