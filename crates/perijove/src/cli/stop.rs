//! `perijove stop`.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use perijove_process::ProcessIdentity;
use serde_json::json;

use super::ConfigArguments;
use crate::{Failure, Kind};

/// Stop the running one; notebooks go on running
///
/// Requests under way are finished first. The command returns when the program has ended.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Do not wait for requests under way
    #[arg(long)]
    now: bool,
    /// How long to wait for the end, in seconds
    #[arg(long, default_value_t = 90, value_name = "SECONDS")]
    within: u64,
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let running = super::Running::find(arguments.config)?;
    let runtime = &running.folders.runtime;
    let process = crate::folders::holder(runtime).and_then(ProcessIdentity::of);
    running.ask("POST", "/stop", Some(&json!({ "now": arguments.now })))?;
    let deadline = Instant::now() + Duration::from_secs(arguments.within);
    let is_running = || process.as_ref().is_some_and(ProcessIdentity::is_running);
    while crate::folders::is_locked(runtime) || is_running() {
        if Instant::now() > deadline {
            let what = format!("it still runs after {} seconds", arguments.within);
            return Err(
                Failure::new(Kind::Busy, what).hint("`perijove stop --now` ends it at once")
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
    super::print("stopped\n")
}
