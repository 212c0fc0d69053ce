//! Finds the interpreter of an application, and asks it who it is.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use perijove_process::{CaptureError, Command, How};
use serde::Deserialize;
use thiserror::Error;

/// Printed by the interpreter; nothing of the site is imported.
const QUESTION: &str = "\
import json, sys, sysconfig
print(json.dumps({
    'implementation': sys.implementation.name,
    'version': list(sys.version_info[:3]),
    'executable': sys.executable or '',
    'is_free_threaded': bool(sysconfig.get_config_var('Py_GIL_DISABLED')),
}))
";
/// A cold disk may be slow.
const ANSWER: Duration = Duration::from_secs(30);
/// The oldest version that the worker's extension can be loaded by.
const OLDEST: [u32; 2] = [3, 10];

/// Where an interpreter may be.
#[derive(Clone, Debug, Default)]
pub struct Places<'a> {
    /// What is configured: an interpreter, or the folder of a virtual environment or of a conda
    /// prefix. Nothing else is looked at then.
    pub named: Option<&'a Path>,
    /// The folder of the site, where `.venv` and `venv` are looked for.
    pub root: Option<&'a Path>,
    /// Prefixes in use, such as `$VIRTUAL_ENV` and `$CONDA_PREFIX`.
    pub prefixes: &'a [PathBuf],
    /// `$PATH`, where `python3` is looked for.
    pub path: Option<&'a OsStr>,
}

/// An interpreter that workers can run in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    pub path: PathBuf,
    /// Such as 3.12.1.
    pub version: [u32; 3],
}

/// Why there is no interpreter to run workers in.
#[derive(Debug, Error)]
pub enum PythonError {
    #[error("there is no Python at {}", path.display())]
    Missing { path: PathBuf },
    #[error("there is no Python")]
    NoneFound,
    #[error("could not run {}", path.display())]
    Run { path: PathBuf, source: CaptureError },
    #[error("{} does not work as a Python ({how}): {said}", path.display())]
    Broken { path: PathBuf, how: How, said: String },
    #[error("{} is Python {version}, and 3.10 is the oldest that will do", path.display())]
    Old { path: PathBuf, version: String },
    #[error("{} is {implementation}, not CPython", path.display())]
    Foreign { path: PathBuf, implementation: String },
    #[error("{} is a free-threaded Python", path.display())]
    FreeThreaded { path: PathBuf },
}

impl PythonError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "make a virtual environment there: `python3 -m venv .venv`",
            Self::NoneFound | Self::Old { .. } => {
                "install CPython 3.10 or later, or name one in `site.python`; a site in another \
                 language is served with `site.upstream`"
            }
            Self::Run { .. } | Self::Broken { .. } => {
                "a virtual environment breaks when the Python it was made with goes: make it anew, \
                 or name another one in `site.python`"
            }
            Self::Foreign { .. } | Self::FreeThreaded { .. } => {
                "name an ordinary CPython 3.10 or later in `site.python`, or start the site with a \
                 server of its own and name that in `site.upstream`"
            }
        }
    }
}

/// Finds the interpreter; whether it will do is for [`check`] to say.
pub fn find(places: &Places<'_>) -> Result<PathBuf, PythonError> {
    if let Some(named) = places.named {
        let path = if named.is_dir() { named.join("bin/python") } else { named.to_owned() };
        return if is_program(&path) { Ok(path) } else { Err(PythonError::Missing { path }) };
    }
    let near = places.root.into_iter().flat_map(|root| [root.join(".venv"), root.join("venv")]);
    let prefixes = near.chain(places.prefixes.iter().cloned());
    let path = places.path.unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    prefixes
        .map(|prefix| prefix.join("bin/python"))
        .chain(std::env::split_paths(path).map(|folder| folder.join("python3")))
        .find(|path| path.is_absolute() && is_program(path))
        .ok_or(PythonError::NoneFound)
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[derive(Deserialize)]
struct Answer {
    implementation: String,
    version: [u32; 3],
    executable: PathBuf,
    is_free_threaded: bool,
}

/// Asks an interpreter who it is, and says whether workers can run in it.
pub async fn check(
    path: &Path,
    environment: &BTreeMap<OsString, OsString>,
) -> Result<Python, PythonError> {
    let mut command = Command::new(path).arguments(["-I", "-c", QUESTION]);
    command.environment.clone_from(environment);
    command.folder = Some("/".into());
    let answer = command
        .capture(ANSWER)
        .await
        .map_err(|source| PythonError::Run { path: path.to_owned(), source })?;
    let said = serde_json::from_str(answer.stdout.trim());
    match (answer.how, said) {
        (How::Exited(0), Ok(said)) => judge(path, said),
        (how, _) => {
            let said = answer.stderr.lines().next_back().unwrap_or("it said nothing").to_owned();
            Err(PythonError::Broken { path: path.to_owned(), how, said })
        }
    }
}

fn judge(path: &Path, answer: Answer) -> Result<Python, PythonError> {
    let path = path.to_owned();
    if answer.implementation != "cpython" {
        return Err(PythonError::Foreign { path, implementation: answer.implementation });
    }
    let [major, minor, patch] = answer.version;
    if [major, minor] < OLDEST {
        return Err(PythonError::Old { path, version: format!("{major}.{minor}.{patch}") });
    }
    if answer.is_free_threaded {
        return Err(PythonError::FreeThreaded { path });
    }
    // What was found may be a script that looks for the interpreter each time.
    let is_usable = answer.executable.is_absolute() && is_program(&answer.executable);
    let path = if is_usable { answer.executable } else { path };
    Ok(Python { path, version: answer.version })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check_judgement(implementation: &str, version: [u32; 3], free: bool, expected: &str) {
        let answer = Answer {
            implementation: implementation.to_owned(),
            version,
            executable: PathBuf::new(),
            is_free_threaded: free,
        };
        let got = match judge(Path::new("/py"), answer) {
            Ok(python) => format!("{python:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn only_an_ordinary_cpython_will_do() {
        let fine = r#"Python { path: "/py", version: [3, 10, 0] }"#;
        check_judgement("cpython", [3, 10, 0], false, fine);
        let old = "/py is Python 3.9.18, and 3.10 is the oldest that will do";
        check_judgement("cpython", [3, 9, 18], false, old);
        check_judgement("cpython", [3, 14, 0], true, "/py is a free-threaded Python");
        check_judgement("pypy", [3, 10, 0], false, "/py is pypy, not CPython");
    }

    /// Programs in a folder, and which of them is found.
    fn check_found(programs: &[&str], named: Option<&str>, expected: Result<&str, &str>) {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for program in programs {
            fs::create_dir_all(at(program).parent().unwrap()).unwrap();
            fs::write(at(program), "").unwrap();
            fs::set_permissions(at(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir_all(at("empty")).unwrap();
        let found = find(&Places {
            named: named.map(at).as_deref(),
            root: Some(&at("site")),
            prefixes: &[at("active")],
            path: Some(&std::env::join_paths([at("empty"), at("usr/bin")]).unwrap()),
        });
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, at(expected)),
            (Err(error), Err(expected)) => assert!(error.to_string().starts_with(expected)),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn the_nearest_is_found() {
        let all =
            ["usr/bin/python3", "active/bin/python", "site/venv/bin/python", "conda/bin/python"];
        check_found(&all, None, Ok("site/venv/bin/python"));
        check_found(&all[..2], None, Ok("active/bin/python"));
        check_found(&all[..1], None, Ok("usr/bin/python3"));
        check_found(&[], None, Err("there is no Python"));
        check_found(&all, Some("conda"), Ok("conda/bin/python"));
        check_found(&all, Some("usr/bin/python3"), Ok("usr/bin/python3"));
        check_found(&all, Some("empty"), Err("there is no Python at "));
        check_found(&all, Some("nowhere"), Err("there is no Python at "));
    }
}
