//! `perijove man`.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use clap_mangen::Man;

use crate::{Failure, Kind};

/// Print the manual page
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Write a page for each command into this folder instead
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let definition = super::definition();
    if let Some(folder) = &arguments.folder {
        return write_pages(definition, folder)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| Failure::new(Kind::Other, error));
    }
    let mut text = Vec::new();
    Man::new(definition).render(&mut text).map_err(|error| Failure::new(Kind::Other, error))?;
    super::print(&String::from_utf8_lossy(&text))
}

fn write_pages(definition: clap::Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(definition, folder)
}
