//! What the settings leave open, in plain words.

use super::{Keeper, keeper};
use crate::config::Plan;

/// Each weakness that is open with these settings on this machine, with what closes it. It may
/// block for a moment.
pub fn weaknesses(plan: &Plan) -> Vec<String> {
    let isolation = &plan.isolation;
    let mut found = Vec::new();
    let is_root = rustix::process::geteuid().is_root();
    let keeper = keeper(isolation);
    match (&keeper, isolation.run_as.is_some()) {
        (Ok(Keeper::Nobody), false) => found.push(
            "notebooks are kept from nothing: each can read the site's code, its environment with \
             all secrets, the control socket's secret, and the files of every user, and can signal \
             and trace every process of this account; \
             hint: leave `notebook.sandbox` at \"auto\", or set `notebook.run-as`"
                .to_owned(),
        ),
        (Ok(Keeper::Nobody), true) => found.push(
            "notebooks have accounts of their own and no sandbox: each can read what every account \
             of this machine can; hint: leave `notebook.sandbox` at \"auto\""
                .to_owned(),
        ),
        (Ok(Keeper::Landlock(_)), false) => found.push(
            "all notebooks run as one account: each can connect to every Unix socket of that \
             account which asks for no secret, and reach terminals and shared memory of others; \
             hint: set `notebook.run-as`, or `notebook.sandbox = \"bubblewrap\"`"
                .to_owned(),
        ),
        (Ok(_), _) => {}
        (Err(error), _) => {
            found.push(format!("notebooks cannot be started: {error}; hint: {}", error.hint()));
        }
    }
    if let Ok(Keeper::Landlock(version)) = keeper
        && version < 6
        && isolation.run_as.is_none()
    {
        found.push(format!(
            "this kernel's Landlock (version {version}) does not keep a notebook from signalling \
             other processes of its account; hint: Linux 6.12 does, and so does `notebook.run-as`"
        ));
    }
    if is_root && isolation.run_as.is_none() {
        found.push(
            "perijove runs as root, and notebooks with it; hint: set `notebook.run-as`, or start \
             perijove as an account of its own"
                .to_owned(),
        );
    }
    if isolation.wants_group() && perijove_process::group::writable().is_none() {
        found.push(
            "no control group can be written here: the memory of a notebook is limited for each \
             process by itself, its processors not at all; \
             hint: start perijove by systemd with `Delegate=yes`, or as root"
                .to_owned(),
        );
    }
    if isolation.limits.memory.is_none() {
        found.push(
            "one notebook can use all memory of the machine; hint: set `notebook.limits`"
                .to_owned(),
        );
    }
    found
}
