//! The command: reads the configuration, builds the site, runs it.
//!
//! This library exists for the program and its tests: its Rust interface promises nothing.

use std::{ffi::OsString, process::ExitCode};

mod berth;
mod cli;
pub mod config;
mod control;
mod failure;
mod folders;
mod handover;
#[cfg(target_os = "linux")]
mod linux;
mod logging;
mod notify;
mod pid_file;
#[cfg(not(target_os = "linux"))]
mod portable;
mod signals;
mod site;
mod terminal;
mod usage;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use portable as system;

pub use failure::{Failure, Kind};

/// Runs one command, with its name as the first argument.
///
/// # Errors
/// When the command could not do what was asked.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Failure> {
    cli::run(arguments.into_iter().collect())
}
