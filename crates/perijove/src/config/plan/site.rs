//! What the site is: an application to run, one that runs elsewhere, or files alone.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use perijove_apps::python::Places;
use perijove_process::Account;

use super::{
    Application, Check,
    account::account,
    application::{Described, Found},
    edge,
    elsewhere::{self, ElsewherePlan, Written},
    environment,
    files::{self, StaticPlan},
    finish::{self, FinishPlan},
};
use crate::config::Site;

/// A worker has a number for each request that it carries.
const MOST_AT_ONCE: usize = 4095;

/// The site.
#[derive(Clone, Debug)]
pub(crate) struct SitePlan {
    pub(crate) root: PathBuf,
    pub(crate) target: SiteTarget,
    /// The target could not be decided: what depends on it is no further mistake.
    pub(super) is_broken: bool,
    /// Served before the target is asked, in this order.
    pub(crate) files: Vec<StaticPlan>,
    /// The only hosts whose requests are answered.
    pub(crate) hosts: Option<Vec<String>>,
    pub(crate) error_pages: Option<PathBuf>,
    pub(crate) finish: FinishPlan,
    /// Bytes of a request's body.
    pub(crate) body_limit: u64,
    /// Bytes of bodies that are received as a whole; none when nobody said so.
    pub(crate) body_buffer: Option<u64>,
    pub(crate) wait: Duration,
    pub(crate) queue: usize,
    pub(crate) connect_time: Duration,
    pub(crate) response_time: Duration,
    /// Variables of its processes beside those of this program.
    pub(crate) environment: BTreeMap<String, String>,
    /// What its processes run as.
    pub(crate) account: Option<Account>,
    pub(crate) umask: Option<u32>,
    /// What its processes are called.
    pub(crate) process_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SiteTarget {
    Application(Box<Application>),
    Upstream(ElsewherePlan),
    /// Files alone.
    Nothing,
}

/// `has_routes`: there is something to serve, whatever the site is.
pub(super) fn decide(site: &Site, has_routes: bool, check: &mut Check<'_>) -> SitePlan {
    let root = check.layers.folder.join(&site.root);
    // Paths with `..` read badly in messages; what is not there keeps the name it was given.
    let root = root.canonicalize().unwrap_or(root);
    if !root.is_dir() {
        check.wrong("site.root", format!("there is no folder {}", root.display()), "");
    }
    let files = files::of_site(site, &root, check);
    let target = target(site, &root, check);
    let is_nothing = target == Some(SiteTarget::Nothing) && files.is_empty() && !has_routes;
    if root.is_dir() && is_nothing {
        let what = format!("there is nothing to serve in {}", root.display());
        let hint = "write app.py with `application`, or set `site.app` or `site.upstream`; \
                    `perijove init` writes a small site";
        check.wrong("site", what, hint);
    }
    Described::of_site(site).check_numbers(check);
    check.at_least_one(Some(site.concurrency), "site.concurrency");
    if site.concurrency > MOST_AT_ONCE {
        check.wrong("site.concurrency", format!("must be at most {MOST_AT_ONCE}"), "");
    }
    if site.websocket_message.0 == 0 {
        check.wrong("site.websocket-message", "must be at least 1", "");
    }
    check.not_zero(site.wait.0, "site.wait");
    check.at_least_one(Some(site.queue), "site.queue");
    check.not_zero(site.connect_time.0, "site.connect-time");
    check.not_zero(site.response_time.0, "site.response-time");
    check.not_zero(site.start_time.0, "site.start-time");
    let environment = environment::decide(site, &root, check);
    let account = account((site.user.as_deref(), "site.user"), site.group.as_deref(), check);
    SitePlan {
        hosts: hosts(site, check),
        finish: finish::of_site(site, &root, check),
        error_pages: error_pages(site, &root, check),
        is_broken: target.is_none(),
        target: target.unwrap_or(SiteTarget::Nothing),
        files,
        process_name: process_name(site, &root, check),
        root,
        body_limit: site.body_limit.0,
        body_buffer: site.body_buffer.map(|size| size.0),
        wait: site.wait.0,
        queue: site.queue,
        connect_time: site.connect_time.0,
        response_time: site.response_time.0,
        environment,
        account,
        umask: umask(site, check),
    }
}

/// None when what is written cannot be meant.
fn target(site: &Site, root: &Path, check: &mut Check<'_>) -> Option<SiteTarget> {
    if let Some(upstream) = &site.upstream {
        if site.app.is_some() {
            let what = "there is `site.app` too";
            check.wrong("site.upstream", what, "a site is run here or elsewhere: take one out");
        }
        let written = Written {
            table: "site",
            base: root,
            upstream,
            tls: site.upstream_tls.as_ref(),
            host: site.upstream_host.as_deref(),
            path: site.upstream_path.as_deref(),
        };
        return elsewhere::decide(&written, check).map(SiteTarget::Upstream);
    }
    Some(match Described::of_site(site).decide(root, check)? {
        Found::Application(application) => SiteTarget::Application(application),
        Found::Nothing => SiteTarget::Nothing,
    })
}

fn umask(site: &Site, check: &mut Check<'_>) -> Option<u32> {
    let text = site.umask.as_ref()?;
    let read = u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777);
    if read.is_none() {
        let what = format!("{text:?} is no set of permissions");
        check.wrong("site.umask", what, "three digits from 0 to 7, such as \"027\"");
    }
    read
}

fn process_name(site: &Site, root: &Path, check: &mut Check<'_>) -> String {
    let Some(name) = &site.process_name else {
        let folder = root.file_name().map(|name| name.to_string_lossy().into_owned());
        return folder.filter(|name| is_name(name)).unwrap_or_else(|| "site".to_owned());
    };
    if !is_name(name) {
        let hint = "a short text without control characters, such as \"shop\"";
        check.wrong("site.process-name", "is no name of processes", hint);
    }
    name.clone()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control)
}

/// Names of hosts, in lower case.
fn hosts(site: &Site, check: &mut Check<'_>) -> Option<Vec<String>> {
    let written = site.hosts.as_ref()?;
    for (at, host) in written.iter().enumerate() {
        edge::check_host(host, &format!("site.hosts[{at}]"), check);
    }
    Some(written.iter().map(|host| host.to_lowercase()).collect())
}

fn error_pages(site: &Site, root: &Path, check: &mut Check<'_>) -> Option<PathBuf> {
    let Some(folder) = &site.error_pages else {
        return Some(root.join("errors")).filter(|folder| folder.is_dir());
    };
    let folder = root.join(folder);
    if !folder.is_dir() {
        check.wrong("site.error-pages", format!("there is no folder {}", folder.display()), "");
    }
    Some(folder)
}

/// The interpreter that is named, else the one that is found. Whether it will do is asked when it
/// is to run.
pub(super) fn python(
    named: Option<&Path>,
    key: &str,
    root: &Path,
    check: &mut Check<'_>,
) -> Option<PathBuf> {
    let named = named.map(|path| root.join(path));
    let prefixes =
        ["VIRTUAL_ENV", "CONDA_PREFIX"].map(|name| check.environment.get(name).map(PathBuf::from));
    let places = Places {
        named: named.as_deref(),
        root: Some(root),
        prefixes: &prefixes.into_iter().flatten().collect::<Vec<_>>(),
        path: check.environment.get("PATH").map(OsStr::new),
    };
    match perijove_apps::python::find(&places) {
        Ok(found) => Some(found),
        Err(error) => {
            check.absent(if named.is_some() { key } else { "site" }, &error, error.hint());
            None
        }
    }
}
