//! The task that owns one server and makes all its moves.

use std::{sync::Arc, time::Duration};

use perijove_process::{NotReady, until_ready};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Message, View};
use crate::{
    core::{Core, Seat},
    launch::{LaunchError, Launched, said},
    phase::Phase,
    record::{Ended, Launch, Record, Token},
    spawn::{Handle, Place, ProbeError, Start, Status, ensure_notebook, prepare, probe},
    user::User,
};

/// From the request to end to the end now; Jupyter ends its kernels meanwhile.
const GRACE: Duration = Duration::from_secs(10);
/// Before a server that would not end is told so again.
const PAUSE: Duration = Duration::from_secs(5);

/// One server, with all that is known of it.
pub(crate) struct Task {
    core: Arc<Core>,
    user: User,
    place: Place,
    phase: Phase,
    /// `None` until the first launch.
    record: Option<Record>,
    /// Held while it runs.
    seat: Option<Seat>,
    view: watch::Sender<View>,
    messages: mpsc::Receiver<Message>,
    /// Who waits for its end.
    waiting: Vec<oneshot::Sender<bool>>,
}

/// Why the wait for a running server is over.
enum Turn {
    Stop,
    Replace,
    Over,
}

impl Task {
    pub(crate) fn new(
        core: Arc<Core>,
        user: User,
        place: Place,
        messages: mpsc::Receiver<Message>,
        view: watch::Sender<View>,
    ) -> Self {
        Self {
            core,
            user,
            place,
            phase: Phase::Absent,
            record: None,
            seat: None,
            view,
            messages,
            waiting: Vec::new(),
        }
    }

    /// Takes up what an earlier process has left: a server that runs is reachable on return.
    pub(crate) fn adopt(&mut self, mut record: Record) {
        if record.phase.is_active() {
            self.seat = Some(self.core.seat_anyway());
        }
        if record.phase == Phase::Lost {
            record.phase = Phase::Ready;
        }
        self.phase = record.phase;
        let handle = record.handle.take().or_else(|| self.core.spawner.find(&self.place));
        match (&handle, record.phase) {
            (Some(handle), Phase::Ready) => {
                let runs = self.core.spawner.poll(&self.place, handle) == Status::Running;
                if runs && self.place.socket.exists() {
                    self.core.open_door(&self.user, &self.place, &record.token);
                } else if runs {
                    // Nobody can reach it any more: it must not run on unseen.
                    let reason = "its socket was removed with the runtime folder".to_owned();
                    record.ended = Some(Ended { reason, last_lines: Vec::new() });
                    self.phase = Phase::Stopping;
                }
            }
            // Something runs that nobody wants: it is ended before anything else is started.
            (Some(_), Phase::Absent | Phase::Failed) => self.phase = Phase::Stopping,
            _ => {}
        }
        record.handle = handle;
        record.phase = self.phase;
        self.view.send_replace(View::of(&record, &self.place));
        self.record = Some(record);
    }

    /// Makes one move after another until perijove ends. Being dropped at any await is like being
    /// killed there: what was saved says how to go on.
    pub(crate) async fn run(mut self) {
        let stop = self.core.stop.clone();
        loop {
            let step = async {
                match self.phase {
                    Phase::Absent | Phase::Failed => self.rest().await,
                    Phase::Starting => self.bring_up().await,
                    Phase::Ready => self.watch().await,
                    Phase::Stopping => self.bring_down().await,
                    Phase::Lost => self.bury().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = step => {}
            }
        }
    }

    /// Makes a move, and shows it.
    fn go(&mut self, next: Phase) {
        debug_assert!(self.phase.may_become(next), "{:?} to {next:?}", self.phase);
        tracing::info!(
            user = self.user.name(),
            from = self.phase.as_str(),
            to = next.as_str(),
            "notebook"
        );
        self.phase = next;
        if let Some(record) = &mut self.record {
            record.phase = next;
        }
        self.show();
    }

    fn show(&self) {
        let view = self.record.as_ref().map(|record| View::of(record, &self.place));
        self.view.send_replace(view.unwrap_or_else(|| View::blank(&self.place)));
    }

    async fn rest(&mut self) {
        match self.messages.recv().await {
            Some(Message::Launch { launch, file, reply }) => {
                let answer = self.begin(launch, &file).await;
                // Nobody waits for the answer any more when the client has gone.
                reply.send(answer).ok();
            }
            Some(Message::Stop { reply }) => {
                let was_failed = self.phase == Phase::Failed;
                if was_failed {
                    self.go(Phase::Absent);
                    self.save_in_the_end().await;
                }
                reply.send(was_failed).ok();
            }
            None => std::future::pending().await,
        }
    }

    /// Saves a new start before anything is started.
    async fn begin(&mut self, launch: Launch, file: &str) -> Result<Launched, LaunchError> {
        let seat = match self.seat.take() {
            Some(seat) => seat,
            None => self.core.seat()?,
        };
        let token = Token::new().map_err(|_| LaunchError::NoRandomness)?;
        let record = Record {
            user: self.user.clone(),
            phase: Phase::Starting,
            launch,
            token,
            handle: None,
            next: None,
            ended: None,
        };
        self.prepare(&record.launch, file).await?;
        self.core.saver.save(&record).await?;
        let url = record.launch.url(&self.place.address);
        self.seat = Some(seat);
        self.record = Some(record);
        self.go(Phase::Starting);
        Ok(Launched { url, phase: Phase::Starting, is_created: true })
    }

    async fn prepare(&self, launch: &Launch, file: &str) -> Result<(), LaunchError> {
        let (place, launch, file) = (self.place.clone(), launch.clone(), file.to_owned());
        let prepared = tokio::task::spawn_blocking(move || prepare(&place, &launch, &file)).await;
        prepared.map_err(|_| LaunchError::Closing)?.map_err(LaunchError::from)
    }

    async fn bring_up(&mut self) {
        let handle = match self.process().await {
            Ok(handle) => handle,
            Err(reason) => return self.fail(reason, Vec::new()).await,
        };
        match self.wait_until_ready(&handle).await {
            Ok(Turn::Over) => {
                if let Some(record) = &self.record {
                    self.core.open_door(&self.user, &self.place, &record.token);
                }
                self.go(Phase::Ready);
                self.save_in_the_end().await;
            }
            Ok(Turn::Stop | Turn::Replace) => {
                self.go(Phase::Stopping);
                self.save_in_the_end().await;
            }
            Err(reason) => {
                let lines = self.core.spawner.last_lines(&self.place);
                self.end_now(&handle).await;
                self.fail(reason, lines).await;
            }
        }
    }

    /// The process of the present start: the one that runs already, or a new one.
    async fn process(&mut self) -> Result<Handle, String> {
        let Some(record) = &mut self.record else { return Err("it was never launched".to_owned()) };
        if let Some(handle) = &record.handle {
            return Ok(handle.clone());
        }
        let plan = self.core.plan.load_full();
        let start = Start {
            plan: &plan,
            user: &self.user,
            place: &self.place,
            launch: &record.launch,
            token: &record.token,
        };
        let handle = match self.core.spawner.find(&self.place) {
            Some(handle) => handle,
            None => self.core.spawner.start(start).await.map_err(|error| said(&error))?,
        };
        record.handle = Some(handle.clone());
        if let Err(error) = self.core.saver.save(record).await {
            self.end_now(&handle).await;
            return Err(said(&error));
        }
        self.show();
        Ok(handle)
    }

    async fn wait_until_ready(&mut self, handle: &Handle) -> Result<Turn, String> {
        let core = self.core.clone();
        let (place, within) = (self.place.clone(), core.plan.load().start_timeout);
        let Some(token) = self.record.as_ref().map(|record| record.token.clone()) else {
            return Ok(Turn::Stop);
        };
        let ready = until_ready(
            || probe(&place.socket, &place.address, &token),
            core.spawner.ended(&place, handle),
            within,
        );
        let mut ready = std::pin::pin!(ready);
        loop {
            tokio::select! {
                ready = &mut ready => return match ready {
                    Ok(()) => Ok(Turn::Over),
                    Err(NotReady::Ended(())) => Err(match core.spawner.poll(&place, handle) {
                        Status::Ended(ended) => ended.reason,
                        Status::Running => "it ended".to_owned(),
                    }),
                    Err(NotReady::Late(failure)) => Err(too_late(within, failure)),
                },
                message = self.messages.recv() => {
                    if let Some(turn) = self.hear(message).await {
                        return Ok(turn);
                    }
                }
            }
        }
    }

    /// Watches over a server that runs.
    async fn watch(&mut self) {
        let Some(handle) = self.record.as_ref().and_then(|record| record.handle.clone()) else {
            return self.go(Phase::Lost);
        };
        let core = self.core.clone();
        let place = self.place.clone();
        let mut ended = core.spawner.ended(&place, &handle);
        let turn = loop {
            tokio::select! {
                () = &mut ended => break Turn::Over,
                message = self.messages.recv() => {
                    if let Some(turn) = self.hear(message).await {
                        break turn;
                    }
                }
            }
        };
        self.core.close_door(&self.place);
        match turn {
            Turn::Over => self.go(Phase::Lost),
            Turn::Stop | Turn::Replace => {
                self.go(Phase::Stopping);
                self.save_in_the_end().await;
            }
        }
    }

    /// What a message means to a server that starts or runs; `None` when it goes on as it is.
    async fn hear(&mut self, message: Option<Message>) -> Option<Turn> {
        match message {
            Some(Message::Launch { launch, file, reply }) => {
                if self.record.as_ref().is_some_and(|record| record.launch.hash == launch.hash) {
                    reply.send(Ok(self.join(launch, file).await)).ok();
                    return None;
                }
                let answer = self.put_next(launch, &file).await;
                let is_accepted = answer.is_ok();
                reply.send(answer).ok();
                is_accepted.then_some(Turn::Replace)
            }
            Some(Message::Stop { reply }) => {
                self.waiting.push(reply);
                Some(Turn::Stop)
            }
            None => std::future::pending().await,
        }
    }

    /// The same is asked for again: only the file to open may differ.
    async fn join(&mut self, launch: Launch, file: String) -> Launched {
        let url = launch.url(&self.place.address);
        if let Some(record) = &mut self.record {
            record.launch.opens.clone_from(&launch.opens);
        }
        let made = tokio::task::spawn_blocking(move || ensure_notebook(&launch, &file)).await;
        if let Ok(Err(error)) = made {
            tracing::warn!(user = self.user.name(), error = said(&error), "no first notebook");
        }
        self.show();
        Launched { url, phase: self.phase, is_created: false }
    }

    /// Another context takes this one's place as soon as it has stopped. It is saved first: when
    /// that cannot be done, what runs goes on.
    async fn put_next(&mut self, launch: Launch, file: &str) -> Result<Launched, LaunchError> {
        let Some(record) = &self.record else { return Err(LaunchError::Closing) };
        let url = launch.url(&self.place.address);
        let mut changed = record.clone();
        changed.phase = Phase::Stopping;
        changed.next = Some(launch.clone());
        self.core.saver.save(&changed).await?;
        if let Err(error) = self.prepare(&launch, file).await {
            self.save_in_the_end().await;
            return Err(error);
        }
        if let Some(record) = &mut self.record {
            record.next = Some(launch);
        }
        Ok(Launched { url, phase: Phase::Starting, is_created: true })
    }

    async fn bring_down(&mut self) {
        if let Some(handle) = self.record.as_ref().and_then(|record| record.handle.clone()) {
            self.end(&handle).await;
        }
        let Some(mut record) = self.record.take() else { return self.go(Phase::Absent) };
        let next = record.next.take();
        record.handle = None;
        let reason = record.ended.take().map_or("it was stopped".to_owned(), |ended| ended.reason);
        record.ended = Some(Ended { reason, last_lines: Vec::new() });
        self.record = Some(record);
        self.core.clear(&self.place).await;
        self.go(Phase::Absent);
        if let Some(launch) = next {
            // The record on the disk still says what follows: a crash here loses nothing.
            self.tell();
            return self.replace(launch).await;
        }
        self.save_in_the_end().await;
        self.leave();
    }

    /// Starts what was to follow; its folder is ready since it was accepted.
    async fn replace(&mut self, launch: Launch) {
        let file = launch.context.notebook_file(&launch.hash);
        let fallback = launch.clone();
        if let Err(error) = self.begin(launch, &file).await {
            // It was accepted before: its end is a failure to be shown, not an answer.
            if let Some(record) = &mut self.record {
                record.launch = fallback;
            }
            self.go(Phase::Starting);
            self.fail(said(&error), Vec::new()).await;
        }
    }

    /// Ends a server while messages are heard: what is launched meanwhile follows it.
    async fn end(&mut self, handle: &Handle) {
        let core = self.core.clone();
        let mut stopping = core.spawner.stop(handle, GRACE);
        loop {
            tokio::select! {
                stopped = &mut stopping => match stopped {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::error!(user = self.user.name(), error = said(&error),
                            "a notebook does not stop");
                        tokio::time::sleep(PAUSE).await;
                        stopping = core.spawner.stop(handle, Duration::ZERO);
                    }
                },
                message = self.messages.recv() => match message {
                    Some(Message::Launch { launch, file, reply }) => {
                        let answer = self.put_next(launch, &file).await;
                        reply.send(answer).ok();
                        self.show();
                    }
                    Some(Message::Stop { reply }) => {
                        if let Some(record) = &mut self.record {
                            record.next = None;
                        }
                        self.waiting.push(reply);
                        self.save_in_the_end().await;
                        self.show();
                    }
                    None => std::future::pending().await,
                },
            }
        }
    }

    async fn end_now(&self, handle: &Handle) {
        if let Err(error) = self.core.spawner.stop(handle, GRACE).await {
            tracing::error!(
                user = self.user.name(),
                error = said(&error),
                "a notebook does not stop"
            );
        }
    }

    async fn fail(&mut self, reason: String, last_lines: Vec<String>) {
        tracing::warn!(user = self.user.name(), reason, "a notebook did not start");
        self.core.clear(&self.place).await;
        if let Some(record) = &mut self.record {
            record.handle = None;
            record.ended = Some(Ended { reason, last_lines });
        }
        self.go(Phase::Failed);
        self.save_in_the_end().await;
        self.leave();
    }

    /// A server was found dead: its end goes on record.
    async fn bury(&mut self) {
        let handle = self.record.as_mut().and_then(|record| record.handle.take());
        let ended = match handle.map(|handle| self.core.spawner.poll(&self.place, &handle)) {
            Some(Status::Ended(ended)) => ended,
            _ => Ended { reason: "it is gone".to_owned(), last_lines: Vec::new() },
        };
        tracing::warn!(user = self.user.name(), reason = ended.reason, "a notebook is gone");
        if let Some(record) = &mut self.record {
            record.ended = Some(ended);
        }
        self.core.clear(&self.place).await;
        self.go(Phase::Absent);
        self.save_in_the_end().await;
        self.leave();
    }

    /// It does not run any more: its seat is free, and who waited for its end is told.
    fn leave(&mut self) {
        self.seat = None;
        self.tell();
    }

    fn tell(&mut self) {
        for reply in self.waiting.drain(..) {
            reply.send(true).ok();
        }
    }

    async fn save_in_the_end(&self) {
        if let Some(record) = &self.record {
            self.core.saver.save_in_the_end(record).await;
        }
    }
}

fn too_late(within: Duration, failure: Option<ProbeError>) -> String {
    let seconds = within.as_secs();
    match failure {
        Some(failure) => format!("it did not answer within {seconds} s: {}", said(&failure)),
        None => format!("it did not answer within {seconds} s"),
    }
}
