//! The native driver: our extension inside the application's interpreter, spoken to in frames.

mod health;
mod hello;

use std::{io, path::Path};

use perijove_gateway::{Protocol, Secret};
use perijove_process::{Input, ParentDeath};

use super::{
    Address, Launch, Ready, Seat,
    start_up::{command, start_up},
};
use crate::Plan;

/// A worker that is never without a next request saves a wake-up for each; more than this would
/// only wait there instead of in line.
const SMALLEST_CAPACITY: usize = 64;

pub(super) fn launch(plan: &Plan, number: u64, seat: Seat) -> io::Result<Launch> {
    let (address, listener) = Address::bound(plan, number)?;
    let secret = secret()?;
    let mut command = command(plan, None, listener);
    // The end of that input means that this program is gone.
    command.input = Input::Open(start_up(plan, Some(&secret), Some(seat))?);
    // Nobody is left to answer to.
    command.parent_death = ParentDeath::Kills;
    Ok(Launch {
        command,
        protocol: Protocol::Frames { secret: Secret::new(secret), takes_websockets: false },
        address,
        capacity: Some(SMALLEST_CAPACITY.max(plan.threads * 2)),
        scratch: None,
    })
}

/// Waits for as long as the application takes to be loaded, then asks the site how it is.
pub(super) async fn ready(socket: &Path, secret: &str, health: Option<&str>) -> io::Result<Ready> {
    let (mut stream, greeting) = hello::greet(socket, secret).await?;
    if let Some(path) = health {
        health::ask(&mut stream, path).await?;
    }
    // How many threads there are is known; how many requests one of ASGI takes, it says itself.
    let capacity = greeting.is_asgi.then_some(greeting.at_once);
    Ok(Ready { is_loaded: true, capacity, takes_websockets: greeting.is_asgi })
}

/// 128 random bits in hexadecimal: what opens a connection to one worker.
fn secret() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
