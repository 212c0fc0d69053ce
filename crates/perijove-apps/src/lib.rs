//! Python applications of perijove: which workers to run, when to replace them.
//!
//! It must not know of people and their notebooks, nor carry a request: it edits the gateway's
//! upstreams and watches processes.

mod app;
mod command_line;
pub mod discover;
mod driver;
mod environment;
pub mod package;
mod plan;
pub mod python;
mod worker;
pub mod workers;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
use portable as system;

pub use app::{App, Prepared, Stacks, StartError, Status, Step, Tell};
pub use command_line::{CommandLine, CommandLineError};
pub use driver::ServerError;
pub use environment::of_workers;
pub use plan::{Application, Asgi, Driver, Interface, Plan, Recycling, Rollout};
pub use worker::{Failure, Phase, WorkerStatus};
