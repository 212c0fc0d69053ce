//! How a worker is started, reached and known to be ready. A driver is one file, and says of one
//! instance of its server: which command starts it, where it listens, how many requests it takes at
//! once, and (in the command) by which signal it is told to finish.

mod address;
mod gunicorn;
mod native;
mod question;
mod start_up;

use std::io;

use perijove_gateway::{Protocol, Secret};
use perijove_process::Command;

use crate::{Driver, Plan};

pub(crate) use address::Address;
pub(crate) use question::Ready;

/// What a driver says of one instance.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) command: Command,
    pub(crate) protocol: Protocol,
    pub(crate) address: Address,
    /// Requests at once; `None`: as many as come, unless the server says otherwise when it is
    /// ready.
    pub(crate) capacity: Option<usize>,
}

/// How many instances run: servers that run processes of their own are one, whatever they run.
pub(crate) fn instances(plan: &Plan) -> usize {
    match plan.driver {
        Driver::Native => plan.workers.max(1),
        Driver::Gunicorn => 1,
    }
}

/// How to start an instance. `number` was not used before.
pub(crate) fn launch(plan: &Plan, number: u64) -> io::Result<Launch> {
    match plan.driver {
        Driver::Native => native::launch(plan, number),
        Driver::Gunicorn => gunicorn::launch(plan, number),
    }
}

/// Returns when an instance is ready to be asked, and fails when it cannot be reached or its health
/// address says that it is not well. An instance whose application is still being loaded makes this
/// wait.
pub(crate) async fn ready(
    plan: &Plan,
    protocol: &Protocol,
    address: &Address,
) -> io::Result<Ready> {
    match (protocol, address) {
        (Protocol::Frames { secret, .. }, Address::Unix(socket)) => {
            native::ready(socket.path(), Secret::reveal(secret), plan.health.as_deref()).await
        }
        _ => question::ready(address, plan.health.as_deref()).await,
    }
}
