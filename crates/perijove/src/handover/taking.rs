//! The new process's side: builds what it can beside the old one, and takes over.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use perijove_gateway::ListenAddress;
use perijove_process::ProcessIdentity;
use tokio::time::timeout;

use super::{FromNew, FromOld, PROTOCOL, Promise, PromisedLock, VARIABLE, channel::Channel};
use crate::{
    config::layers::Environment,
    failure::{Failure, Kind},
    system,
};

/// For the old process to say the next word. It closes its hub meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);
/// For an old process that has closed its end of the socket pair to be gone. Less than it waits for
/// this one to end, where it goes on.
const LAST_BREATH: Duration = Duration::from_secs(3);

/// The old process, while it has not handed over.
#[derive(Debug)]
pub(crate) struct Taking {
    channel: Channel,
    pub(crate) inheritance: Inheritance,
}

/// What was promised, until each thing is taken.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub(crate) old: ProcessIdentity,
    /// Of the old program.
    pub(crate) version: String,
    pub(crate) generation: u64,
    closing_time: Duration,
    pub(crate) pid_file: Option<PathBuf>,
    /// What the old process has replaced itself, and what was replaced before that.
    pub(crate) before: Vec<ProcessIdentity>,
    listeners: Vec<(String, Option<PathBuf>, OwnedFd)>,
    locks: Vec<(PromisedLock, OwnedFd)>,
}

impl Taking {
    /// Meets the old process, if there is one, and hears what it promises.
    pub(crate) async fn meet(environment: &Environment) -> Result<Option<Self>, Failure> {
        let Some(number) = environment.get(VARIABLE).and_then(|number| number.parse().ok()) else {
            return Ok(None);
        };
        let stream = system::take_stream(number)
            .ok_or_else(|| failed("what was handed over is no socket of an old process"))?;
        let mut channel = Channel::new(stream).map_err(|error| failed(&error.to_string()))?;
        let hello =
            FromNew::Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() };
        let talked = async {
            channel.send(&hello, &[]).await?;
            channel.receive::<FromOld>().await
        };
        let heard = timeout(PATIENCE, talked).await;
        let Ok(Ok(Some(FromOld::Promise(promise)))) = heard else {
            return Err(failed("the old process promises nothing"));
        };
        let inheritance = Inheritance::read(promise, &mut channel)
            .ok_or_else(|| failed("the old process has promised more than it gave"))?;
        Ok(Some(Self { channel, inheritance }))
    }

    /// Everything that can be built beside the old one is built: waits until it is this one's. An old
    /// one that is gone has left it to this one.
    pub(crate) async fn until_ours(&mut self) -> Result<(), Failure> {
        let talked = async {
            // Whether it is heard is seen by the answer.
            drop(self.channel.send(&FromNew::Ready, &[]).await);
            self.channel.receive::<FromOld>().await
        };
        match timeout(PATIENCE + self.inheritance.closing_time, talked).await {
            Ok(Ok(Some(FromOld::Yours))) => Ok(()),
            Ok(Ok(None)) if self.is_alone().await => {
                tracing::warn!("the old process is gone: taking over");
                Ok(())
            }
            _ => Err(failed("the old process keeps what it has")),
        }
    }

    /// Whether the old process, which says nothing any more, has ended. Its sockets are closed a
    /// moment before that shows: the more of them, the longer it takes.
    async fn is_alone(&self) -> bool {
        self.inheritance.old.has_ended(LAST_BREATH).await
    }

    /// Tells the old process that this one is the hub now.
    pub(crate) async fn taken(mut self) -> Result<Inheritance, Failure> {
        let told = self.channel.send(&FromNew::Taken, &[]).await;
        if told.is_err() && !self.is_alone().await {
            return Err(failed("the old process waits no more, and goes on"));
        }
        Ok(self.inheritance)
    }
}

/// Tells the old process, if there is one, that this one does not take over, and why.
pub(crate) async fn give_up(taking: Option<Taking>, failure: Failure) -> Failure {
    if let Some(mut taking) = taking {
        let reason = failure.text().trim_start_matches("error: ").to_owned();
        // When it does not hear, it sees that this one has ended.
        taking.channel.send(&FromNew::Failed { reason }, &[]).await.ok();
    }
    failure
}

impl Inheritance {
    fn read(promise: Promise, channel: &mut Channel) -> Option<Self> {
        let mut listeners = Vec::new();
        for listener in promise.listeners {
            listeners.push((listener.name, listener.file, channel.descriptor()?));
        }
        let mut locks = Vec::new();
        for lock in promise.locks {
            locks.push((lock, channel.descriptor()?));
        }
        let Promise { old, version, generation, closing_time, pid_file, before, .. } = promise;
        let closing_time = Duration::from_secs(closing_time);
        Some(Self { old, version, generation, closing_time, pid_file, before, listeners, locks })
    }

    /// The listeners of the old process, by their names.
    pub(crate) fn listeners(&mut self) -> Vec<(String, ListenAddress)> {
        let address = |(name, file, socket)| (name, ListenAddress::Handed { socket, file });
        self.listeners.drain(..).map(address).collect()
    }

    /// The lock of the runtime folder, if it is this one.
    pub(crate) fn runtime_lock(&mut self, folder: &Path) -> Option<OwnedFd> {
        self.lock(&PromisedLock::Runtime(folder.to_owned()))
    }

    /// The lock of the state folder, if it is this one.
    pub(crate) fn state_lock(&mut self, folder: &Path) -> Option<OwnedFd> {
        self.lock(&PromisedLock::State(folder.to_owned()))
    }

    fn lock(&mut self, wanted: &PromisedLock) -> Option<OwnedFd> {
        let at = self.locks.iter().position(|(lock, _)| lock == wanted)?;
        Some(self.locks.remove(at).1)
    }
}

fn failed(what: &str) -> Failure {
    Failure::new(Kind::Other, what)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream, process::Command, time::Duration};

    use perijove_process::ProcessIdentity;

    use super::{Channel, Inheritance, Taking};

    /// One that has heard the promise of an old process.
    fn taking(old: ProcessIdentity) -> (Taking, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let inheritance = Inheritance {
            old,
            version: "1".to_owned(),
            generation: 1,
            closing_time: Duration::ZERO,
            pid_file: None,
            before: Vec::new(),
            listeners: Vec::new(),
            locks: Vec::new(),
        };
        (Taking { channel: Channel::new(ours).unwrap(), inheritance }, theirs)
    }

    /// The kernel closes the sockets of a process that was killed before its end is known.
    #[tokio::test]
    async fn an_old_process_that_is_about_to_be_gone_has_left_everything() {
        let mut old = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = ProcessIdentity::of(old.id().cast_signed()).unwrap();
        let (mut new, theirs) = taking(identity);
        drop(theirs);
        let dying = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            old.kill().unwrap();
        };
        let (taken, ()) = tokio::join!(new.until_ours(), dying);
        assert!(taken.is_ok(), "{taken:?}");
        // Nobody is left who could mind.
        assert!(new.taken().await.is_ok());
        old.wait().unwrap();
    }

    #[tokio::test]
    async fn an_old_process_that_goes_on_without_us_keeps_what_it_has() {
        let (mut new, theirs) = taking(ProcessIdentity::own());
        drop(theirs);
        assert!(new.until_ours().await.is_err());
        let (new, theirs) = taking(ProcessIdentity::own());
        drop(theirs);
        assert!(new.taken().await.is_err());
    }
}
