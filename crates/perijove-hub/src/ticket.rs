//! The site lets somebody pass by a ticket: it launches the notebook over the control socket and
//! sends the browser to the address that it is told, which carries the ticket.
//!
//! A ticket is for one user and one page, good for a minute and once. The browser gets a cookie for
//! it and is led on, so that the ticket stands in no address that is kept.

use std::{io, path::Path, sync::Arc, time::Duration};

use perijove_gateway::FieldBlock;
use serde::{Deserialize, Serialize};

use crate::{
    authority::{Asked, Authenticator, Word, Yes},
    clock, pages,
    seal::{Purpose, Seal, random_name},
    session::{Kind, Session, Towards},
    spawn::Pending,
    spent::Spent,
    user::User,
};

/// How long a redirect takes, and then some.
const LIFETIME: Duration = Duration::from_secs(60);

/// A visit lasts a day's work: the site, which cannot be asked, lets pass anew with each launch.
const KIND: Kind = Kind {
    purpose: Purpose::Visit,
    idle: Duration::from_secs(12 * 3600),
    whole: Duration::from_secs(24 * 3600),
};
/// How often an open connection is asked about.
const AGAIN: Duration = Duration::from_millis(3500);

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
}

/// Tickets, and the sessions that begin with them.
#[derive(Clone, Debug)]
pub(crate) struct Tickets {
    seal: Seal,
    spent: Arc<Spent>,
    /// Below it notebooks live.
    path: String,
}

impl Tickets {
    /// It blocks.
    pub(crate) fn open(state_folder: &Path, path: &str) -> io::Result<Self> {
        let spent = Arc::new(Spent::open(state_folder)?);
        Ok(Self { seal: Seal::open(state_folder)?, spent, path: path.to_owned() })
    }

    /// The address that lets a user pass to a page; `None` without random numbers.
    pub(crate) fn issue(&self, user: &User, to: &str) -> Option<String> {
        let until = clock::now() + LIFETIME.as_secs();
        let id = random_name().ok()?;
        let ticket = Ticket { id, user: user.clone(), to: to.to_owned(), until };
        let sealed = self.seal.seal(Purpose::Ticket, &ticket)?;
        Some(format!("{}-/ticket?ticket={sealed}", self.path))
    }

    /// Takes a ticket; `None` when it is none, too old, or used before.
    pub(crate) async fn redeem(&self, sealed: &str) -> Option<Ticket> {
        let ticket: Ticket = self.seal.unseal(Purpose::Ticket, sealed.as_bytes())?;
        if clock::now() >= ticket.until {
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

    /// The value of `Set-Cookie` with which a user's visit begins.
    pub(crate) fn begin(&self, user: User, towards: Towards<'_>) -> Option<String> {
        let now = clock::now();
        let (id, mark) = (random_name().ok()?, String::new());
        let session = Session { id, user, mark, began: now, ends: KIND.end(now, now) };
        KIND.cookie(&self.seal, &session, towards, now)
    }

    fn word(&self, asked: &Asked<'_>) -> Word {
        let now = clock::now();
        let Some(session) = KIND.read(&self.seal, asked.head, asked.client, now) else {
            return Word::No(pages::open_from_site(asked.head));
        };
        let mut cookies = FieldBlock::new();
        let towards = Towards { client: asked.client, path: &self.path, is_framed: false };
        if asked.head.upgrade().is_none()
            && let Some(renewed) = KIND.renewed(&session, now)
            && let Some(cookie) = KIND.cookie(&self.seal, &renewed, towards, now)
        {
            cookies.push("Set-Cookie", cookie);
        }
        Word::Yes(Yes { user: session.user, cookies, ask_again: AGAIN })
    }
}

impl Authenticator for Tickets {
    fn ask<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Word> {
        Box::pin(std::future::ready(self.word(&asked)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(address: &str) -> &str {
        address.split_once("?ticket=").unwrap().1
    }

    #[tokio::test]
    async fn a_ticket_is_good_once_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let tickets = Tickets::open(folder.path(), "/notebook/").unwrap();
        let ada = User::new("ada").unwrap();
        let address = tickets.issue(&ada, "/notebook/ada/lab").unwrap();
        assert!(address.starts_with("/notebook/-/ticket?ticket="), "{address}");
        let taken = tickets.redeem(sealed(&address)).await.unwrap();
        assert_eq!((taken.user, taken.to.as_str()), (ada.clone(), "/notebook/ada/lab"));
        assert_eq!(tickets.redeem(sealed(&address)).await, None);
        let again = Tickets::open(folder.path(), "/notebook/").unwrap();
        assert_eq!(again.redeem(sealed(&address)).await, None);
        let other = tickets.issue(&ada, "/notebook/ada/lab").unwrap();
        assert!(again.redeem(sealed(&other)).await.is_some());
    }

    #[tokio::test]
    async fn a_ticket_that_is_old_or_another_hubs_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let tickets = Tickets::open(folder.path(), "/notebook/").unwrap();
        let user = User::new("ada").unwrap();
        let ticket = |until: u64| {
            let (id, user) = (until.to_string(), user.clone());
            Ticket { id, user, to: "/".into(), until }
        };
        let now = clock::now();
        for (until, is_good) in [(now + 30, true), (now, false), (now - 1, false)] {
            let sealed = tickets.seal.seal(Purpose::Ticket, &ticket(until)).unwrap();
            assert_eq!(tickets.redeem(&sealed).await.is_some(), is_good);
        }
        let foreign = Seal::random().unwrap().seal(Purpose::Ticket, &ticket(now + 30)).unwrap();
        assert_eq!(tickets.redeem(&foreign).await, None);
        let cookie = tickets.seal.seal(Purpose::Visit, &ticket(now + 30)).unwrap();
        assert_eq!(tickets.redeem(&cookie).await, None);
        assert_eq!(tickets.redeem("").await, None);
    }
}
