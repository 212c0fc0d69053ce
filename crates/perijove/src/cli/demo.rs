//! `perijove demo`.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use crate::{
    Failure, Kind,
    config::{
        layers::{Environment, Flags},
        plan,
    },
    site,
};

mod environment;

/// Serve a site with users, data and notebooks, to try
///
/// Copies the site to a folder and installs what it needs there; the next time both are there.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    listen: Vec<String>,
    /// Where the site is put
    #[arg(long, value_name = "DIR", default_value = "perijove-demo")]
    folder: PathBuf,
    /// The Python that the site's virtual environment is made with
    #[arg(long, value_name = "FILE", default_value = "python3")]
    python: PathBuf,
}

/// Who may log in, told at the end.
const LOGINS: [&str; 2] = [
    "log in as   user / password   or   user2 / password",
    "            guest / password may sign in and gets no notebook",
];

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let (environment, here) = super::surroundings()?;
    let source = find(&environment).ok_or_else(missing)?;
    let folder = here.join(&arguments.folder);
    if !is_new_or_of(&folder, rustix::process::geteuid().as_raw()) {
        let what = format!("{} belongs to somebody else", folder.display());
        return Err(Failure::new(Kind::Unavailable, what)
            .hint("what lies there would run as yours: choose another folder with --folder"));
    }
    copy(&source, &folder).map_err(|error| {
        Failure::new(Kind::Other, error).hint(format!("could not write {}", folder.display()))
    })?;
    environment::make(&folder, &arguments.python)?;
    let flags = Flags { config: Some(folder), listen: arguments.listen, root: None, watch: false };
    site::serve(site::Source::new(flags, environment, here), &LOGINS)
}

fn missing() -> Failure {
    Failure::new(Kind::Unavailable, "the demo site is not beside this program")
        .hint("install perijove with pip: the command alone comes without it")
}

/// Whether a folder is not there yet, or belongs to this account. In a place such as `/tmp` anybody
/// may have put one there, with a site of theirs in it.
fn is_new_or_of(folder: &Path, account: u32) -> bool {
    match fs::metadata(folder) {
        Ok(found) => found.uid() == account,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The demo site: in the package when it is installed, among the examples in a source tree.
fn find(environment: &Environment) -> Option<PathBuf> {
    let package = plan::package(environment).ok()?;
    let installed = package.join("demo");
    let in_source = package.ancestors().nth(2).map(|root| root.join("examples/pyramid-site"));
    Some(installed)
        .into_iter()
        .chain(in_source)
        .find(|folder| folder.join("perijove.toml").is_file())
}

/// Copies a folder; what is there already stays as it is, so that the site may be edited.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_made = matches!(name.to_str(), Some("__pycache__" | "var" | ".venv"));
        let target = to.join(&name);
        if is_made {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if !target.exists() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    #[test]
    fn a_folder_of_somebody_else_is_no_place_for_a_site() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().metadata().unwrap().uid();
        assert!(super::is_new_or_of(folder.path(), own));
        assert!(!super::is_new_or_of(folder.path(), own + 1));
        assert!(super::is_new_or_of(&folder.path().join("new"), own + 1));
    }

    #[test]
    fn what_was_edited_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a/__pycache__")).unwrap();
        fs::write(from.join("a/one"), "new").unwrap();
        fs::write(from.join("a/two"), "new").unwrap();
        fs::create_dir_all(to.join("a")).unwrap();
        fs::write(to.join("a/one"), "mine").unwrap();
        super::copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/one")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(to.join("a/two")).unwrap(), "new");
        assert!(!to.join("a/__pycache__").exists());
    }
}
