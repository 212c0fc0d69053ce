//! The user's folder as a launch needs it: the startup script, the first notebook.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Place, SpawnError, ours};
use crate::{notebook::Name, record::Launch};

/// Where the script of a launch lies, which every Python kernel runs when it starts.
pub(crate) fn startup_path(folder: &Path, name: &Name) -> PathBuf {
    let ours = folder.join(".perijove");
    // The notebooks of one user share their folder, and each has a script of its own.
    let ours = if name.is_first() { ours } else { ours.join(name.as_str()) };
    ours.join("startup.py")
}

/// Makes the user's folder and ours, and writes what a launch brings. It blocks.
pub(crate) fn prepare(place: &Place, launch: &Launch, name: &Name) -> Result<(), SpawnError> {
    make_folder(&place.state)?;
    let startup = startup_path(&launch.folder, name);
    for folder in [&launch.folder, startup.parent().unwrap_or(&launch.folder)] {
        make_folder(folder)?;
        ours::check(folder).map_err(|source| told("could not use the folder", folder, source))?;
    }
    if let Err(source) = replace(&startup, launch.context.startup.as_bytes()) {
        return Err(told("could not write", &startup, source));
    }
    ensure_notebook(launch, name)
}

/// Makes the first notebook unless it is there: what a user has done with it is theirs. It is
/// written whole under another name and then linked, which never replaces a file.
pub(crate) fn ensure_notebook(launch: &Launch, name: &Name) -> Result<(), SpawnError> {
    let file = launch.file(name);
    let path = launch.folder.join(launch.file(&Name::first()));
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    let text = format!("{:#}\n", first_notebook(&launch.context.greeting));
    let ours = launch.folder.join(".perijove");
    make_folder(&ours)?;
    let draft = ours.join(file);
    let made = replace(&draft, text.as_bytes()).and_then(|()| fs::hard_link(&draft, &path));
    fs::remove_file(&draft).ok();
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(told("could not write", &path, error))
        }
        _ => Ok(()),
    }
}

/// nbformat 4.5: the greeting, if there is one, a word on where one is, an empty cell.
fn first_notebook(greeting: &str) -> Value {
    let note = "This notebook runs beside the site, with what the site has given \
                   it. It goes on running when this page is closed; to end it, choose *File → Shut \
                   Down*, or the site's own link for that.";
    let mut cells = Vec::new();
    if !greeting.trim().is_empty() {
        cells.push(markdown("greeting", greeting.trim()));
    }
    cells.push(markdown("note", note));
    cells.push(json!({
        "cell_type": "code", "id": "first", "metadata": {}, "source": [],
        "execution_count": null, "outputs": [],
    }));
    json!({"cells": cells, "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }, "nbformat": 4, "nbformat_minor": 5})
}

fn markdown(id: &str, text: &str) -> Value {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    json!({"cell_type": "markdown", "id": id, "metadata": {}, "source": lines})
}

fn make_folder(folder: &Path) -> Result<(), SpawnError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| told("could not make the folder", folder, source))
}

/// Replaces a file as a whole; a link that stands in its place is replaced, not followed.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = with_ending(path, ".new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        fs::remove_file(&fresh).ok();
        return Err(error);
    }
    fs::rename(&fresh, path)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn told(what: &'static str, path: &Path, source: io::Error) -> SpawnError {
    SpawnError::File { what, path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::{config::Plan, context::LaunchRequest, notebook::Notebook, user::User};

    fn launch(folder: &Path, body: &str) -> Launch {
        let request = LaunchRequest::parse(body.as_bytes()).unwrap();
        Launch {
            context: request.context,
            hash: request.hash,
            folder: folder.join("ada"),
            kill_timeout: 0,
            opens: "x.ipynb".into(),
        }
    }

    fn place(folder: &Path) -> Place {
        let around = crate::Surroundings {
            base: folder.into(),
            state_folder: folder.join("state"),
            runtime_folder: folder.join("run"),
            python: Some("/usr/bin/python3".into()),
            package: folder.into(),
            guardian: "/bin/true".into(),
        };
        let plan: Plan = crate::Config::default().resolve(&around).unwrap();
        Place::new(&plan, &Notebook::first(User::new("ada").unwrap()))
    }

    #[test]
    fn the_folder_holds_what_the_launch_brings() {
        let folder = tempfile::tempdir().unwrap();
        let launch =
            launch(folder.path(), r##"{"startup": "a = 1", "greeting": "# Hi\n\nthere"}"##);
        prepare(&place(folder.path()), &launch, &Name::first()).unwrap();
        let startup = startup_path(&launch.folder, &Name::first());
        assert_eq!(fs::read_to_string(&startup).unwrap(), "a = 1");
        for (path, mode) in [(&startup, 0o600), (&launch.folder, 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
        let text = fs::read_to_string(launch.folder.join(launch.file(&Name::first()))).unwrap();
        let notebook: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(notebook["nbformat"], 4);
        assert_eq!(notebook["cells"][0]["source"], json!(["# Hi\n", "\n", "there"]));
        assert_eq!(notebook["cells"][2]["cell_type"], "code");
    }

    #[test]
    fn what_the_user_has_done_stays() {
        let folder = tempfile::tempdir().unwrap();
        let launch = launch(folder.path(), "{}");
        prepare(&place(folder.path()), &launch, &Name::first()).unwrap();
        fs::write(launch.folder.join(launch.file(&Name::first())), "mine").unwrap();
        prepare(&place(folder.path()), &launch, &Name::first()).unwrap();
        assert_eq!(
            fs::read_to_string(launch.folder.join(launch.file(&Name::first()))).unwrap(),
            "mine"
        );
    }

    #[test]
    fn a_link_in_the_place_of_the_script_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let launch = launch(folder.path(), r#"{"startup": "evil"}"#);
        let startup = startup_path(&launch.folder, &Name::first());
        fs::create_dir_all(startup.parent().unwrap()).unwrap();
        for link in [startup.clone(), with_ending(&startup, ".new")] {
            std::os::unix::fs::symlink(&victim, link).unwrap();
        }
        prepare(&place(folder.path()), &launch, &Name::first()).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&startup).unwrap(), "evil");
    }
}
