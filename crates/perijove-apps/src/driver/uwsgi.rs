//! uWSGI: one process of its own that runs its workers, spoken to in HTTP at a socket that it makes
//! itself. Variables `UWSGI_…` and arguments rank above what we choose here.

use std::{ffi::OsStr, io};

use perijove_gateway::Protocol;
use perijove_process::ParentDeath;

use super::{
    Address, Launch,
    scratch::{self, Scratch},
    server::beside,
    start_up::{entry, in_the_site},
};
use crate::Plan;

/// Switches, and options with what they are set to.
const ALWAYS: [&str; 10] = [
    "--master",
    "--need-app",
    // Those that are left when the first process is killed end too.
    "--no-orphans",
    "--enable-threads",
    "--single-interpreter",
    // By default SIGTERM means a reload to it.
    "--hook-master-start=unix_signal:15 gracefully_kill_them_all",
    "--chmod-socket=600",
    // A head of more than 4 KiB is not strange.
    "--buffer-size=65535",
    // The gateway has the access log.
    "--disable-logging",
    "--callable=application",
];

/// Ways to name its processes, of which the last one counts.
const NAMES: [&str; 4] =
    ["procname", "procname-master", "procname-prefix", "procname-prefix-spaced"];

pub(super) fn launch(plan: &Plan, number: u64) -> io::Result<Launch> {
    let (address, folder) = place(plan, number)?;
    let file = folder.path().join("application.py");
    scratch::write(&file, &entry(plan)?)?;
    let mut command = in_the_site(plan, &beside(&plan.python, "uwsgi"))
        .arguments(wishes(plan))
        .arguments([format!("--wsgi-file={}", file.display())]);
    if let Some(home) = home(plan) {
        command = command.arguments([format!("--home={home}")]);
    }
    if let Address::Unix { socket, .. } = &address {
        command = command.arguments([format!("--http-socket={}", socket.path().display())]);
    }
    if let Some(account) = command.account.take() {
        // It takes the account itself, before it makes its socket.
        let names = [("uid", account.uid), ("gid", account.gid)];
        command = command.arguments(names.map(|(name, number)| format!("--{name}={number}")));
    }
    command = command.arguments(&plan.server_arguments);
    // Asked to end while it starts, it would start again; its workers end with it.
    command.parent_death = ParentDeath::Kills;
    // What it takes at once depends on what it is configured to: it says so when it is ready.
    Ok(Launch {
        command,
        protocol: Protocol::Http1,
        address,
        capacity: None,
        scratch: Some(folder),
    })
}

/// Where it listens, and where what it loads lies: with another account, both in a folder of that.
fn place(plan: &Plan, number: u64) -> io::Result<(Address, Scratch)> {
    let Some(account) = &plan.account else {
        return Ok((Address::named(plan, number)?, Scratch::folder(plan, number, false)?));
    };
    let folder = Scratch::of(account)?;
    Ok((Address::named_in(folder.path(), account.uid)?, folder))
}

/// What we choose, without what a variable chooses: uWSGI itself would let the argument win.
fn wishes(plan: &Plan) -> impl Iterator<Item = String> {
    let numbers = [("processes", plan.workers), ("threads", plan.threads)];
    let numbers = numbers.map(|(name, number)| format!("--{name}={number}"));
    let names = [format!("--procname-prefix-spaced={}", plan.name), "--auto-procname".to_owned()];
    let is_chosen = |name: &str| {
        let variable = format!("UWSGI_{}", name.to_uppercase().replace('-', "_"));
        plan.environment.contains_key(OsStr::new(&variable))
    };
    let is_named = NAMES.iter().any(|name| is_chosen(name));
    ALWAYS.map(str::to_owned).into_iter().chain(numbers).chain(names).filter(move |argument| {
        let name = argument.trim_start_matches("--").split('=').next().unwrap_or_default();
        let is_one_of_theirs = is_named && NAMES.contains(&name);
        !(is_chosen(name) || is_one_of_theirs || name == "processes" && is_chosen("workers"))
    })
}

/// The virtual environment of the interpreter, which uWSGI does not find by itself.
fn home(plan: &Plan) -> Option<String> {
    let home = plan.python.parent()?.parent()?;
    home.join("pyvenv.cfg").is_file().then(|| home.display().to_string())
}
