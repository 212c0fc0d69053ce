//! How one worker is started, reached and known to be ready. A driver answers three questions:
//! which command starts a worker on this Unix socket, how many requests it takes at once, and how
//! it is told to finish (SIGTERM, by all so far).

mod native;

use std::{io, os::fd::OwnedFd, path::Path};

use perijove_gateway::{Protocol, Secret};
use perijove_process::Command;

use crate::{Driver, Plan};

/// What a driver says of one worker.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) command: Command,
    pub(crate) protocol: Protocol,
    /// Requests at once; `None`: as many as come.
    pub(crate) capacity: Option<usize>,
}

/// How to start a worker that is to listen on this socket.
pub(crate) fn launch(plan: &Plan, listener: OwnedFd) -> io::Result<Launch> {
    match plan.driver {
        Driver::Native => native::launch(plan, listener),
    }
}

/// Returns when a worker is ready to be asked, and fails when it cannot be reached or its health
/// address says that it is not well. A worker whose application is still being loaded makes this
/// wait.
pub(crate) async fn ready(plan: &Plan, protocol: &Protocol, socket: &Path) -> io::Result<()> {
    match protocol {
        Protocol::Frames { secret } => {
            native::ready(socket, Secret::reveal(secret), plan.health.as_deref()).await
        }
        Protocol::Http1 => tokio::net::UnixStream::connect(socket).await.map(drop),
    }
}
