//! How a server comes to its end: told to, failed, or found dead.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Message, Task,
    deaths::{Deaths, Then},
};
use crate::{
    audit::{self, Deed},
    clock,
    launch::said,
    phase::Phase,
    record::{Ended, Launch},
    spawn::{Handle, Status},
};

/// From the request to end to the end now; Jupyter ends its kernels meanwhile.
const GRACE: Duration = Duration::from_secs(10);
/// Before a server that would not end is told so again.
const PAUSE: Duration = Duration::from_secs(5);

impl Task {
    pub(super) async fn bring_down(&mut self) {
        if let Some(handle) = self.record.as_ref().and_then(|record| record.handle.clone()) {
            self.end(&handle).await;
        }
        let Some(mut record) = self.record.take() else { return self.go(Phase::Absent) };
        let next = record.next.take();
        record.handle = None;
        let reason = record.ended.take().map_or("it was stopped".to_owned(), |ended| ended.reason);
        record.ended = Some(Ended { reason, last_lines: Vec::new() });
        self.record = Some(record);
        self.note_end();
        self.core.clear(&self.notebook, &self.place).await;
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
        let fallback = launch.clone();
        if let Err(error) = self.begin(launch).await {
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
                        tracing::error!(notebook = %self.notebook, error = said(&error),
                            "a notebook does not stop");
                        tokio::time::sleep(PAUSE).await;
                        stopping = core.spawner.stop(handle, Duration::ZERO);
                    }
                },
                message = self.messages.recv() => match message {
                    Some(Message::Launch { launch, reply, .. }) => {
                        let answer = self.put_next(*launch).await;
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
                    Some(Message::Look { reply, .. }) => {
                        reply.send(None).ok();
                    }
                    None => std::future::pending().await,
                },
            }
        }
    }

    pub(super) async fn end_now(&self, handle: &Handle) {
        if let Err(error) = self.core.spawner.stop(handle, GRACE).await {
            tracing::error!(
                notebook = %self.notebook,
                error = said(&error),
                "a notebook does not stop"
            );
        }
    }

    pub(super) async fn fail(&mut self, reason: String, last_lines: Vec<String>) {
        tracing::warn!(notebook = %self.notebook, reason, "a notebook did not start");
        self.core.clear(&self.notebook, &self.place).await;
        if let Some(record) = &mut self.record {
            record.handle = None;
            record.ended = Some(Ended { reason, last_lines });
        }
        self.go(Phase::Failed);
        self.save_in_the_end().await;
        self.leave();
    }

    /// A server was found dead: its end goes on record.
    pub(super) async fn bury(&mut self) {
        let handle = self.record.as_mut().and_then(|record| record.handle.take());
        let (mut ended, has_died) =
            match handle.map(|handle| self.core.spawner.poll(&self.place, &handle)) {
                Some(Status::Ended(ended)) => (ended, false),
                Some(Status::Died(ended)) => (ended, true),
                _ => (Ended { reason: "it is gone".to_owned(), last_lines: Vec::new() }, false),
            };
        if has_died {
            match self.deaths.note() {
                Then::StartAfter(pause) => self.comes_back = Some(Instant::now() + pause),
                Then::Rest => {
                    let often = Deaths::too_many();
                    ended.reason = format!("{}: {often}, so it is left alone now", ended.reason);
                }
            }
        }
        tracing::warn!(notebook = %self.notebook, reason = ended.reason, "a notebook is gone");
        if let Some(record) = &mut self.record {
            record.ended = Some(ended);
        }
        self.note_end();
        self.core.clear(&self.notebook, &self.place).await;
        self.go(Phase::Absent);
        self.save_in_the_end().await;
        if self.comes_back.is_some() {
            // Its seat is kept for it.
            self.tell();
        } else {
            self.leave();
        }
    }

    fn note_end(&self) {
        let ended = self.record.as_ref().and_then(|record| record.ended.as_ref());
        let why = ended.map(|ended| ended.reason.as_str()).unwrap_or_default();
        audit::note(Deed::End, &self.notebook, "", why);
    }

    /// Starts anew what has died. Its kernels are gone, which its pages say.
    pub(super) async fn come_back(&mut self) {
        self.comes_back = None;
        let Some(launch) = self.record.as_ref().map(|record| record.launch.clone()) else { return };
        match self.begin(launch).await {
            Ok(_) => {
                self.revived = Some(clock::now());
                self.show();
            }
            Err(error) => {
                let error = said(&error);
                tracing::warn!(notebook = %self.notebook, error, "a notebook does not come back");
                self.leave();
                self.show();
            }
        }
    }

    /// It does not run any more: its seat is free, and who waited for its end is told.
    pub(super) fn leave(&mut self) {
        self.seat = None;
        self.tell();
    }

    fn tell(&mut self) {
        for reply in self.waiting.drain(..) {
            reply.send(true).ok();
        }
    }
}
