//! `perijove completions`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::Failure;

/// Print completions for a shell
///
/// For bash: `source <(perijove completions bash)`.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::definition(), "perijove", &mut text);
    super::print(&String::from_utf8_lossy(&text))
}
