//! The message by which a process of our Python package is told what to do, and the command that
//! starts one.

use std::{io, os::fd::OwnedFd, path::Path};

use perijove_process::Command;
use serde::Serialize;

use crate::{Application, Interface, Plan};

/// The number under which it gets its listening socket.
pub(super) const SOCKET: i32 = 3;

/// What it reads, as one line on its standard input.
#[derive(Serialize)]
struct StartUp<'a> {
    version: &'static str,
    socket: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    app: Option<&'a str>,
    interface: Interface,
    root: &'a str,
    threads: usize,
    ini: Option<&'a str>,
    workers: usize,
    arguments: &'a [String],
    /// In seconds.
    deadlock_time: f64,
    concurrency: usize,
    websocket_message: usize,
}

/// The start-up message, a line. `secret` opens connections that are spoken in frames.
pub(super) fn start_up(plan: &Plan, secret: Option<&str>) -> io::Result<Vec<u8>> {
    let (app, ini) = match &plan.application {
        Application::Module(name) => (Some(name.as_str()), None),
        Application::Ini(path) => (None, Some(text(path)?)),
    };
    let mut line = serde_json::to_vec(&StartUp {
        version: env!("CARGO_PKG_VERSION"),
        socket: SOCKET,
        secret,
        app,
        interface: plan.interface,
        root: text(&plan.root)?,
        threads: plan.threads,
        ini,
        workers: plan.workers,
        arguments: &plan.server_arguments,
        deadlock_time: plan.deadlock_time.as_secs_f64(),
        concurrency: plan.asgi.concurrency,
        websocket_message: plan.asgi.websocket_message,
    })?;
    line.push(b'\n');
    Ok(line)
}

fn text(path: &Path) -> io::Result<&str> {
    let message = "the name of the site's folder is not UTF-8";
    path.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// A process of our package; without a server, the native worker.
pub(super) fn command(plan: &Plan, server: Option<&str>, listener: OwnedFd) -> Command {
    let mut command = Command::new(&plan.python)
        .arguments([plan.package.join("worker/__main__.py")])
        .arguments(server);
    command.environment.clone_from(&plan.environment);
    command.folder = Some(plan.root.clone());
    command.descriptors = vec![(listener, SOCKET)];
    // Keys pressed in a terminal are for this program only, and all that a worker started ends
    // when it must.
    command.is_session = true;
    command
}
