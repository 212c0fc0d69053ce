//! mod_wsgi-express: an Apache of its own, which listens on a port of this machine, since Apache
//! knows no Unix sockets. Started by root, it runs the application as another account.

pub(super) mod account;

use std::{io, path::Path};

use perijove_gateway::Protocol;
use perijove_process::ParentDeath;

use super::{
    Address, Launch,
    scratch::{self, Scratch},
    server::beside,
    start_up::{entry, in_the_site},
};
use crate::Plan;
use account::Names;

pub(super) fn launch(plan: &Plan, number: u64) -> io::Result<Launch> {
    let address = Address::free_port()?;
    let account = account::wanted(plan)?;
    let folder = Scratch::folder(plan, number, account.is_some())?;
    let file = folder.path().join("application.py");
    scratch::write(&file, &entry(plan)?)?;
    let mut command = in_the_site(plan, &plan.python)
        .arguments([beside(&plan.python, "mod_wsgi-express")])
        .arguments(["start-server".into(), file.into_os_string()])
        .arguments(options(plan, &address, folder.path()));
    if let Some(Names { user, group }) = account {
        command = command.arguments(["--user".to_owned(), user, "--group".to_owned(), group]);
    }
    command = command.arguments(&plan.server_arguments);
    // Apache takes the account itself, when it has opened what it needs.
    command.account = None;
    command.parent_death = ParentDeath::Terminates;
    let scratch = Some(folder);
    Ok(Launch { command, protocol: Protocol::Http1, address, capacity: None, scratch })
}

fn options(plan: &Plan, address: &Address, folder: &Path) -> Vec<String> {
    let port = match address {
        Address::Loopback(port) => port.to_string(),
        Address::Unix { .. } => String::new(),
    };
    let pairs = [
        ("--host", "127.0.0.1".to_owned()),
        ("--port", port),
        ("--server-root", folder.display().to_string()),
        ("--working-directory", plan.root.display().to_string()),
        ("--processes", plan.workers.to_string()),
        ("--threads", plan.threads.to_string()),
        // These are the gateway's to limit.
        ("--limit-request-body", "0".to_owned()),
        ("--startup-timeout", plan.start_time.as_secs().max(1).to_string()),
        ("--locale", "C.UTF-8".to_owned()),
        ("--process-name", plan.name.clone()),
    ];
    let switches = ["--log-to-terminal", "--chunked-request", "--disable-reloading"];
    let pairs = pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    pairs.chain(switches.map(str::to_owned)).collect()
}
