//! One notebook server: the handle that others hold, and what they see of it.
//!
//! One task owns each server and makes all its moves (`server/task.rs`); everybody else sends it
//! messages and looks at its view.

use std::path::PathBuf;

use perijove_process::guardian;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    context::Context,
    idle::{Life, Use},
    launch::{LaunchError, Launched},
    phase::Phase,
    record::{Launch, Record},
    seats::Seat,
    spawn::STATUS,
};

pub(crate) mod task;

/// Messages that may wait for one server.
const MAILBOX: usize = 32;

/// A server as others hold it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    mailbox: mpsc::Sender<Message>,
    view: watch::Receiver<View>,
}

/// What a server is asked to do.
#[derive(Debug)]
pub(crate) enum Message {
    /// Run this, or go on when the same runs already.
    Launch {
        launch: Box<Launch>,
        /// One that was taken for it before.
        seat: Option<Seat>,
        reply: oneshot::Sender<Result<Launched, LaunchError>>,
    },
    /// Ask it how it is used; the reply is `None` when it does not run, or does not say.
    Look { as_person: bool, reply: oneshot::Sender<Option<Use>> },
    /// End it, if it runs; the reply comes when it has ended, and says whether it ran.
    Stop { reply: oneshot::Sender<bool> },
}

/// What others see of a server.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) phase: Phase,
    /// Where the notebook's address begins.
    pub(crate) address: String,
    /// The page to open.
    pub(crate) url: String,
    /// Seconds since the Unix epoch; `None` when it does not run.
    pub(crate) started: Option<u64>,
    pub(crate) process: Option<i32>,
    /// Whether it was forked ready; `None` when it does not run.
    pub(crate) is_warm: Option<bool>,
    pub(crate) kill_at: Option<u64>,
    /// What is known of its use, while it runs.
    pub(crate) life: Life,
    /// `None` when it was never launched.
    pub(crate) hash: Option<String>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) log: PathBuf,
    /// How it ended, when it is absent or failed.
    pub(crate) reason: Option<String>,
    pub(crate) last_lines: Vec<String>,
    /// What could be started again.
    pub(crate) again: Option<Launch>,
    pub(crate) home: Home,
    /// When it was started anew after it had died.
    pub(crate) revived: Option<u64>,
    /// Whether it has died and is about to be started anew.
    pub(crate) comes_back: bool,
}

/// Where one gets to from a notebook's pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Home {
    pub(crate) url: String,
    pub(crate) title: String,
}

impl Default for Home {
    fn default() -> Self {
        Self { url: "/".to_owned(), title: "Back to the site".to_owned() }
    }
}

impl Home {
    /// As the site has said with the launch, in `home_url` and `home_title`.
    fn of(context: &Context) -> Self {
        let text = |key| context.rest.get(key).and_then(Value::as_str).map(str::to_owned);
        // Nothing that a page would run as a script.
        let is_place = |url: &String| {
            let is_web = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
            is_web || (url.starts_with('/') && !url.starts_with("//"))
        };
        let own = Self::default();
        Self {
            url: text("home_url").filter(is_place).unwrap_or(own.url),
            title: text("home_title").unwrap_or(own.title),
        }
    }
}

impl Server {
    pub(super) fn new(view: View) -> (Self, mpsc::Receiver<Message>, watch::Sender<View>) {
        let (mailbox, messages) = mpsc::channel(MAILBOX);
        let (sender, view) = watch::channel(view);
        (Self { mailbox, view }, messages, sender)
    }

    pub(crate) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// Follows the views to come.
    pub(crate) fn follow(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    pub(crate) async fn launch(&self, launch: Launch) -> Result<Launched, LaunchError> {
        self.launch_with(launch, None).await
    }

    /// The same, with a seat that was taken for it before.
    pub(crate) async fn launch_with(
        &self,
        launch: Launch,
        seat: Option<Seat>,
    ) -> Result<Launched, LaunchError> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Launch { launch: Box::new(launch), seat, reply };
        self.mailbox.send(message).await.map_err(|_| LaunchError::Closing)?;
        answer.await.map_err(|_| LaunchError::Closing)?
    }

    /// How it is used now; `None` when it does not run, or does not say.
    pub(crate) async fn look(&self) -> Option<Use> {
        self.ask(false).await
    }

    /// The same, and it lives on as if somebody had done something.
    pub(crate) async fn keep(&self) -> Option<Use> {
        self.ask(true).await
    }

    async fn ask(&self, as_person: bool) -> Option<Use> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Message::Look { as_person, reply }).await.ok()?;
        answer.await.ok()?
    }

    /// Ends it; says whether it ran. `None` when perijove itself is ending.
    pub(crate) async fn stop(&self) -> Option<bool> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Message::Stop { reply }).await.ok()?;
        answer.await.ok()
    }
}

impl View {
    /// What the guardian of a server that runs has put on record: it goes on while we are away. It
    /// reads a small file.
    pub(crate) fn of_guardian(&self) -> Option<guardian::Record> {
        self.started.and_then(|_| guardian::Record::read(&self.log.with_file_name(STATUS)).ok())
    }

    /// A server that was never launched.
    pub(crate) fn blank(place: &crate::spawn::Place) -> Self {
        Self {
            phase: Phase::Absent,
            address: place.address.clone(),
            url: place.address.clone(),
            started: None,
            process: None,
            is_warm: None,
            kill_at: None,
            life: Life::default(),
            hash: None,
            folder: None,
            log: place.log.clone(),
            reason: None,
            last_lines: Vec::new(),
            again: None,
            home: Home::default(),
            revived: None,
            comes_back: false,
        }
    }

    pub(crate) fn of(record: &Record, place: &crate::spawn::Place) -> Self {
        let runs = record.handle.as_ref().filter(|_| record.phase.is_active());
        let started = runs.map(|handle| handle.started);
        let launch = record.next.as_ref().unwrap_or(&record.launch);
        let kill_timeout = record.launch.kill_timeout;
        let ended = record.ended.as_ref().filter(|_| !record.phase.is_active());
        Self {
            phase: record.phase,
            url: launch.url(&place.address),
            address: place.address.clone(),
            started,
            process: runs.map(|handle| handle.process),
            is_warm: runs.map(|handle| handle.is_warm),
            life: Life::default(),
            kill_at: started.filter(|_| kill_timeout > 0).map(|at| at.saturating_add(kill_timeout)),
            hash: Some(launch.hash.clone()),
            folder: Some(launch.folder.clone()),
            log: place.log.clone(),
            reason: ended.map(|ended| ended.reason.clone()),
            last_lines: ended.map(|ended| ended.last_lines.clone()).unwrap_or_default(),
            again: (!record.phase.is_active()).then(|| record.launch.clone()),
            home: Home::of(&launch.context),
            revived: None,
            comes_back: false,
        }
    }
}

#[cfg(test)]
mod tests;
