//! What notebooks are to be like.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{
    Check,
    site::{SitePlan, SiteTarget, python},
};
use crate::config::{Authority, Notebook};

/// Everyone's notebooks.
#[derive(Clone, Debug)]
pub(crate) struct NotebookPlan {
    pub(crate) path: String,
    /// None: what the INI of the site says, else below the state folder.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) python: PathBuf,
    pub(crate) max_notebooks: usize,
    pub(crate) max_per_user: usize,
    /// None: what the INI of the site says, else never. Zero: never.
    pub(crate) kill_timeout: Option<Duration>,
    pub(crate) start_time: Duration,
    pub(crate) site_paths: Vec<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) allow_origin: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) is_insecure: bool,
    /// Bytes of a request's body.
    pub(crate) body_limit: u64,
}

pub(super) fn decide(
    notebook: &Notebook,
    site: &SitePlan,
    check: &mut Check<'_>,
) -> Option<NotebookPlan> {
    path(&notebook.path, check);
    authority(notebook.authority, check);
    names(notebook, check);
    check.at_least_one(Some(notebook.max_notebooks), "notebook.max-notebooks");
    check.at_least_one(Some(notebook.max_per_user), "notebook.max-per-user");
    check.not_zero(notebook.start_time.0, "notebook.start-time");
    let python = match (&notebook.python, &site.target) {
        (Some(named), _) => python(Some(named), "notebook.python", &site.root, check),
        (None, SiteTarget::Application(application)) => Some(application.python.clone()),
        (None, _) => None,
    };
    Some(NotebookPlan {
        path: notebook.path.clone(),
        folder: notebook.folder.as_ref().map(|folder| site.root.join(folder)),
        python: python?,
        max_notebooks: notebook.max_notebooks,
        max_per_user: notebook.max_per_user,
        kill_timeout: notebook.kill_timeout.map(|period| period.0),
        start_time: notebook.start_time.0,
        site_paths: notebook.site_paths.clone(),
        arguments: notebook.arguments.clone(),
        allow_origin: notebook.allow_origin.clone(),
        environment: notebook.environment.clone(),
        is_insecure: notebook.insecure,
        body_limit: notebook.body_limit.0,
    })
}

fn path(path: &str, check: &mut Check<'_>) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.~/".contains(c);
    if path.len() < 3 || !path.starts_with('/') || !path.ends_with('/') {
        let what = format!("{path:?} does not begin and end with a slash");
        check.wrong("notebook.path", what, "for example \"/notebook/\"");
    } else if path.contains("//") || path.contains("/.") || !path.chars().all(is_plain) {
        let what = format!("{path:?} holds more than letters, digits, `-`, `_`, `~` and slashes");
        check.wrong("notebook.path", what, "for example \"/notebook/\"");
    }
}

fn authority(authority: Authority, check: &mut Check<'_>) {
    if authority != Authority::Site {
        let hint = "use \"site\": the site's own login says who may pass";
        check.wrong("notebook.authority", "not available in this version", hint);
    }
}

fn names(notebook: &Notebook, check: &mut Check<'_>) {
    for (at, name) in notebook.site_paths.iter().enumerate() {
        if name.is_empty() || name.contains('/') {
            let hint = "write the first part of a path below `notebook.path`, without slashes";
            let what = format!("{name:?} is no part of a path");
            check.wrong(&format!("notebook.site-paths[{at}]"), what, hint);
        }
    }
    for (at, origin) in notebook.allow_origin.iter().enumerate() {
        let key = format!("notebook.allow-origin[{at}]");
        if origin == "*" {
            let hint = "name each origin: with \"*\" any page on the web could act as your users";
            check.wrong(&key, "must not be \"*\"", hint);
        } else if !is_origin(origin) {
            let what = format!("{origin:?} is no origin");
            check.wrong(&key, what, "for example \"https://site.example.com\"");
        }
    }
    for name in notebook.environment.keys() {
        if name.is_empty() || name.contains(['=', '\0']) {
            check.wrong("notebook.environment", format!("{name:?} is no name of a variable"), "");
        }
    }
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or(text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ', '@']))
}
