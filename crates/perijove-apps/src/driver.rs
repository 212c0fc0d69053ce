//! How a worker is started, reached and known to be ready. A driver is one file, and says of one
//! instance of its server: which command starts it, where it listens, and how many requests it
//! takes at once. Each is started so that SIGTERM tells it to finish.

mod address;
mod apache;
mod command;
mod gevent;
mod gunicorn;
mod in_process;

mod native;
mod question;
mod scratch;
mod server;
mod start_up;
mod uvicorn;
mod uwsgi;
mod wsgiref;

use std::io;

use perijove_gateway::{Protocol, Secret};
use perijove_process::Command;

use crate::{Driver, Plan};

pub(crate) use address::Address;
pub(crate) use question::Ready;
pub(crate) use scratch::Scratch;
pub use server::ServerError;
pub(crate) use server::prepare;
pub(crate) use start_up::Seat;

/// What a driver says of one instance.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) command: Command,
    pub(crate) protocol: Protocol,
    pub(crate) address: Address,
    /// Requests at once; `None`: as many as come, unless the server says otherwise when it is
    /// ready.
    pub(crate) capacity: Option<usize>,
    /// What it needs beside its socket.
    pub(crate) scratch: Option<Scratch>,
}

/// How many instances run: servers that run processes of their own are one, whatever they run.
pub(crate) fn instances(plan: &Plan) -> usize {
    match plan.driver {
        Driver::Native
        | Driver::Wsgiref
        | Driver::Gevent
        | Driver::Uvicorn
        | Driver::Command(_) => plan.workers.max(1),
        Driver::Gunicorn | Driver::Uwsgi | Driver::ModWsgi => 1,
    }
}

/// How to start an instance. `number` was not used before; `seat` is that of the one it replaces.
pub(crate) fn launch(plan: &Plan, number: u64, seat: Seat) -> io::Result<Launch> {
    match &plan.driver {
        Driver::Native => native::launch(plan, number, seat),
        Driver::Wsgiref => wsgiref::launch(plan, number, seat),
        Driver::Gevent => gevent::launch(plan, number, seat),
        Driver::Gunicorn => gunicorn::launch(plan, number),
        Driver::Uwsgi => uwsgi::launch(plan, number),
        Driver::ModWsgi => apache::launch(plan, number),
        Driver::Uvicorn => uvicorn::launch(plan, number, seat),
        Driver::Command(line) => command::launch(plan, line, number),
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
        (Protocol::Frames { secret, .. }, Address::Unix { socket, .. }) => {
            native::ready(socket.path(), Secret::reveal(secret), plan.health.as_deref()).await
        }
        _ => question::ready(address, plan.health.as_deref()).await,
    }
}
