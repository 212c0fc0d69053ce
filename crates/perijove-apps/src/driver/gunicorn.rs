//! gunicorn: one process of its own that runs its workers. Its configuration file,
//! `GUNICORN_CMD_ARGS` and arguments are read by itself and rank above what we would choose, but
//! for where it listens.

use std::io;

use perijove_gateway::Protocol;
use perijove_process::{Input, ParentDeath};

use super::{
    Address, Launch,
    start_up::{command, start_up},
};
use crate::Plan;

pub(super) fn launch(plan: &Plan, number: u64) -> io::Result<Launch> {
    let (address, listener) = Address::bound(plan, number)?;
    let mut command = command(plan, Some("gunicorn"), listener);
    command.input = Input::Closed(start_up(plan, None, None)?);
    // Its first process ends the others; they end by themselves when it is killed.
    command.parent_death = ParentDeath::Terminates;
    // What it takes at once depends on what it is configured to: it says so when it is ready.
    Ok(Launch { command, protocol: Protocol::Http1, address, capacity: None, scratch: None })
}
