//! An application to run: that of the site, or one at a path of its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use perijove_apps::discover::{Wanted, What, discover};

use super::{Check, processors, site::python};
use crate::config::{Driver, Interface, Route, Site};

mod named;

use named::named;

/// A Python application to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Application {
    pub(crate) name: perijove_apps::Application,
    /// Why this one, when nobody named it.
    pub(crate) why: Vec<String>,
    /// The folder that its workers run in.
    pub(crate) root: PathBuf,
    pub(crate) python: PathBuf,
    pub(crate) driver: perijove_apps::Driver,
    pub(crate) server_arguments: Vec<String>,
    pub(crate) workers: usize,
    pub(crate) threads: usize,
    pub(crate) asgi: perijove_apps::Asgi,
    pub(crate) interface: perijove_apps::Interface,
    /// A path that answers 2xx when a worker is well.
    pub(crate) health: Option<String>,
    pub(crate) start_time: Duration,
}

/// What is written of an application, in whichever table.
pub(super) struct Described<'a> {
    /// The table: `site`, or `route[2]`.
    table: String,
    app: Option<&'a str>,
    interface: Interface,
    python: Option<&'a Path>,
    server: Driver,
    server_arguments: &'a [String],
    workers: Option<usize>,
    threads: usize,
    asgi: perijove_apps::Asgi,
    health: Option<&'a str>,
    start_time: Duration,
}

impl<'a> Described<'a> {
    pub(super) fn of_site(site: &'a Site) -> Self {
        Self {
            table: "site".to_owned(),
            app: site.app.as_deref(),
            interface: site.interface,
            python: site.python.as_deref(),
            server: site.server,
            server_arguments: &site.server_arguments,
            workers: site.workers,
            threads: site.threads,
            asgi: asgi(site),
            health: site.health.as_deref(),
            start_time: site.start_time.0,
        }
    }

    /// What a route does not say about how its application is run, the site says: they share an
    /// environment, more often than not.
    pub(super) fn of_route(at: usize, route: &'a Route, site: &'a Site) -> Self {
        Self {
            table: format!("route[{at}]"),
            app: route.app.as_deref(),
            interface: route.interface,
            python: route.python.as_deref().or(site.python.as_deref()),
            server: route.server.unwrap_or_default(),
            server_arguments: &route.server_arguments,
            workers: route.workers,
            threads: route.threads.unwrap_or(site.threads),
            asgi: asgi(site),
            health: route.health.as_deref(),
            start_time: site.start_time.0,
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.table)
    }

    /// None when what is written cannot be meant.
    pub(super) fn decide(&self, root: &Path, check: &mut Check<'_>) -> Option<Found> {
        let driver = self.driver(check)?;
        let (name, why) = match self.app {
            Some(app) => (named(app, &self.key("app"), root, check)?, Vec::new()),
            None => match self.discover(root, check)? {
                Some(found) => found,
                None => return Some(Found::Nothing),
            },
        };
        Some(Found::Application(Application {
            name,
            why,
            root: root.to_owned(),
            python: python(self.python, &self.key("python"), root, check)?,
            workers: self.workers(check).unwrap_or_else(|| usual_workers(&driver)),
            driver,
            server_arguments: self.server_arguments.to_vec(),
            threads: self.threads,
            asgi: self.asgi,
            interface: match self.interface {
                Interface::Auto => perijove_apps::Interface::Auto,
                Interface::Wsgi => perijove_apps::Interface::Wsgi,
                Interface::Asgi => perijove_apps::Interface::Asgi,
            },
            health: self.health.map(str::to_owned),
            start_time: self.start_time,
        }))
    }

    /// What lies in the folder; the outer `None` when two could be meant.
    #[expect(clippy::option_option, reason = "a mistake that is told is not an empty folder")]
    fn discover(
        &self,
        root: &Path,
        check: &mut Check<'_>,
    ) -> Option<Option<(perijove_apps::Application, Vec<String>)>> {
        match discover(root, Wanted::Application) {
            Ok(found) => Some(found.and_then(|found| match found.what {
                What::Application(application) => Some((application, found.why)),
                What::Command(_) => None,
            })),
            Err(ambiguous) => {
                let key = self.key("app");
                check.wrong(&key, ambiguous, "write the one that is meant, as it stands here");
                None
            }
        }
    }

    /// Gathers what is wrong with the numbers, whether or not there is an application.
    pub(super) fn check_numbers(&self, check: &mut Check<'_>) {
        let key = self.key("threads");
        check.at_least_one(Some(self.threads), &key);
        if self.threads > 1000 {
            check.wrong(&key, "must be at most 1000", "");
        }
        if self.health.is_some_and(|path| !path.starts_with('/')) {
            let hint = "for example \"/health\"";
            check.wrong(&self.key("health"), "does not begin with a slash", hint);
        }
    }

    fn workers(&self, check: &mut Check<'_>) -> Option<usize> {
        let key = self.key("workers");
        let workers = check.at_least_one(self.workers, &key);
        if workers.is_some_and(|workers| workers > 1000) {
            check.wrong(&key, "must be at most 1000", "");
        }
        workers
    }

    fn driver(&self, check: &mut Check<'_>) -> Option<perijove_apps::Driver> {
        match self.server {
            Driver::Native => Some(perijove_apps::Driver::Native),
            Driver::Gunicorn => Some(perijove_apps::Driver::Gunicorn),
            _ => {
                let hint =
                    "use \"native\", or start the server yourself and name it in `site.upstream`";
                let what = "this driver is not available in this version";
                check.wrong(&self.key("server"), what, hint);
                None
            }
        }
    }
}

/// What applications of ASGI may do, wherever they are.
fn asgi(site: &Site) -> perijove_apps::Asgi {
    let message = usize::try_from(site.websocket_message.0).unwrap_or(usize::MAX);
    perijove_apps::Asgi { concurrency: site.concurrency, websocket_message: message }
}

/// How many processes run when nobody says.
fn usual_workers(driver: &perijove_apps::Driver) -> usize {
    match driver {
        perijove_apps::Driver::Native => processors(),
        perijove_apps::Driver::Gunicorn => processors() * 2 + 1,
    }
}

/// What was meant.
pub(super) enum Found {
    Application(Application),
    /// Nothing is named and nothing was found.
    Nothing,
}
