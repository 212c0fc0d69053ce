//! The native driver: our extension inside the application's interpreter, spoken to in frames.

mod health;
mod hello;

use std::{io, os::fd::OwnedFd, path::Path};

use perijove_gateway::{Protocol, Secret};
use perijove_process::{Command, Input, ParentDeath};
use serde::Serialize;

use super::Launch;
use crate::{Application, Plan};

/// The number under which a worker gets its listening socket.
const SOCKET: i32 = 3;
/// A worker that is never without a next request saves a wake-up for each; more than this would
/// only wait there instead of in line.
const SMALLEST_CAPACITY: usize = 64;

/// What a worker reads, as one line on its standard input. The end of that input means that this
/// program is gone.
#[derive(Serialize)]
struct StartUp<'a> {
    version: &'static str,
    socket: i32,
    secret: &'a str,
    app: Option<&'a str>,
    interface: &'static str,
    root: &'a str,
    threads: usize,
    ini: Option<&'a str>,
}

pub(super) fn launch(plan: &Plan, listener: OwnedFd) -> io::Result<Launch> {
    let secret = secret()?;
    let mut start_up = serde_json::to_vec(&start_up(plan, &secret)?)?;
    start_up.push(b'\n');
    let mut command =
        Command::new(&plan.python).arguments([plan.package.join("worker/__main__.py")]);
    command.environment.clone_from(&plan.environment);
    command.folder = Some(plan.root.clone());
    command.input = Input::Open(start_up);
    command.descriptors = vec![(listener, SOCKET)];
    // Nobody is left to answer to.
    command.parent_death = ParentDeath::Kills;
    // Keys pressed in a terminal are for this program only, and all that a worker started ends
    // when it must.
    command.is_session = true;
    Ok(Launch {
        command,
        protocol: Protocol::Frames { secret: Secret::new(secret) },
        capacity: Some(SMALLEST_CAPACITY.max(plan.threads * 2)),
    })
}

/// Waits for as long as the application takes to be loaded, then asks the site how it is.
pub(super) async fn ready(socket: &Path, secret: &str, health: Option<&str>) -> io::Result<()> {
    let mut stream = hello::greet(socket, secret).await?;
    match health {
        Some(path) => health::ask(&mut stream, path).await,
        None => Ok(()),
    }
}

fn start_up<'a>(plan: &'a Plan, secret: &'a str) -> io::Result<StartUp<'a>> {
    let text = |path: &'a Path| {
        let message = "the name of the site's folder is not UTF-8";
        path.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, message))
    };
    let (app, ini) = match &plan.application {
        Application::Module(name) => (Some(name.as_str()), None),
        Application::Ini(path) => (None, Some(text(path)?)),
    };
    Ok(StartUp {
        version: env!("CARGO_PKG_VERSION"),
        socket: SOCKET,
        secret,
        app,
        interface: "wsgi",
        root: text(&plan.root)?,
        threads: plan.threads,
        ini,
    })
}

/// 128 random bits in hexadecimal: what opens a connection to one worker.
fn secret() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
