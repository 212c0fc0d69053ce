//! Tickets let somebody pass from where they are known to where they are not: from a site that launches
//! notebooks over the control socket, or from the site's own addresses to the domain of notebooks.
//!
//! A ticket is for one user and one page, good for a minute and once. The browser gets a cookie for
//! it and is led on, so that the ticket stands in no address that is kept. Where it is known by what
//! its user was let in, that is asked about again for as long as the visit lasts.

use std::{io, path::Path, sync::Arc, time::Duration};

use perijove_gateway::{FieldBlock, Response};
use serde::{Deserialize, Serialize};

use crate::{
    authority::{Asked, Authenticator, Word, Yes},
    clock,
    config::Plan,
    domain::Domain,
    pages,
    seal::{Purpose, Seal, random_name},
    session::{Kind, Session, Towards, no_cookie},
    spawn::Pending,
    spent::Spent,
    user::User,
    visits::Visits,
    vouch::Vouch,
};

/// How long a redirect takes, and then some.
const LIFETIME: Duration = Duration::from_secs(60);

/// A visit lasts a day's work: a site that cannot be asked lets pass anew with each launch.
const KIND: Kind = Kind {
    purpose: Purpose::Visit,
    idle: Duration::from_secs(12 * 3600),
    whole: Duration::from_secs(24 * 3600),
};
/// How often an open connection is asked about.
const AGAIN: Duration = Duration::from_millis(3500);
/// Marks a visit that rests on something.
const VOUCHED: &str = "vouched";

/// What a ticket says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    /// 128 random bits, by which it is known when it is used.
    id: String,
    pub(crate) user: User,
    /// The page that it leads to.
    pub(crate) to: String,
    /// Seconds since the Unix epoch.
    until: u64,
    /// Whether it is known what it rests on.
    #[serde(default)]
    is_vouched: bool,
}

/// Tickets, and the visits that begin with them.
#[derive(Clone, Debug)]
pub(crate) struct Tickets {
    seal: Seal,
    spent: Arc<Spent>,
    visits: Arc<Visits>,
    /// Who lets pass where the tickets come from, if anybody can be asked.
    behind: Option<Arc<dyn Authenticator>>,
    /// Below it notebooks live.
    path: String,
    domain: Option<Domain>,
    site_origin: Option<String>,
    is_framed: bool,
}

impl Tickets {
    /// It blocks.
    pub(crate) fn open(plan: &Plan, behind: Option<Arc<dyn Authenticator>>) -> io::Result<Self> {
        let folder: &Path = &plan.state_folder;
        Ok(Self {
            seal: Seal::open(folder)?,
            spent: Arc::new(Spent::open(folder)?),
            visits: Arc::new(Visits::open(folder)?),
            behind,
            path: plan.path.clone(),
            domain: plan.domain.clone(),
            site_origin: plan.site_origin.clone(),
            is_framed: plan.is_framed(),
        })
    }

    /// The address that lets a user pass to a page; `None` without random numbers. With a vouch, the
    /// visit lasts no longer than that.
    pub(crate) async fn issue(
        &self,
        user: &User,
        to: &str,
        vouch: Option<Vouch>,
    ) -> Option<String> {
        let until = clock::now() + LIFETIME.as_secs();
        let id = random_name().ok()?;
        let vouch = vouch.filter(|_| self.behind.is_some());
        let is_vouched = vouch.is_some();
        let ticket =
            Ticket { id: id.clone(), user: user.clone(), to: to.to_owned(), until, is_vouched };
        if let Some(vouch) = vouch {
            self.note(visit_of(&id), user.clone(), until, vouch).await;
        }
        let sealed = self.seal.seal(Purpose::Ticket, &ticket)?;
        let origin = self.domain.as_ref().map(|domain| domain.origin_of(user)).unwrap_or_default();
        Some(format!("{origin}{}-/ticket?ticket={sealed}", self.path))
    }

    /// Takes a ticket at a host; `None` when it is none, too old, used before, or for another host.
    pub(crate) async fn redeem(&self, sealed: &str, host: &str) -> Option<Ticket> {
        let ticket: Ticket = self.seal.unseal(Purpose::Ticket, sealed.as_bytes())?;
        let is_here =
            self.domain.as_ref().is_none_or(|domain| domain.is_host_of(&ticket.user, host));
        if clock::now() >= ticket.until || !is_here {
            return None;
        }
        let (spent, id, until) = (self.spent.clone(), ticket.id.clone(), ticket.until);
        match tokio::task::spawn_blocking(move || spent.spend(&id, until)).await {
            Ok(Ok(true)) => Some(ticket),
            // What may have been used is not good.
            Ok(Err(error)) => {
                tracing::error!(%error, "a ticket could not be taken");
                None
            }
            Ok(Ok(false)) | Err(_) => None,
        }
    }

    /// The value of `Set-Cookie` with which the visit of a ticket's user begins, in place of one that
    /// the browser has had so far.
    pub(crate) async fn begin(&self, ticket: Ticket, asked: &Asked<'_>) -> Option<String> {
        let now = clock::now();
        let ends = KIND.end(now, now);
        let id = visit_of(&ticket.id);
        let mut mark = String::new();
        if ticket.is_vouched {
            VOUCHED.clone_into(&mut mark);
            // Gone with a restart in between: a click gives another.
            let vouch = self.visits.vouch(&id)?;
            self.note(id.clone(), ticket.user.clone(), ends, vouch).await;
        }
        if let Some(before) = self.session(asked) {
            self.forget(before.id).await;
        }
        let session = Session { id, user: ticket.user, mark, began: now, ends };
        KIND.cookie(&self.seal, &session, self.towards(asked), now)
    }

    /// Ends a visit everywhere, and says how the browser forgets it.
    pub(crate) async fn end(&self, asked: &Asked<'_>) -> String {
        if let Some(session) = self.session(asked) {
            let (spent, id) = (self.spent.clone(), session.id.clone());
            let until = session.began + KIND.whole.as_secs();
            let ended = tokio::task::spawn_blocking(move || spent.spend(&id, until)).await;
            if !matches!(ended, Ok(Ok(_))) {
                tracing::warn!("a visit that was ended may come back after a restart");
            }
            self.forget(session.id).await;
        }
        no_cookie(self.towards(asked))
    }

    /// Where the site of a visitor is, as far as that is known.
    pub(crate) fn origin_of_site(&self, asked: &Asked<'_>) -> Option<String> {
        let visit = self.session(asked).and_then(|session| self.visits.vouch(&session.id));
        visit.map(|vouch| vouch.origin()).or_else(|| self.site_origin.clone())
    }

    fn session(&self, asked: &Asked<'_>) -> Option<Session> {
        let session = KIND.read(&self.seal, asked.head, asked.client, clock::now())?;
        (!self.spent.has(&session.id)).then_some(session)
    }

    fn towards<'a>(&'a self, asked: &Asked<'a>) -> Towards<'a> {
        Towards { client: asked.client, path: &self.path, is_framed: self.is_framed }
    }

    async fn note(&self, name: String, user: User, until: u64, vouch: Vouch) {
        let visits = self.visits.clone();
        let noted = move || visits.put(&name, &user, until, vouch);
        tokio::task::spawn_blocking(noted).await.ok();
    }

    async fn forget(&self, name: String) {
        let visits = self.visits.clone();
        tokio::task::spawn_blocking(move || visits.end(&name)).await.ok();
    }

    fn not_let_in(&self, asked: &Asked<'_>) -> Response {
        // Where the tickets come from, the same path asks there, and leads back here.
        let site = self.site_origin.as_ref().filter(|_| self.behind.is_some());
        let target = String::from_utf8_lossy(asked.head.target());
        pages::open_from_site(asked.head, site.map(|site| format!("{site}{target}")))
    }

    async fn word(&self, asked: Asked<'_>) -> Word {
        let now = clock::now();
        let Some(session) = self.session(&asked) else { return Word::No(self.not_let_in(&asked)) };
        let mut ask_again = AGAIN;
        let mut vouch = None;
        if session.mark == VOUCHED {
            let (Some(known), Some(behind)) = (self.visits.vouch(&session.id), &self.behind) else {
                return Word::No(self.not_let_in(&asked));
            };
            let said = self.ask_behind(behind, &known, &asked).await;
            match said {
                Some(Word::Yes(yes)) if yes.user == session.user => {
                    ask_again = yes.ask_again;
                    let mut learnt = known.clone();
                    let is_new = learnt.learn(&yes.cookies);
                    vouch = Some((learnt, is_new));
                }
                Some(Word::Silence) => return Word::Silence,
                _ => return Word::No(self.not_let_in(&asked)),
            }
        }
        let renewed = KIND.renewed(&session, now).filter(|_| asked.head.upgrade().is_none());
        if let Some((vouch, is_new)) = vouch
            && (is_new || renewed.is_some())
        {
            let ends = renewed.as_ref().map_or(session.ends, |renewed| renewed.ends);
            self.note(session.id.clone(), session.user.clone(), ends, vouch).await;
        }
        let mut cookies = FieldBlock::new();
        if let Some(renewed) = renewed
            && let Some(cookie) = KIND.cookie(&self.seal, &renewed, self.towards(&asked), now)
        {
            cookies.push("Set-Cookie", cookie);
        }
        Word::Yes(Yes { user: session.user, cookies, ask_again })
    }

    /// What is said where the ticket came from, to whom it was given.
    async fn ask_behind(
        &self,
        behind: &Arc<dyn Authenticator>,
        vouch: &Vouch,
        asked: &Asked<'_>,
    ) -> Option<Word> {
        let (head, client) = vouch.speak_for(asked)?;
        Some(behind.ask(Asked { head: &head, client: &client, ..*asked }).await)
    }
}

impl Authenticator for Tickets {
    fn ask<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Word> {
        Box::pin(self.word(asked))
    }
}

/// The name of the visit that begins with a ticket; another one than that under which it is spent.
fn visit_of(ticket: &str) -> String {
    format!("visit-{ticket}")
}

#[cfg(test)]
mod tests;
