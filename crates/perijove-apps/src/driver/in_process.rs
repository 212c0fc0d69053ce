//! Servers that are a module of Python run in a process of ours for each worker: wsgiref, gevent
//! and uvicorn.

use std::io;

use perijove_gateway::Protocol;
use perijove_process::{Input, ParentDeath};

use super::{
    Address, Launch, Seat,
    start_up::{command, start_up},
};
use crate::Plan;

/// `capacity`: what one process takes at once.
pub(super) fn launch(
    plan: &Plan,
    (number, seat): (u64, Seat),
    server: &str,
    capacity: Option<usize>,
) -> io::Result<Launch> {
    let (address, listener) = Address::bound(plan, number)?;
    let mut command = command(plan, Some(server), listener);
    command.input = Input::Closed(start_up(plan, None, Some(seat))?);
    // Nobody is left to answer to.
    command.parent_death = ParentDeath::Kills;
    Ok(Launch { command, protocol: Protocol::Http1, address, capacity, scratch: None })
}
