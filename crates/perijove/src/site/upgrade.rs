//! A new process in the place of this one. `handover.rs` tells what both say to each other.

use std::{
    fs,
    io::{self, IsTerminal},
    os::fd::OwnedFd,
    sync::Arc,
};

use perijove_gateway::Handed;
use perijove_hub::{Hub, OpenError};
use perijove_process::{Command, ProcessIdentity};
use serde_json::json;
use tokio::{sync::mpsc, time::timeout};

use super::{
    Site, routes,
    wishes::{until_hurried, until_stopped_at_last},
};
use crate::{
    control::{
        Intent, Upgrade,
        reload::{Asked, Refusal},
    },
    failure::{Failure, Kind},
    handover::{
        Promise, PromisedListener, PromisedLock,
        giving::{Gifts, Giving, NotTaken},
        taking::Inheritance,
    },
};

/// Why a site comes to its end in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Stopped,
    /// Another process serves it.
    Replaced,
}

/// The process that has taken over.
#[derive(Clone, Debug)]
pub(super) struct Successor {
    process: u32,
    version: String,
}

impl Site {
    /// Has a new process take over; whoever asked is told each step. The error is why this one goes on.
    pub(super) async fn upgrade(
        &mut self,
        wanted: &Upgrade,
        asked: Option<&Asked>,
    ) -> Result<Successor, Refusal> {
        let tell = |step: String| {
            tracing::info!("upgrade: {step}");
            if let Some(asked) = asked {
                asked.step(step);
            }
        };
        let command = self.successor(wanted)?;
        let gifts = self.gifts().map_err(|error| refusal(error.into()))?;
        tell(format!("starting {}", command.program.display()));
        let mut giving = Giving::start(command).await.map_err(|error| refusal(error.into()))?;
        let successor = Successor { process: giving.pid(), version: giving.version.clone() };
        let Successor { process, version } = &successor;
        tell(format!("process {process} (perijove {version}) starts beside this one"));
        if let Err(error) = giving.until_ready(gifts, wanted.within).await {
            giving.end().await;
            return Err(refusal(error.into()));
        }
        if let Some(hub) = &self.hub
            && !hub.save().await
        {
            giving.end().await;
            return Err(Refusal::new(
                "the state of a notebook cannot be saved, so that a new process would not know it\n\
                 hint: the log says why; is the disk full?",
            ));
        }
        tell(format!("process {process} is ready: handing over"));
        match self.hand_over(&mut giving).await {
            Ok(()) => {
                giving.let_go();
                self.leave(*process);
                Ok(successor)
            }
            Err(error) => {
                giving.end().await;
                self.open_hub_again().await;
                self.services.begin_only_ones(&self.source, &self.plan);
                self.board.watch(&self.applications, &self.services);
                Err(refusal(error.into()))
            }
        }
    }

    /// The program that lies on the disk now, started as this one was.
    fn successor(&self, wanted: &Upgrade) -> Result<Command, Refusal> {
        if rustix::process::getpid().is_init() {
            return Err(Refusal::new(
                "this is process 1 of its container, which ends with it\nhint: run it below an init \
                 (`docker run --init`), or put a new container in the place of this one",
            ));
        }
        if io::stdout().is_terminal() {
            tracing::warn!(
                "the number of the process changes: its shell will say that it has ended"
            );
        }
        let invocation = self.source.environment.invocation();
        let program = wanted.executable.as_ref().or(invocation.program.as_ref());
        let program = program.ok_or_else(|| {
            Refusal::new("it is not known where this program lies\nhint: name it with --executable")
        })?;
        let mut command = Command::new(program).arguments(invocation.arguments.clone());
        command.environment = self.source.environment.pairs().collect();
        command.folder = Some(self.source.folder.clone());
        Ok(command)
    }

    /// Copies of all that the new process goes on with.
    fn gifts(&self) -> io::Result<Gifts> {
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        let mut promise = Promise {
            old: ProcessIdentity::own(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: self.source.generation + 1,
            closing_time: self.services.longest_end().as_secs(),
            pid_file: self.pid_file.as_ref().map(|file| file.path().to_owned()),
            before: self.before.iter().filter(|old| old.is_running()).cloned().collect(),
            listeners: Vec::new(),
            locks: Vec::new(),
        };
        for Handed { name, socket, file } in self.listeners.hand()? {
            promise.listeners.push(PromisedListener { name, file });
            descriptors.push(socket);
        }
        if let Some(lock) = &self.lock {
            promise.locks.push(PromisedLock::Runtime(self.plan.folders.runtime.clone()));
            descriptors.push(lock.descriptor()?);
        }
        if let Some(hub) = &self.hub {
            promise.locks.push(PromisedLock::State(self.plan.folders.state.clone()));
            descriptors.push(hub.share_lock()?.descriptor()?);
        }
        Ok(Gifts { promise, descriptors })
    }

    /// From here on no notebook is launched or stopped: who wishes it waits. Daemons without a socket
    /// rest, so that there are never two of a kind.
    async fn hand_over(&mut self, giving: &mut Giving) -> Result<(), NotTaken> {
        self.services.end_only_ones().await;
        self.hall.close();
        if let Some(hub) = &self.hub
            && !hub.close().await
        {
            let reason = "the state of a notebook was not saved in time".to_owned();
            return Err(NotTaken::Failed { reason });
        }
        giving.hand_over().await
    }

    /// The new process is the one now. This one only finishes what is under way.
    fn leave(&mut self, successor: u32) {
        self.notify.replaced_by(successor);
        self.listeners.leave(self.plan.limits.upgrade_time.0);
        if let Some(hub) = &self.hub {
            hub.leave();
        }
        self.hall.leave();
        self.lock = None;
        // The new one looks at the files now.
        self.watched.send_replace(None);
        if let Some(file) = self.pid_file.take() {
            file.leave();
        }
    }

    /// The new process has failed after this one had closed its hub.
    async fn open_hub_again(&mut self) {
        if let (Some(closed), Some(notebook)) = (self.hub.take(), self.plan.notebook.clone()) {
            let routes = self.roads.site.clone();
            let upstreams = routes::used(&self.plan.site, &self.upstreams).cloned();
            let opened = match closed.share_lock() {
                Ok(lock) => Hub::follow(notebook, routes, upstreams, lock).await,
                Err(source) => {
                    let path = self.plan.folders.state.display().to_string();
                    Err(OpenError::Io { path, source })
                }
            };
            match opened {
                Ok(hub) => self.hub = Some(Arc::new(hub)),
                Err(error) => tracing::error!(
                    %error,
                    "notebooks cannot be looked after any more; hint: restart perijove"
                ),
            }
            self.run_hub();
            closed.give_way();
        }
        self.hall.open(self.hub.as_ref().map(|hub| hub.service()));
    }

    /// This process has taken over from another.
    pub(super) fn take_place(&mut self, inheritance: Inheritance) {
        let Inheritance { old, version, pid_file, before, .. } = inheritance;
        if let Some(file) = pid_file.filter(|file| self.plan.pid_file.as_ref() != Some(file)) {
            // One that stays names a process that has ended.
            fs::remove_file(file).ok();
        }
        self.listeners.own();
        self.sockets.remove_unwanted();
        if let Some(Err(error)) = self.lock.as_ref().map(crate::folders::Lock::note) {
            tracing::warn!(%error, "the lock names another process");
        }
        tracing::info!(process = old.pid, version, "took over");
        self.services.begin_only_ones(&self.source, &self.plan);
        self.watch();
        self.before = before;
        self.before.push(old);
    }

    /// What is done first at the end.
    pub(super) fn depart(&self, end: End) {
        match end {
            End::Replaced => tracing::info!("replaced: requests under way are finished"),
            End::Stopped => {
                tracing::info!("stopping: requests under way are finished first");
                self.notify.stopping();
                let runtime = self.plan.folders.runtime.clone();
                let (board, over) = (self.board.clone(), self.stop.clone());
                self.tracker.spawn(super::ending::tell(board, runtime, over));
                self.end_those_before();
            }
        }
    }

    /// Those that were replaced may still finish what is under way. All are told by the one that
    /// serves: one in between may have ended long before.
    fn end_those_before(&self) {
        for error in self.before.iter().filter_map(|old| old.terminate().err()) {
            tracing::warn!(%error, "a process before could not be told to end");
        }
    }

    /// Waits until somebody wants the end now. One that was replaced has much time, until somebody
    /// wants its end at all.
    pub(super) async fn until_hurried(&self, wanted: &mut mpsc::Receiver<Intent>) {
        if self.lock.is_none() {
            until_stopped_at_last(wanted, self.access_log.as_ref()).await;
            let drain_time = self.plan.limits.drain_time.0;
            // In time or not, the end comes now.
            timeout(drain_time, until_hurried(wanted)).await.ok();
        } else {
            until_hurried(wanted).await;
        }
    }
}

/// Tells how an upgrade went, and says whether another process serves now.
pub(super) fn tell_upgraded(
    upgraded: Result<Successor, Refusal>,
    asked: Option<Asked>,
) -> Option<End> {
    let answer = match upgraded {
        Ok(Successor { process, version }) => Ok(json!({
            "process": process,
            "version": version,
            "replaced": {
                "process": std::process::id(),
                "version": env!("CARGO_PKG_VERSION"),
            },
        })),
        Err(refusal) => {
            tracing::error!("not upgraded, this process goes on: {}", refusal.text);
            Err(refusal)
        }
    };
    let is_replaced = answer.is_ok();
    if let Some(asked) = asked {
        asked.end(answer);
    }
    is_replaced.then_some(End::Replaced)
}

fn refusal(error: Box<dyn std::error::Error + Send + Sync>) -> Refusal {
    Failure::new(Kind::Other, error).into()
}
