//! The message by which a process of our Python package is told what to do, and how it reaches it:
//! on standard input, or in a file that a server loads.

use std::{io, os::fd::OwnedFd, path::Path};

use perijove_process::Command;
use serde::Serialize;

use crate::{Application, Interface, Plan};

/// The number under which it gets its listening socket.
pub(super) const SOCKET: i32 = 3;

/// The place of a worker among those of its version, from 0 on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat(pub(crate) usize);

/// What it is told.
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
    request_time: f64,
    interrupt_time: f64,
    concurrency: usize,
    websocket_message: usize,
    name: &'a str,
    /// Which worker it is, for the process's name; servers that are not ours name theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<usize>,
}

impl<'a> StartUp<'a> {
    fn of(plan: &'a Plan, secret: Option<&'a str>, seat: Option<Seat>) -> io::Result<Self> {
        let (app, ini) = match &plan.application {
            Application::Module(name) => (Some(name.as_str()), None),
            Application::Ini(path) => (None, Some(text(path)?)),
            Application::Command(_) => (None, None),
        };
        Ok(Self {
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
            request_time: plan.request_time.as_secs_f64(),
            interrupt_time: plan.interrupt_time.as_secs_f64(),
            concurrency: plan.asgi.concurrency,
            websocket_message: plan.asgi.websocket_message,
            name: &plan.name,
            worker: seat.map(|Seat(at)| at + 1),
        })
    }
}

/// The message as one line. `secret` opens connections that are spoken in frames; with a seat the
/// process is named after it.
pub(super) fn start_up(
    plan: &Plan,
    secret: Option<&str>,
    seat: Option<Seat>,
) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&StartUp::of(plan, secret, seat)?)?;
    line.push(b'\n');
    Ok(line)
}

/// The text of a file of Python whose `application` is the application.
pub(super) fn entry(plan: &Plan) -> io::Result<String> {
    let told = serde_json::to_string(&StartUp::of(plan, None, None)?)?;
    // A text of JSON is one of Python, too.
    let start = serde_json::to_string(text(&plan.package.join("worker/__main__.py"))?)?;
    let package = serde_json::to_string(text(&plan.package)?)?;
    let told = serde_json::to_string(&told)?;
    Ok(format!(
        "# Written by perijove for the server that loads it, and removed when that has ended.\n\
         import importlib.util\n\n\
         _spec = importlib.util.spec_from_file_location('perijove_start', {start})\n\
         _start = importlib.util.module_from_spec(_spec)\n\
         _spec.loader.exec_module(_start)\n\
         _start.load_package({package})\n\n\
         from perijove.worker import entry\n\n\
         application = entry.application({told})\n"
    ))
}

fn text(path: &Path) -> io::Result<&str> {
    let message = format!("the name {} is not UTF-8", path.display());
    path.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// A process of our package; without a server, the native worker.
pub(super) fn command(plan: &Plan, server: Option<&str>, listener: OwnedFd) -> Command {
    let mut command =
        in_the_site(plan, &plan.python).arguments([plan.package.join("worker/__main__.py")]);
    command.arguments.extend(server.map(Into::into));
    command.descriptors = vec![(listener, SOCKET)];
    command
}

/// A program that runs in the site's folder, with the environment and the account of workers.
pub(super) fn in_the_site(plan: &Plan, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.environment.clone_from(&plan.environment);
    command.folder = Some(plan.root.clone());
    command.account.clone_from(&plan.account);
    command.umask = plan.umask;
    // Keys pressed in a terminal are for this program only, and all that a worker started ends
    // when it must.
    command.is_session = true;
    command
}
