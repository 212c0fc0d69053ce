//! Any program that listens where it is told: at `{socket}`, else at the port in `{port}` and
//! `$PORT`.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use perijove_gateway::Protocol;
use perijove_process::ParentDeath;

use super::{Address, Launch, Scratch, start_up::in_the_site};
use crate::{CommandLine, Plan};

pub(super) fn launch(plan: &Plan, line: &CommandLine, number: u64) -> io::Result<Launch> {
    let (address, scratch) = address(plan, line, number)?;
    let environment = environment(plan, &address);
    let words = words(plan, line, &address, &environment);
    let (name, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
    let program = find(plan, name, environment.get(OsStr::new("PATH")))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no {name}")))?;
    let mut command = in_the_site(plan, &program).arguments(arguments);
    command.environment = environment;
    command.parent_death = ParentDeath::Terminates;
    Ok(Launch { command, protocol: Protocol::Http1, address, capacity: None, scratch })
}

/// Where it listens. Another account makes its socket in a folder of its own, which is removed after
/// the socket.
fn address(plan: &Plan, line: &CommandLine, number: u64) -> io::Result<(Address, Option<Scratch>)> {
    Ok(match &plan.account {
        _ if !line.has("socket") => (Address::free_port()?, None),
        None => (Address::named(plan, number)?, None),
        Some(account) => {
            let folder = Scratch::of(account)?;
            (Address::named_in(folder.path(), account.uid)?, Some(folder))
        }
    })
}

/// The program that a command names, unless there is none.
pub(super) fn program(plan: &Plan, line: &CommandLine) -> Result<PathBuf, String> {
    // Where it will listen does not matter yet.
    let address = Address::Loopback(0);
    let environment = environment(plan, &address);
    let words = words(plan, line, &address, &environment);
    let name = words.into_iter().next().unwrap_or_default();
    find(plan, &name, environment.get(OsStr::new("PATH"))).ok_or(name)
}

fn words(
    plan: &Plan,
    line: &CommandLine,
    address: &Address,
    environment: &BTreeMap<OsString, OsString>,
) -> Vec<String> {
    let text = |(name, value): (&OsString, &OsString)| {
        Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
    };
    let variables = environment.iter().filter_map(text).collect();
    let place = |name: &str| match (name, address) {
        ("socket", Address::Unix { socket, .. }) => Some(socket.path().display().to_string()),
        ("port", Address::Loopback(port)) => Some(port.to_string()),
        ("host", Address::Loopback(_)) => Some("127.0.0.1".to_owned()),
        ("python", _) => Some(plan.python.display().to_string()),
        ("app", _) => Some(plan.application.to_string()),
        ("root", _) => Some(plan.root.display().to_string()),
        _ => None,
    };
    line.filled(place, &variables)
}

/// That of workers, with the programs of the site's Python first, as in a virtual environment that
/// was activated.
fn environment(plan: &Plan, address: &Address) -> BTreeMap<OsString, OsString> {
    let mut environment = plan.environment.clone();
    let programs = plan.python.parent().map(Path::to_owned);
    let path = environment.get(OsStr::new("PATH")).cloned();
    let path = path.as_deref().unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    let all = programs.iter().cloned().chain(std::env::split_paths(path));
    if let Ok(path) = std::env::join_paths(all) {
        environment.insert("PATH".into(), path);
    }
    let home = programs.as_deref().and_then(Path::parent);
    if let Some(home) = home.filter(|home| home.join("pyvenv.cfg").is_file()) {
        environment.insert("VIRTUAL_ENV".into(), home.into());
    }
    if let Address::Loopback(port) = address {
        environment.insert("PORT".into(), port.to_string().into());
    }
    environment
}

/// A name with a slash is looked for in the site's folder, any other one on the path.
fn find(plan: &Plan, name: &str, path: Option<&OsString>) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        let found = path
            .metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
        path.is_absolute() && found
    };
    if name.contains('/') {
        return Some(plan.root.join(name)).filter(is_program);
    }
    let folders = path.map(std::env::split_paths).into_iter().flatten();
    folders.map(|folder| folder.join(name)).find(is_program)
}
