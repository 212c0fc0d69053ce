//! `perijove reload`.

use std::process::ExitCode;

use clap::Args;

use super::ConfigArguments;
use crate::{Failure, Kind};

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
    let last = running.follow("/reload", None)?;
    if last.get("reloaded").is_none() {
        let what = "the running perijove ended before the new version served";
        return Err(Failure::new(Kind::Other, what).hint("its log says why"));
    }
    super::print("reloaded\n")
}
