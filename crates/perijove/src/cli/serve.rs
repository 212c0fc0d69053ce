//! `perijove serve`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::ConfigArguments;
use crate::{Failure, config::layers::Flags, site};

/// Serve the site and its notebooks, in the foreground
///
/// Prints `ready:` and the address to standard output once requests are answered. SIGTERM and
/// Ctrl-C finish what is under way, a second one ends at once; SIGHUP reloads.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) config: ConfigArguments,
    /// An address to listen on, such as 127.0.0.1:8000 or <unix:/run/site.sock>; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Vec<String>,
    /// The folder of the site
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// For development: reload when files of the site change, and show in the browser why a version
    /// cannot be loaded; never in production, since that shows source code
    #[arg(long)]
    pub(super) watch: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let (environment, folder) = super::surroundings()?;
    let flags = Flags {
        config: arguments.config.config,
        listen: arguments.listen,
        root: arguments.root,
        watch: arguments.watch,
    };
    site::serve(site::Source::new(flags, environment, folder), &[])
}
