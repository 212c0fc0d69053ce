//! `perijove init`.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use crate::{Failure, Kind};

/// Write a perijove.toml and the smallest site
///
/// Files that are there already are left as they are.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The folder, made if it is not there
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
}

/// What is written, by its path.
const FILES: [(&str, &str); 3] = [
    ("perijove.toml", include_str!("init/perijove.toml")),
    ("app.py", include_str!("init/app.py")),
    ("public/style.css", include_str!("init/style.css")),
];

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut told = Vec::new();
    for (name, content) in FILES {
        let path = arguments.folder.join(name);
        let did = match write_new(&path, content) {
            Ok(()) => "wrote",
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => "kept",
            Err(source) => return Err(Failure::new(Kind::Other, InitError { path, source })),
        };
        told.push(format!("{did} {}", path.display()));
    }
    told.push(match &arguments.folder {
        here if here == Path::new(".") => "now: perijove serve\n".to_owned(),
        there => format!("now: perijove serve --config {}\n", there.display()),
    });
    super::print(&told.join("\n"))
}

fn write_new(path: &Path, content: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create_new(path)?.write_all(content.as_bytes())
}

#[derive(Debug, thiserror::Error)]
#[error("could not write {}", path.display())]
struct InitError {
    path: PathBuf,
    source: io::Error,
}
