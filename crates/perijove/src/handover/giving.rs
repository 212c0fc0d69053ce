//! The old process's side: starts the new one, and gives it everything.

use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    time::Duration,
};

use perijove_process::{Command, How, Successor};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use super::{DESCRIPTOR, FromNew, FromOld, PROTOCOL, Promise, VARIABLE, channel::Channel};

/// From the start of a program to its first word: one of ours says it at once.
const FIRST_WORD: Duration = Duration::from_secs(20);
/// From `yours` to `taken`: the new one opens its hub meanwhile.
const TAKING: Duration = Duration::from_secs(30);
/// For one that has failed to end by itself.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// Why the new process does not take over.
#[derive(Debug, Error)]
pub(crate) enum NotTaken {
    #[error("{}: {source}", program.display())]
    Start { program: PathBuf, source: std::io::Error },
    #[error("{} could not be started", program.display())]
    Refused { program: PathBuf, source: perijove_process::SpawnError },
    #[error("the new process ended before it was ready ({how}); what it said stands in the log")]
    Ended { how: How },
    #[error("{} does not answer as a perijove that can take over", program.display())]
    Stranger { program: PathBuf },
    #[error("the new one speaks another version of the handover ({protocol}, this one {PROTOCOL})")]
    Protocol { protocol: u32 },
    #[error("{reason}")]
    Failed { reason: String },
    #[error("the new process was not ready after {} seconds", within.as_secs())]
    Late { within: Duration },
    #[error("the new process could not be talked to")]
    Talk(#[source] std::io::Error),
}

/// A process that is about to take over. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Giving {
    process: Successor,
    channel: Channel,
    program: PathBuf,
    /// What it says of itself.
    pub(crate) version: String,
}

/// A descriptor for every listener and lock of the promise.
pub(crate) struct Gifts {
    pub(crate) promise: Promise,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Giving {
    /// Starts the program and waits for its first word.
    pub(crate) async fn start(mut command: Command) -> Result<Self, NotTaken> {
        let program = command.program.clone();
        let talk = |source| NotTaken::Start { program: program.clone(), source };
        let (ours, theirs) = UnixStream::pair().map_err(talk)?;
        let channel = Channel::new(ours).map_err(talk)?;
        command.descriptors.push((theirs.into(), DESCRIPTOR));
        command.environment.insert(VARIABLE.into(), DESCRIPTOR.to_string().into());
        let process = Successor::start(command)
            .map_err(|source| NotTaken::Refused { program: program.clone(), source })?;
        let mut giving = Self { process, channel, program, version: String::new() };
        match giving.hear(Instant::now() + FIRST_WORD).await {
            Ok(FromNew::Hello { protocol: PROTOCOL, version }) => {
                giving.version = version;
                Ok(giving)
            }
            Ok(FromNew::Hello { protocol, .. }) => {
                giving.end().await;
                Err(NotTaken::Protocol { protocol })
            }
            Ok(_) | Err(NotTaken::Late { .. } | NotTaken::Talk(_)) => {
                let program = giving.program.clone();
                giving.end().await;
                Err(NotTaken::Stranger { program })
            }
            Err(error) => {
                giving.end().await;
                Err(error)
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Promises everything, and waits until the new process has built what can be built beside.
    pub(crate) async fn until_ready(
        &mut self,
        gifts: Gifts,
        within: Duration,
    ) -> Result<(), NotTaken> {
        let descriptors: Vec<_> = gifts.descriptors.iter().map(AsFd::as_fd).collect();
        let promise = FromOld::Promise(gifts.promise);
        self.channel.send(&promise, &descriptors).await.map_err(NotTaken::Talk)?;
        match self.hear(Instant::now() + within).await {
            Ok(FromNew::Ready) => Ok(()),
            Ok(FromNew::Failed { reason }) => Err(NotTaken::Failed { reason }),
            Ok(_) => Err(NotTaken::Stranger { program: self.program.clone() }),
            Err(NotTaken::Late { .. }) => Err(NotTaken::Late { within }),
            Err(error) => Err(error),
        }
    }

    /// Says that it is the new one's now, and waits until that has taken it.
    pub(crate) async fn hand_over(&mut self) -> Result<(), NotTaken> {
        self.channel.send(&FromOld::Yours, &[]).await.map_err(NotTaken::Talk)?;
        match self.hear(Instant::now() + TAKING).await {
            Ok(FromNew::Taken) => Ok(()),
            Ok(FromNew::Failed { reason }) => Err(NotTaken::Failed { reason }),
            Ok(_) => Err(NotTaken::Stranger { program: self.program.clone() }),
            Err(NotTaken::Late { .. }) => Err(NotTaken::Late { within: TAKING }),
            Err(error) => Err(error),
        }
    }

    /// The next word of the new process.
    async fn hear(&mut self, deadline: Instant) -> Result<FromNew, NotTaken> {
        let said = timeout_at(deadline, self.channel.receive()).await;
        match said {
            Err(_) => Err(NotTaken::Late { within: Duration::ZERO }),
            Ok(Ok(Some(said))) => Ok(said),
            Ok(Err(error)) => Err(NotTaken::Talk(error)),
            // It has closed its end, as it does when it ends.
            Ok(Ok(None)) => match timeout_at(deadline, self.process.ended()).await {
                Ok(how) => Err(NotTaken::Ended { how }),
                Err(_) => Err(NotTaken::Late { within: Duration::ZERO }),
            },
        }
    }

    /// The new process is gone on return: nothing it does can meet what the old one does now.
    pub(crate) async fn end(self) {
        drop(self.channel);
        self.process.end(LAST_MOMENT).await;
    }

    /// It is on its own.
    pub(crate) fn let_go(self) {
        self.process.let_go();
    }
}
