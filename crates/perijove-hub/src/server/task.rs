//! The task that owns one server and makes all its moves.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{Message, View};
use crate::{
    core::Core,
    launch::{LaunchError, Launched},
    notebook::Notebook,
    phase::Phase,
    record::{Ended, Launch, Record, Token},
    seats::Seat,
    spawn::{Place, Status, prepare},
};

mod deaths;
mod down;
mod up;
mod vigil;

use deaths::Deaths;
use vigil::Vigil;

/// One server, with all that is known of it.
pub(crate) struct Task {
    core: Arc<Core>,
    notebook: Notebook,
    place: Place,
    phase: Phase,
    /// `None` until the first launch.
    record: Option<Record>,
    /// Held while it runs.
    seat: Option<Seat>,
    view: watch::Sender<View>,
    messages: mpsc::Receiver<Message>,
    /// Looks after its use while it runs.
    vigil: Vigil,
    deaths: Deaths,
    /// When it is started anew after it has died.
    comes_back: Option<Instant>,
    /// When that was done last, unless somebody has started it since.
    revived: Option<u64>,
    /// Who waits for its end.
    waiting: Vec<oneshot::Sender<bool>>,
}

impl Task {
    pub(crate) fn new(
        core: Arc<Core>,
        notebook: Notebook,
        place: Place,
        messages: mpsc::Receiver<Message>,
        view: watch::Sender<View>,
    ) -> Self {
        Self {
            core,
            notebook,
            place,
            phase: Phase::Absent,
            record: None,
            seat: None,
            view,
            messages,
            vigil: Vigil::default(),
            deaths: Deaths::default(),
            comes_back: None,
            revived: None,
            waiting: Vec::new(),
        }
    }

    /// Takes up what an earlier process has left: a server that runs is reachable on return.
    pub(crate) fn adopt(&mut self, mut record: Record) {
        if record.phase.is_active() {
            self.seat = Some(self.core.seat_anyway(&self.notebook.user));
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
                    self.core.open_door(&self.notebook, &self.place, &record.token);
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
            notebook = %self.notebook,
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
        let mut view = view.unwrap_or_else(|| View::blank(&self.place));
        if self.phase == Phase::Ready {
            view.life = self.vigil.life();
        }
        view.revived = self.revived;
        view.comes_back = self.comes_back.is_some();
        self.view.send_replace(view);
    }

    async fn rest(&mut self) {
        let alarm = self.comes_back;
        let alarm = async {
            match alarm {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            () = alarm => return self.come_back().await,
            message = self.messages.recv() => message,
        };
        let is_look = matches!(message, Some(Message::Look { .. }));
        let was_coming_back = !is_look && self.comes_back.take().is_some();
        if !is_look {
            self.revived = None;
        }
        match message {
            Some(Message::Launch { launch, seat, reply }) => {
                if self.seat.is_none() {
                    self.seat = seat;
                }
                let answer = self.begin(*launch).await;
                // Nobody waits for the answer any more when the client has gone.
                reply.send(answer).ok();
            }
            Some(Message::Stop { reply }) => {
                let was_failed = self.phase == Phase::Failed;
                if was_failed {
                    self.go(Phase::Absent);
                    self.save_in_the_end().await;
                }
                if was_coming_back {
                    self.seat = None;
                    self.show();
                }
                reply.send(was_failed || was_coming_back).ok();
            }
            Some(Message::Look { reply, .. }) => {
                reply.send(None).ok();
            }
            None => std::future::pending().await,
        }
    }

    /// Saves a new start before anything is started.
    async fn begin(&mut self, launch: Launch) -> Result<Launched, LaunchError> {
        // Given back when nothing comes of it.
        let seat = match self.seat.take() {
            Some(seat) => seat,
            None => self.core.seat(&self.notebook.user)?,
        };
        if let Some(stray) = self.core.spawner.find(&self.place) {
            // Its record is lost, and with it the token: nobody can use it any more.
            tracing::warn!(notebook = %self.notebook, "a notebook without a record is ended");
            self.end_now(&stray).await;
        }
        let token = Token::new().map_err(|_| LaunchError::NoRandomness)?;
        let record = Record {
            notebook: self.notebook.clone(),
            phase: Phase::Starting,
            launch,
            token,
            handle: None,
            next: None,
            ended: None,
        };
        self.prepare(&record.launch).await?;
        self.core.saver.save(&record).await?;
        let url = record.launch.url(&self.place.address);
        self.seat = Some(seat);
        self.record = Some(record);
        self.go(Phase::Starting);
        Ok(Launched { url, phase: Phase::Starting, is_created: true, is_asking: false })
    }

    async fn prepare(&self, launch: &Launch) -> Result<(), LaunchError> {
        let (place, launch) = (self.place.clone(), launch.clone());
        let (plan, notebook) = (self.core.plan.load_full(), self.notebook.clone());
        let prepare = move || prepare(&plan, &place, &launch, &notebook);
        let prepared = self.core.tasks.spawn_blocking(prepare).await;
        prepared.map_err(|_| LaunchError::Closing)?.map_err(LaunchError::from)
    }

    async fn save_in_the_end(&self) {
        if let Some(record) = &self.record {
            self.core.saver.save_in_the_end(record).await;
        }
    }
}
