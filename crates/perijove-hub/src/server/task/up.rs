//! How a server comes up and is watched over while it runs.

use std::time::Duration;

use perijove_process::{NotReady, until_ready};

use super::{Message, Task};
use crate::{
    launch::{LaunchError, Launched, said},
    phase::Phase,
    record::Launch,
    spawn::{Handle, ProbeError, Start, Status, ensure_notebook, probe},
};

/// Why the wait for a running server is over.
enum Turn {
    Stop,
    Replace,
    Over,
    /// Nobody uses it.
    Unused,
}

impl Task {
    pub(super) async fn bring_up(&mut self) {
        let handle = match self.process().await {
            Ok(handle) => handle,
            Err(reason) => return self.fail(reason, Vec::new()).await,
        };
        match self.wait_until_ready(&handle).await {
            Ok(Turn::Over) => {
                if let Some(record) = &self.record {
                    self.core.open_door(&self.notebook, &self.place, &record.token);
                }
                self.go(Phase::Ready);
                self.save_in_the_end().await;
            }
            Ok(Turn::Stop | Turn::Replace | Turn::Unused) => {
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
            notebook: &self.notebook,
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
                        Status::Ended(ended) | Status::Died(ended) => ended.reason,
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
    pub(super) async fn watch(&mut self) {
        let Some(handle) = self.record.as_ref().and_then(|record| record.handle.clone()) else {
            return self.go(Phase::Lost);
        };
        let core = self.core.clone();
        let place = self.place.clone();
        let mut ended = core.spawner.ended(&place, &handle);
        self.vigil.begin(self.record.as_ref(), &core.plan.load());
        let turn = loop {
            tokio::select! {
                () = &mut ended => break Turn::Over,
                message = self.messages.recv() => {
                    if let Some(turn) = self.hear(message).await {
                        break turn;
                    }
                }
                heard = self.vigil.next(&place) => {
                    if self.judge(heard) {
                        break Turn::Unused;
                    }
                }
            }
        };
        self.core.close_door(&self.notebook, &self.place);
        match turn {
            Turn::Over => self.go(Phase::Lost),
            Turn::Stop | Turn::Replace | Turn::Unused => {
                self.go(Phase::Stopping);
                self.save_in_the_end().await;
            }
        }
    }

    /// What a message means to a server that starts or runs; `None` when it goes on as it is.
    async fn hear(&mut self, message: Option<Message>) -> Option<Turn> {
        match message {
            Some(Message::Launch { launch, reply, .. }) => {
                if self.record.as_ref().is_some_and(|record| record.launch.hash == launch.hash) {
                    reply.send(Ok(self.join(*launch).await)).ok();
                    return None;
                }
                let answer = self.put_next(*launch).await;
                let is_accepted = answer.is_ok();
                reply.send(answer).ok();
                is_accepted.then_some(Turn::Replace)
            }
            Some(Message::Stop { reply }) => {
                self.waiting.push(reply);
                Some(Turn::Stop)
            }
            Some(Message::Look { as_person, reply }) => {
                if self.phase == Phase::Ready {
                    self.vigil.look(as_person, reply);
                } else {
                    reply.send(None).ok();
                }
                None
            }
            None => std::future::pending().await,
        }
    }

    /// The same is asked for again: only the file to open may differ.
    async fn join(&mut self, launch: Launch) -> Launched {
        let url = launch.url(&self.place.address);
        if let Some(record) = &mut self.record {
            record.launch.opens.clone_from(&launch.opens);
        }
        let (plan, notebook) = (self.core.plan.load_full(), self.notebook.clone());
        let ensure = move || ensure_notebook(&plan, &launch, &notebook);
        let made = self.core.tasks.spawn_blocking(ensure).await;
        if let Ok(Err(error)) = made {
            tracing::warn!(notebook = %self.notebook, error = said(&error), "no first notebook");
        }
        self.show();
        Launched { url, phase: self.phase, is_created: false, is_asking: false }
    }

    /// Another context takes this one's place as soon as it has stopped. It is saved first: when
    /// that cannot be done, what runs goes on.
    pub(super) async fn put_next(&mut self, launch: Launch) -> Result<Launched, LaunchError> {
        let Some(record) = &self.record else { return Err(LaunchError::Closing) };
        let url = launch.url(&self.place.address);
        let mut changed = record.clone();
        changed.phase = Phase::Stopping;
        changed.next = Some(launch.clone());
        self.core.saver.save(&changed).await?;
        if let Err(error) = self.prepare(&launch).await {
            self.save_in_the_end().await;
            return Err(error);
        }
        if let Some(record) = &mut self.record {
            record.next = Some(launch);
        }
        Ok(Launched { url, phase: Phase::Starting, is_created: true, is_asking: false })
    }
}

fn too_late(within: Duration, failure: Option<ProbeError>) -> String {
    let seconds = within.as_secs();
    match failure {
        Some(failure) => format!("it did not answer within {seconds} s: {}", said(&failure)),
        None => format!("it did not answer within {seconds} s"),
    }
}
