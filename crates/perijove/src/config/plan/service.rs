//! Daemons beside the site.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use perijove_process::Account;

use super::{Check, account::account};
use crate::config::{Config, Service};

/// A daemon beside the site. Two that are equal need no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServicePlan {
    pub(crate) name: String,
    /// Program and arguments, `{socket}` not filled in yet.
    pub(crate) words: Vec<String>,
    pub(crate) folder: PathBuf,
    /// Beside what the site's workers have.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) has_socket: bool,
    pub(crate) account: Option<Account>,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) is_before: bool,
    pub(crate) start_time: Duration,
    pub(crate) stop_time: Duration,
    /// The script as it lies there now: where it really is, when it was changed.
    script: Option<(PathBuf, Option<SystemTime>)>,
}

/// Letters of a name.
const LONGEST_NAME: usize = 64;

pub(super) fn decide(config: &Config, root: &Path, check: &mut Check<'_>) -> Vec<ServicePlan> {
    let all = config.service.iter().enumerate();
    let found = all.filter_map(|(at, service)| one(at, service, config, root, check)).collect();
    for (at, route) in config.route.iter().enumerate() {
        let Some(name) = &route.service else { continue };
        let what = match config.service.iter().find(|service| service.name == *name) {
            None => format!("there is no service {name:?}"),
            Some(service) if !service.socket => format!("the service {name:?} has no socket"),
            Some(_) => continue,
        };
        check.wrong(&format!("route[{at}].service"), what, "`socket = true` gives it one");
    }
    found
}

fn one(
    at: usize,
    service: &Service,
    config: &Config,
    root: &Path,
    check: &mut Check<'_>,
) -> Option<ServicePlan> {
    let key = |name: &str| format!("service[{at}].{name}");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let name = &service.name;
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_plain) {
        let what = format!("{name:?} is no name of a service");
        check.wrong(&key("name"), what, "letters, digits, `-` and `_`, at most 64");
    } else if config.service.iter().take(at).any(|other| other.name == *name) {
        check.wrong(&key("name"), format!("there is a service {name:?} already"), "");
    }
    check.not_zero(service.start_time.0, &key("start-time"));
    let folder = service.folder.as_ref().map_or_else(|| root.to_owned(), |path| root.join(path));
    if service.folder.is_some() && !folder.is_dir() {
        check.wrong(&key("folder"), format!("there is no folder {}", folder.display()), "");
    }
    let script = service.script.as_ref().map(|script| root.join(script));
    let words = words(at, service, (root, script.as_deref()), config, check)?;
    let account = account(
        (service.user.as_deref().or(config.site.user.as_deref()), &key("user")),
        service.group.as_deref().or(config.site.group.as_deref()),
        check,
    );
    Some(ServicePlan {
        name: name.clone(),
        words,
        folder,
        environment: service.environment.clone(),
        has_socket: service.socket,
        account,
        log_file: service.log_file.as_ref().map(|file| check.layers.folder.join(file)),
        is_before: service.before,
        start_time: service.start_time.0,
        stop_time: service.stop_time.0,
        script: script.map(|script| {
            let changed = script.metadata().and_then(|found| found.modified()).ok();
            (script.canonicalize().unwrap_or(script), changed)
        }),
    })
}

/// What is run: the script, or the command.
fn words(
    at: usize,
    service: &Service,
    (root, script): (&Path, Option<&Path>),
    config: &Config,
    check: &mut Check<'_>,
) -> Option<Vec<String>> {
    let key = format!("service[{at}]");
    let needs_python = script.is_some() || service.command.iter().any(|w| w.contains("{python}"));
    let python = if needs_python {
        let key = format!("{key}.script");
        let found = super::site::python(config.site.python.as_deref(), &key, root, check)?;
        found.display().to_string()
    } else {
        String::new()
    };
    match (script, service.command.split_first()) {
        (Some(script), None) => {
            if !script.is_file() {
                let what = format!("there is no file {}", script.display());
                check.wrong(&format!("{key}.script"), what, "");
                return None;
            }
            let words = [python, script.display().to_string()].into_iter();
            Some(words.chain(service.arguments.iter().cloned()).collect())
        }
        (None, Some((program, arguments))) => {
            let program = found_on_path(&program.replace("{python}", &python), root, check);
            let Some(program) = program else {
                let what = format!("there is no program {program:?}");
                check.absent(&format!("{key}.command"), what, "is it installed, and on the path?");
                return None;
            };
            let arguments = arguments.iter().map(|word| word.replace("{python}", &python));
            Some(std::iter::once(program).chain(arguments).collect())
        }
        _ => {
            check.wrong(&key, "needs either `script` or `command`", "");
            None
        }
    }
}

/// The absolute path of a program.
fn found_on_path(program: &str, root: &Path, check: &Check<'_>) -> Option<String> {
    let found = if program.contains('/') {
        Some(root.join(program)).filter(|path| path.is_file())
    } else {
        let path = check.environment.get("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin");
        std::env::split_paths(path).map(|folder| folder.join(program)).find(|path| path.is_file())
    };
    found.map(|path| path.display().to_string())
}
