//! `perijove stop`.

use std::{
    io::{self, Write},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use perijove_process::ProcessIdentity;
use serde_json::json;

use super::ConfigArguments;
use crate::{Failure, Kind, site::ending};

/// Stop the running one; notebooks go on running
///
/// Requests under way are finished first, and it is told what is waited for. The command returns
/// when the program has ended. A second one hastens the end.
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

/// What ends sooner needs no words.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let running = super::Running::find(arguments.config)?;
    let runtime = &running.folders.runtime;
    let process = crate::folders::holder(runtime).and_then(ProcessIdentity::of);
    if let Err(refused) = running.ask("POST", "/stop", Some(&json!({ "now": arguments.now }))) {
        // One that is stopping already listens no more: it hears signals, and hurries.
        let stopping = ending::read(runtime).filter(|_| crate::folders::is_locked(runtime));
        let identity = stopping.and_then(|left| i32::try_from(left.process).ok());
        let Some(Ok(())) = identity.and_then(ProcessIdentity::of).map(|one| one.terminate()) else {
            return Err(refused);
        };
        eprintln("it is stopping already: now at once");
    }
    let mut told = None;
    let since = Instant::now();
    let deadline = since + Duration::from_secs(arguments.within);
    let is_running = || process.as_ref().is_some_and(ProcessIdentity::is_running);
    while crate::folders::is_locked(runtime) || is_running() {
        if Instant::now() > deadline {
            let what = format!("it still runs after {} seconds", arguments.within);
            return Err(
                Failure::new(Kind::Busy, what).hint("`perijove stop --now` ends it at once")
            );
        }
        let left = ending::read(runtime);
        if left != told && left.is_some() && since.elapsed() > PATIENCE {
            left.inspect(|left| eprintln(&format!("waiting: {left}")));
            told = left;
        }
        thread::sleep(Duration::from_millis(20));
    }
    super::print("stopped\n")
}

/// Tells people what goes on; who does not listen misses nothing.
fn eprintln(line: &str) {
    io::stderr().lock().write_all(format!("{line}\n").as_bytes()).ok();
}
