//! `perijove reload`.

use std::{io::Write, process::ExitCode};

use clap::Args;
use serde_json::Value;

use super::ConfigArguments;
use crate::{Failure, Kind, terminal::harmless};

/// Take over a changed configuration, certificates and application
///
/// The new version is started beside the old one and takes over when it is ready, answers its
/// health address and stays up; no request is refused meanwhile. Returns when it serves. When it
/// cannot, the old one goes on serving, and the reason is told, also by `perijove status`.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let running = super::Running::find(arguments.config)?;
    let last = running.follow("POST", "/reload", tell_step)?;
    if last.get("reloaded").is_none() {
        let what = "the running perijove ended before the new version served";
        return Err(Failure::new(Kind::Other, what).hint("its log says why"));
    }
    super::print("reloaded\n")
}

/// Tells a step on standard error: standard output is for the outcome.
fn tell_step(line: &Value) {
    if let Some(step) = line.get("step").and_then(Value::as_str) {
        // Nobody is left to tell when standard error is closed.
        drop(writeln!(std::io::stderr(), "{}", harmless(step)));
    }
}
