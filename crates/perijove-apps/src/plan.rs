//! What an application needs to run, checked and resolved.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf, time::Duration};

use perijove_process::Account;
use serde::Serialize;

use crate::CommandLine;

/// An application and how it is run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub application: Application,
    /// What its processes are called by the system.
    pub name: String,
    /// The folder of the site, which workers run in.
    pub root: PathBuf,
    /// The interpreter, as [`python::find`](crate::python::find) returns it.
    pub python: PathBuf,
    /// The folder of our Python package, as [`package::find`](crate::package::find) returns it.
    pub package: PathBuf,
    pub driver: Driver,
    /// Further arguments of the driver's server, as its own command line takes them.
    pub server_arguments: Vec<String>,
    /// Whether a server that is missing is installed into the interpreter's environment.
    pub install: bool,
    /// Processes; at least one.
    pub workers: usize,
    /// Threads of each.
    pub threads: usize,
    pub interface: Interface,
    pub asgi: Asgi,
    /// The complete environment of workers, as [`of_workers`](crate::of_workers) returns it.
    pub environment: BTreeMap<OsString, OsString>,
    /// What workers run as; `None`: as this program.
    pub account: Option<Account>,
    /// Which permissions their files do not get; `None`: as this program's.
    pub umask: Option<u32>,
    /// A folder of our own for the sockets of workers. What else lies there is removed.
    pub sockets: PathBuf,
    /// A path that must answer 2xx before a worker is published.
    pub health: Option<String>,
    /// How long the application may take to be loaded, and to be well.
    pub start_time: Duration,
    /// How long requests under way may go on when workers are replaced.
    pub drain_time: Duration,
    /// How long websockets and other upgraded connections may go on when workers are replaced.
    pub websocket_time: Duration,
    /// How long a new worker must stay up before it replaces an old one.
    pub probation: Duration,
    /// A native worker in which no Python has run for so long is ended; zero is never.
    pub deadlock_time: Duration,
    /// A request that is inside the application for so long has its stack in the log; zero is never.
    pub request_time: Duration,
    /// After so long an exception is raised in it, or its task is cancelled; zero is never.
    pub interrupt_time: Duration,
    pub rollout: Rollout,
    pub recycling: Recycling,
}

/// How new workers replace old ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rollout {
    /// Together where memory allows a second set of workers, else one by one.
    #[default]
    Auto,
    /// All new ones are started beside the old ones, and exchanged at once.
    Together,
    /// One new worker is started, then an old one ended, and so on.
    OneByOne,
}

/// When a worker that is well is replaced by a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recycling {
    /// After so many requests.
    pub requests: Option<u64>,
    /// At most so many more, by chance, so that not all are replaced at once.
    pub jitter: u64,
    pub age: Option<Duration>,
    /// Bytes of memory, what is shared divided among those who share it.
    pub memory: Option<u64>,
    /// Time on processors.
    pub cpu: Option<Duration>,
    /// Without a request, after it has had some.
    pub idle: Option<Duration>,
}

/// What a worker loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Application {
    /// `module:callable` or `module:factory()`.
    Module(String),
    /// A `PasteDeploy` INI file.
    Ini(PathBuf),
    /// Nothing that we know of: this command loads it.
    Command(String),
}

impl fmt::Display for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(text) | Self::Command(text) => f.write_str(text),
            Self::Ini(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How an application is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// As it looks when it is loaded.
    #[default]
    Auto,
    Wsgi,
    Asgi,
}

/// How much an application of ASGI is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asgi {
    /// Requests and websockets that one process carries at once, at most 4095.
    pub concurrency: usize,
    /// Bytes of a websocket's message.
    pub websocket_message: usize,
}

impl Default for Asgi {
    fn default() -> Self {
        Self { concurrency: 1000, websocket_message: 16 << 20 }
    }
}

/// How workers are started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// Our own extension inside the application's interpreter.
    #[default]
    Native,
    /// The standard library's server: a request at a time in each process.
    Wsgiref,
    Gevent,
    Gunicorn,
    Uwsgi,
    /// mod_wsgi-express, with an Apache of its own.
    ModWsgi,
    Uvicorn,
    /// Any program that listens where it is told.
    Command(CommandLine),
}

impl Driver {
    /// Its name, as it is written in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Wsgiref => "wsgiref",
            Self::Gevent => "gevent",
            Self::Gunicorn => "gunicorn",
            Self::Uwsgi => "uwsgi",
            Self::ModWsgi => "mod_wsgi",
            Self::Uvicorn => "uvicorn",
            Self::Command(_) => "command",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(line) => write!(f, "{line}"),
            _ => f.write_str(self.name()),
        }
    }
}
