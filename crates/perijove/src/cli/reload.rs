//! `perijove reload`.

use std::process::ExitCode;

use clap::Args;

use super::ConfigArguments;
use crate::Failure;

/// Take over a changed configuration, certificates and application
///
/// Returns when the new version serves. When it cannot, the old one goes on serving, and the reason
/// is told.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    super::Running::find(arguments.config)?.ask("POST", "/reload", None)?;
    super::print("reloaded\n")
}
