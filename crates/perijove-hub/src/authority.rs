//! Asks the site who a request belongs to, and remembers its answer for as long as it allows.
//!
//! Every request below the path of notebooks is first put to the site as a question: a GET of the
//! same path. A *yes* is 200 with `Perijove-User`. No answer at all is not a no: what stands open
//! goes on for a while, what is new has to wait.

use std::{sync::Arc, time::Duration};

use perijove_gateway::{Client, FieldBlock, Head, Response};
use tokio::time::Instant;

use crate::{spawn::Pending, user::User};

mod answer;
mod kept;
mod key;
mod question;
mod under_way;

pub(crate) use answer::Answer;
pub(crate) use key::names_somebody;

use answer::Meaning;
use kept::{Kept, Yes as KeptYes};
use key::{Key, Varying};
use under_way::{Answered, UnderWay};

/// How long the site may take over a question.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a yes to a GET is kept when the site does not say.
const KEPT: Duration = Duration::from_secs(5);
/// How often an open connection is asked about when the site does not say: with the time that a
/// fresh yes may be old, below five seconds.
const AGAIN: Duration = Duration::from_millis(3500);
/// How old a yes may be for an open connection when the site does not say.
const FRESH: Duration = Duration::from_secs(1);
/// How long an open connection lives on its last yes while the site is silent.
const GRACE: Duration = Duration::from_secs(60);

/// Whoever can be asked.
pub(crate) trait Site: Send + Sync + std::fmt::Debug {
    /// `None` when no answer came: nobody there, or a failure on the way.
    fn ask<'a>(&'a self, question: Head, client: &'a Client) -> Pending<'a, Option<Answer>>;
}

/// Says who a request belongs to: the site, the users file, a ticket of the site's. Whatever else
/// is to say so one day (`OpenID` Connect, the accounts of the machine) stands in the same place; what it
/// knows beside the name, such as groups, belongs into [`Yes`].
pub(crate) trait Authenticator: Send + Sync + std::fmt::Debug {
    fn ask<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Word>;

    /// Runs beside the requests, as long as the hub does.
    fn watch(&self) -> Pending<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// The site, with what it has said lately.
#[derive(Debug)]
pub(crate) struct Authority {
    site: Arc<dyn Site>,
    varying: Varying,
    kept: Kept,
    under_way: UnderWay,
}

/// What the site is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) head: &'a Head,
    pub(crate) client: &'a Client,
    /// Whose notebook the path means, in the canonical form; empty where it names nobody.
    pub(crate) owner: &'a str,
    /// Whether it is about a connection that is open already.
    pub(crate) is_open: bool,
}

/// What is said to one request.
#[derive(Debug)]
pub(crate) enum Word {
    Yes(Yes),
    /// Somebody may pass, but is not named: nobody is let in.
    Nobody,
    /// Its own answer, to be passed on.
    No(Response),
    /// No answer at all.
    Silence,
}

/// It is known who asks.
#[derive(Debug)]
pub(crate) struct Yes {
    pub(crate) user: User,
    /// Cookies that were set along with the answer.
    pub(crate) cookies: FieldBlock,
    /// When an open connection is to be asked about again.
    pub(crate) ask_again: Duration,
}

impl Authority {
    pub(crate) fn new(site: Arc<dyn Site>) -> Self {
        Self {
            site,
            varying: Varying::default(),
            kept: Kept::default(),
            under_way: UnderWay::default(),
        }
    }

    async fn word(&self, asked: Asked<'_>) -> Word {
        let key = self.varying.key(&asked);
        let now = Instant::now();
        if let Some(yes) = self.kept.get(&key).filter(|yes| yes.holds(now, asked.is_open)) {
            return Word::Yes(yes.word(now, FieldBlock::new()));
        }
        let answered = tokio::time::timeout(PATIENCE, self.answer(&asked)).await;
        let Ok(Some((asked_at, answer))) = answered else { return self.silence(&key, &asked) };
        match answer.meaning() {
            Meaning::Yes { user, lifetime } => {
                let is_change = !matches!(asked.head.method(), "GET" | "HEAD");
                let yes = KeptYes { user, asked_at, lifetime, is_change };
                let word = yes.word(asked_at, answer.cookies());
                // What the answer varies with may be new: then it has another key from now on.
                if self.varying.learn(answer.varies_with()) {
                    self.kept.put(self.varying.key(&asked), yes);
                }
                Word::Yes(word)
            }
            Meaning::Nobody => self.forget(&key, Word::Nobody),
            Meaning::No => self.forget(&key, Word::No(answer.pass_on())),
            Meaning::Silence => self.silence(&key, &asked),
        }
    }

    /// The site's answer; equal questions that are under way are put once. Whether they were equal
    /// is only known with the answer: it may vary with more than was thought.
    async fn answer(&self, asked: &Asked<'_>) -> Option<Answered> {
        loop {
            let key = self.varying.key(asked);
            let (answered, is_own) = self.under_way.once(&key, self.put(asked)).await?;
            if is_own {
                return Some(answered);
            }
            let answer = &answered.1;
            if !self.varying.learn(answer.varies_with()) || answer.begins_something() {
                return self.put(asked).await;
            }
            if self.varying.key(asked) == key {
                return Some(answered);
            }
        }
    }

    async fn put(&self, asked: &Asked<'_>) -> Option<Answered> {
        let asked_at = Instant::now();
        let question = question::put(asked.head, asked.client)?;
        let answer = self.site.ask(question, asked.client).await?;
        Some((asked_at, Arc::new(answer)))
    }

    fn silence(&self, key: &Key, asked: &Asked<'_>) -> Word {
        let now = Instant::now();
        let last = self.kept.get(key).filter(|yes| asked.is_open && yes.outlasts_silence(now));
        last.map_or(Word::Silence, |yes| {
            Word::Yes(Yes { ask_again: AGAIN, ..yes.word(now, FieldBlock::new()) })
        })
    }

    fn forget(&self, key: &Key, word: Word) -> Word {
        self.kept.remove(key);
        word
    }
}

impl Authenticator for Authority {
    fn ask<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Word> {
        Box::pin(self.word(asked))
    }
}

#[cfg(test)]
mod tests;
