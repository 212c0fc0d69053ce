//! `perijove upgrade`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::{Value, json};

use super::ConfigArguments;
use crate::{Failure, Kind};

/// Put a new process of perijove in the place of the running one, without closing a socket
///
/// The program that lies on the disk now is started with the same arguments and environment, beside
/// the running one. When its workers are ready it takes over the listening sockets and the notebooks;
/// the old process finishes what is under way and ends. The number of the process changes. When the new
/// one cannot take over, the old one goes on as before, and the reason is told.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Another program than the one that was started
    #[arg(long, value_name = "FILE")]
    executable: Option<PathBuf>,
    /// How long the new process may take until it is ready, in seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    within: u64,
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let (_, folder) = super::surroundings()?;
    let executable = arguments.executable.map(|path| folder.join(path));
    let running = super::Running::find(arguments.config)?;
    let body = json!({ "executable": executable, "within": arguments.within });
    let last = running.follow("/upgrade", Some(&body))?;
    let (Some(process), Some(version)) = (last.get("process"), text(&last, "/version")) else {
        let what = "the running perijove ended before the new one took over";
        return Err(Failure::new(Kind::Other, what).hint("its log says why"));
    };
    let old = last.pointer("/replaced/process").map(Value::to_string).unwrap_or_default();
    let before = text(&last, "/replaced/version").unwrap_or_default();
    super::print(&format!(
        "upgraded: process {process} (perijove {version}) has taken over from process {old} \
         (perijove {before})\n"
    ))
}

fn text<'a>(value: &'a Value, at: &str) -> Option<&'a str> {
    value.pointer(at).and_then(Value::as_str)
}
