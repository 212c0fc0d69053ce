//! An application to run: that of the site, or one at a path of its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use perijove_apps::{
    CommandLine,
    discover::{Wanted, What, discover},
    workers::Workers,
};

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
    pub(crate) install: bool,
    pub(crate) workers: Workers,
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
    server: Option<Driver>,
    command: Option<&'a CommandLine>,
    install: bool,
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
            command: site.command.as_ref().map(|words| &words.0),
            install: site.install,
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
            server: route.server,
            command: route.command.as_ref().map(|words| &words.0),
            install: site.install,
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
        self.check_interface(driver.as_ref(), check);
        let (name, driver, why) = match (self.app, driver) {
            (Some(app), driver) => (
                named(app, &self.key("app"), root, check)?,
                driver.unwrap_or(perijove_apps::Driver::Native),
                Vec::new(),
            ),
            (None, Some(driver @ perijove_apps::Driver::Command(_))) => {
                (perijove_apps::Application::Command(driver.to_string()), driver, Vec::new())
            }
            (None, driver) => match self.discover(root, driver, check)? {
                Some(found) => found,
                None => return Some(Found::Nothing),
            },
        };
        let is_cartridge = check.environment.get("OPENSHIFT_PYTHON_SERVER").is_some();
        let usual = || Workers::usual(&driver, processors(), is_cartridge);
        Some(Found::Application(Box::new(Application {
            name,
            why,
            root: root.to_owned(),
            python: python(self.python, &self.key("python"), root, check)?,
            workers: self.workers(check).map_or_else(usual, Workers::written),
            driver,
            server_arguments: self.server_arguments.to_vec(),
            install: self.install,
            threads: self.threads,
            asgi: self.asgi,
            interface: match self.interface {
                Interface::Auto => perijove_apps::Interface::Auto,
                Interface::Wsgi => perijove_apps::Interface::Wsgi,
                Interface::Asgi => perijove_apps::Interface::Asgi,
            },
            health: self.health.map(str::to_owned),
            start_time: self.start_time,
        })))
    }

    /// What lies in the folder; the outer `None` when two could be meant, or what is meant cannot
    /// be run.
    #[expect(clippy::option_option, reason = "a mistake that is told is not an empty folder")]
    fn discover(
        &self,
        root: &Path,
        driver: Option<perijove_apps::Driver>,
        check: &mut Check<'_>,
    ) -> Option<Option<Discovered>> {
        let wanted = if driver.is_some() { Wanted::Application } else { Wanted::Either };
        let key = self.key("app");
        let found = match discover(root, wanted) {
            Ok(Some(found)) => found,
            Ok(None) => return Some(None),
            Err(ambiguous) => {
                check.wrong(&key, ambiguous, "write the one that is meant, as it stands here");
                return None;
            }
        };
        let native = perijove_apps::Driver::Native;
        match found.what {
            What::Application(name) => Some(Some((name, driver.unwrap_or(native), found.why))),
            What::Command(text) => match CommandLine::of_text(&text) {
                Ok(line) => {
                    let name = perijove_apps::Application::Command(text);
                    Some(Some((name, perijove_apps::Driver::Command(line), found.why)))
                }
                Err(error) => {
                    let what = format!("the command that was found, `{text}`: {error}");
                    check.wrong(&key, what, "write it as a list in `site.command`");
                    None
                }
            },
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

    /// The driver that is written; the outer `None` when it cannot be meant.
    #[expect(clippy::option_option, reason = "a mistake that is told is not a driver left open")]
    fn driver(&self, check: &mut Check<'_>) -> Option<Option<perijove_apps::Driver>> {
        use perijove_apps::Driver as Planned;
        let planned = match (self.server, self.command) {
            (None, None) => return Some(None),
            (None | Some(Driver::Command), Some(line)) => Planned::Command(line.clone()),
            (Some(_), Some(_)) => {
                let what = "there is another driver in `server`";
                check.wrong(&self.key("command"), what, "take one out, or write \"command\" there");
                return None;
            }
            (Some(Driver::Command), None) => {
                let hint = "such as [\"granian\", \"--uds\", \"{socket}\", \"{app}\"]";
                check.wrong(&self.key("server"), "there is no `command` to run", hint);
                return None;
            }
            (Some(Driver::Native), None) => Planned::Native,
            (Some(Driver::Wsgiref), None) => Planned::Wsgiref,
            (Some(Driver::Gevent), None) => Planned::Gevent,
            (Some(Driver::Gunicorn), None) => Planned::Gunicorn,
            (Some(Driver::Uwsgi), None) => Planned::Uwsgi,
            (Some(Driver::ModWsgi), None) => Planned::ModWsgi,
            (Some(Driver::Uvicorn), None) => Planned::Uvicorn,
        };
        Some(Some(planned))
    }

    /// An interface that the driver does not speak.
    fn check_interface(&self, driver: Option<&perijove_apps::Driver>, check: &mut Check<'_>) {
        use perijove_apps::Driver as Planned;
        let Some(driver) = driver else { return };
        let is_able = matches!(driver, Planned::Native | Planned::Uvicorn | Planned::Command(_));
        if self.interface == Interface::Asgi && !is_able {
            let what = format!("{} speaks WSGI alone", driver.name());
            check.wrong(
                &self.key("interface"),
                what,
                "take \"native\" or \"uvicorn\" as the server",
            );
        }
    }
}

/// What applications of ASGI may do, wherever they are.
fn asgi(site: &Site) -> perijove_apps::Asgi {
    let message = usize::try_from(site.websocket_message.0).unwrap_or(usize::MAX);
    perijove_apps::Asgi { concurrency: site.concurrency, websocket_message: message }
}

type Discovered = (perijove_apps::Application, perijove_apps::Driver, Vec<String>);

/// What was meant.
pub(super) enum Found {
    Application(Box<Application>),
    /// Nothing is named and nothing was found.
    Nothing,
}
