//! `perijove check`.

use std::process::ExitCode;

use clap::Args;

use super::ConfigArguments;
use crate::{Failure, config::Plan};

/// Tell whether the configuration is right, and what it means
///
/// Nothing is started and nothing is changed. All mistakes are told at once.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print what the configuration means
    #[arg(long)]
    explain: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let (environment, folder) = super::surroundings()?;
    let plan = Plan::load(&arguments.config.flags(), &environment, &folder)?;
    // What is right may still be weak.
    for weakness in plan.notebook.iter().flat_map(perijove_hub::weaknesses) {
        super::warn(&weakness);
    }
    if arguments.explain {
        return super::print(&plan.explain());
    }
    super::print("the configuration is right\n")
}
