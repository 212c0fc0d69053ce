//! Notebooks of a running site, with the real Jupyter.
//!
//! Jupyter comes from `target/venvs/test`, which `make test-rust` prepares.

mod bad_input;
mod domain;
mod login;
mod restart;
mod ticket;
mod trouble;
pub(crate) mod visitor;
mod who_may_pass;

use std::path::PathBuf;

use crate::site::Plan;

/// Starts a site whose users may have notebooks: `ada` and `bob`, not `guest`.
pub(crate) fn site_with_people() -> Plan {
    let python = python();
    Plan::new()
        .wsgi("people")
        .file("allowed", "ada\nbob\n")
        .set(&format!("notebook.python = '{}'", python.display()))
        .set("notebook.folder = 'folders'")
        // Whatever becomes of the story, they do not run for ever.
        .set("notebook.kill-timeout = '10m'")
        .with_notebooks()
}

pub(crate) fn python() -> PathBuf {
    let python = crate::site::root().join("target/venvs/test/bin/python");
    assert!(python.exists(), "{} is missing: `make test-rust` prepares it", python.display());
    python
}
