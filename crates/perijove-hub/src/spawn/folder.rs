//! The user's folder as a launch needs it: the startup script, the first notebook.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Place, SpawnError, home::Home};
use crate::{
    config::Plan,
    isolation::tenant,
    notebook::{Name, Notebook},
    record::Launch,
};

/// What is ours in a user's folder.
const OURS: &str = ".perijove";
const STARTUP: &str = "startup.py";

/// Where the script of a launch lies, which every Python kernel runs when it starts.
pub(crate) fn startup_path(folder: &Path, name: &Name) -> PathBuf {
    let ours = folder.join(OURS);
    // The notebooks of one user share their folder, and each has a script of its own.
    let ours = if name.is_first() { ours } else { ours.join(name.as_str()) };
    ours.join(STARTUP)
}

/// What stands for `/tmp` in a notebook: nobody else's.
pub(crate) fn temporary_path(folder: &Path) -> PathBuf {
    folder.join(OURS).join("tmp")
}

/// Makes the user's folder and ours, and writes what a launch brings. It blocks.
pub(crate) fn prepare(
    plan: &Plan,
    place: &Place,
    launch: &Launch,
    notebook: &Notebook,
) -> Result<(), SpawnError> {
    make_folder(&place.state)?;
    let home = enter(plan, launch, notebook)?;
    let told = |what| told(what, &launch.folder);
    let ours = home.below(OURS).map_err(told("could not use what is ours in the folder"))?;
    ours.below("tmp").map_err(told("could not make room for temporary files in the folder"))?;
    let name = &notebook.name;
    let written = if name.is_first() {
        ours.write(STARTUP, launch.context.startup.as_bytes())
    } else {
        let of_name = ours.below(name.as_str());
        of_name.and_then(|ours| ours.write(STARTUP, launch.context.startup.as_bytes()))
    };
    written.map_err(told("could not write the startup script in the folder"))?;
    ensure_in(&home, launch, name)
}

/// Makes the first notebook unless it is there.
pub(crate) fn ensure_notebook(
    plan: &Plan,
    launch: &Launch,
    notebook: &Notebook,
) -> Result<(), SpawnError> {
    ensure_in(&enter(plan, launch, notebook)?, launch, &notebook.name)
}

fn enter(plan: &Plan, launch: &Launch, notebook: &Notebook) -> Result<Home, SpawnError> {
    let tenant = tenant(&plan.isolation, &notebook.user, &launch.folder)?;
    let account = tenant.as_ref().map(|tenant| &tenant.account);
    let above = launch.folder.parent().unwrap_or(&launch.folder);
    Home::enter(&launch.folder, account, &[&plan.state_folder, above])
        .map_err(told("could not use the folder", &launch.folder))
}

/// What a user has done with the first notebook is theirs: it is written whole under another name
/// and then linked, which never replaces a file.
fn ensure_in(home: &Home, launch: &Launch, name: &Name) -> Result<(), SpawnError> {
    let file = launch.file(name);
    if home.has(&file) {
        return Ok(());
    }
    let text = format!("{:#}\n", first_notebook(&launch.context.greeting));
    let made = home.below(OURS).and_then(|ours| {
        let made = ours
            .write_for_good(&file, text.as_bytes())
            .and_then(|()| home.link(&ours, &file, &file));
        ours.remove(&file);
        made
    });
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(told("could not write", &launch.folder.join(&file))(error))
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
    made.map_err(told("could not make the folder", folder))
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

fn told(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpawnError {
    let path = path.display().to_string();
    move |source| SpawnError::File { what, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::{context::LaunchRequest, user::User};

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

    fn prepare_in(folder: &Path, launch: &Launch) -> Result<(), SpawnError> {
        prepare_for(Notebook::first(User::new("ada").unwrap()), folder, launch)
    }

    fn prepare_for(notebook: Notebook, folder: &Path, launch: &Launch) -> Result<(), SpawnError> {
        let around = crate::Surroundings {
            is_alone: false,
            hosts: Vec::new(),
            has_site: true,
            base: folder.into(),
            state_folder: folder.join("state"),
            runtime_folder: folder.join("run"),
            python: Some("/usr/bin/python3".into()),
            package: folder.into(),
            guardian: "/bin/true".into(),
        };
        let plan: Plan = crate::Config::default().resolve(&around).unwrap();
        prepare(&plan, &Place::new(&plan, &notebook), launch, &notebook)
    }

    #[test]
    fn the_folder_holds_what_the_launch_brings() {
        let folder = tempfile::tempdir().unwrap();
        let launch =
            launch(folder.path(), r##"{"startup": "a = 1", "greeting": "# Hi\n\nthere"}"##);
        prepare_in(folder.path(), &launch).unwrap();
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
    fn each_notebook_of_a_user_has_a_first_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let launch = launch(folder.path(), r#"{"greeting": "hello"}"#);
        let name = Name::new("beside").unwrap();
        let notebook = Notebook { user: User::new("ada").unwrap(), name: name.clone() };
        prepare_for(notebook, folder.path(), &launch).unwrap();
        let made = |name: &Name| launch.folder.join(launch.file(name)).is_file();
        assert_eq!((made(&name), made(&Name::first())), (true, false));
        prepare_in(folder.path(), &launch).unwrap();
        assert!(made(&Name::first()));
    }

    #[test]
    fn what_the_user_has_done_stays() {
        let folder = tempfile::tempdir().unwrap();
        let launch = launch(folder.path(), "{}");
        prepare_in(folder.path(), &launch).unwrap();
        fs::write(launch.folder.join(launch.file(&Name::first())), "mine").unwrap();
        prepare_in(folder.path(), &launch).unwrap();
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
        prepare_in(folder.path(), &launch).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&startup).unwrap(), "evil");
    }
}
