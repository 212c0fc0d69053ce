//! What was meant: everything checked, every path absolute, every default decided.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use perijove_apps::package::PackageError;

use super::{
    Config, Limits, Log, Mistake, Mistakes,
    entry::{Entry, Origin, Segment},
    layers::{self, Environment, Flags, Layers},
};
use crate::folders::{Folders, Wanted};

mod access;
mod account;
mod application;
mod edge;
mod elsewhere;
mod environment;
mod files;
mod finish;
mod life;
pub(crate) mod log;
mod notebook;
mod service;
mod site;
mod tls;
mod traces;

pub(crate) use access::{AccessPlan, Admission, AllowPlan, AuthPlan};
pub(crate) use application::Application;
pub(crate) use edge::{RoutePlan, RouteTarget};
pub(crate) use elsewhere::{ElsewherePlan, HostPlan, MemberPlan, UpstreamAt};
pub(crate) use files::StaticPlan;
pub(crate) use finish::FinishPlan;
pub(crate) use life::Life;
pub(crate) use log::LogFiles;
pub(crate) use service::ServicePlan;
pub(crate) use site::{SitePlan, SiteTarget};
pub(crate) use tls::TlsPlan;
pub(crate) use traces::TracesPlan;

/// What is to run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The file it was read from.
    pub(crate) file: Option<PathBuf>,
    pub(crate) folders: Folders,
    /// Where the number of the process is written.
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) listen: Vec<ListenAt>,
    pub(crate) trusted_proxies: Vec<(IpAddr, u8)>,
    /// Whether the forwarded headers of whoever reaches a Unix socket are believed.
    pub(crate) trusts_unix_peers: bool,
    pub(crate) threads: usize,
    pub(crate) log: Log,
    pub(crate) log_files: LogFiles,
    /// Where metrics are to be had.
    pub(crate) metrics: Option<ListenAt>,
    pub(crate) traces: Option<TracesPlan>,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<TlsPlan>,
    pub(crate) site: SitePlan,
    /// Who may pass.
    pub(crate) access: AccessPlan,
    pub(crate) life: Life,
    /// None when there is no Python that could run any.
    pub(crate) notebook: Option<perijove_hub::Plan>,
    pub(crate) routes: Vec<RoutePlan>,
    pub(crate) services: Vec<ServicePlan>,
    /// For what is too large for memory, and of no use afterwards.
    pub(crate) scratch: PathBuf,
    /// Every setting that somebody wrote, and where.
    pub(super) written: Entry,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAt {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for ListenAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Plan {
    /// Reads every layer and decides. `folder` is the current folder.
    ///
    /// # Errors
    /// All mistakes at once, in the order of their lines.
    pub(crate) fn load(
        flags: &Flags,
        environment: &Environment,
        folder: &Path,
    ) -> Result<Self, Mistakes> {
        let mut layers = super::layers::gather(flags, environment, folder);
        let mut mistakes = std::mem::take(&mut layers.mistakes);
        let written = layers.root.clone();
        let is_toml = mistakes.is_empty();
        let config = super::read_tree(&mut layers.root, &mut mistakes);
        if !is_toml {
            // What was not read may be missed, or stand in the wrong table: not worth telling.
            return Err(mistakes.up_to_first().sorted());
        }
        let mut check = Check { layers: &layers, environment, mistakes };
        let plan = Self::decide(&config, written, &mut check);
        if check.mistakes.is_empty() { Ok(plan) } else { Err(check.mistakes.sorted()) }
    }

    fn decide(config: &Config, written: Entry, check: &mut Check<'_>) -> Self {
        let has_routes = !config.route.is_empty() || notebook::stands_alone(config);
        let site = site::decide(&config.site, has_routes, check);
        let folders = check.folders(config);
        let notebook = notebook::decide(config, &site, &folders, check);
        let routes = edge::routes(config, &site.finish, check);
        let services = service::decide(config, &site.root, check);
        check.overlaps(&site, notebook.as_ref(), &routes);
        Self {
            file: check.layers.file.clone(),
            folders,
            pid_file: config.pid_file.as_ref().map(|file| check.layers.folder.join(file)),
            listen: check.listen(&config.listen, "listen"),
            trusted_proxies: edge::trusted_proxies(&config.trusted_proxies, check),
            trusts_unix_peers: config.trusted_proxies.iter().any(|name| name == edge::UNIX_PEERS),
            threads: check.at_least_one(config.threads, "threads").unwrap_or_else(processors),
            log_files: log::files(&config.log, check),
            metrics: check.metrics(config),
            traces: traces::decide(config.traces.as_ref(), check),
            log: config.log.clone(),
            limits: edge::limits(&config.limits, check),
            tls: tls::decide(config.tls.as_ref(), check),
            life: life::decide(&config.site, check),
            access: access::of_site(config, &site.root, check),
            site,
            notebook,
            routes,
            services,
            scratch: PathBuf::from(check.environment.get("TMPDIR").unwrap_or("/tmp")),
            written,
        }
    }
}

/// The folders alone, from whatever can be read: `stop` must reach a running site even after its
/// file was broken.
pub(crate) fn folders_of(flags: &Flags, environment: &Environment, folder: &Path) -> Folders {
    let mut layers = super::layers::gather(flags, environment, folder);
    let config = super::read_tree(&mut layers.root, &mut Mistakes::default());
    let check = Check { layers: &layers, environment, mistakes: Mistakes::default() };
    check.choose_folders(&config)
}

/// Processors that this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Where mistakes are gathered while a plan is made.
struct Check<'a> {
    layers: &'a Layers,
    environment: &'a Environment,
    mistakes: Mistakes,
}

impl Check<'_> {
    /// Where a setting was written; the nearest table when it was not.
    fn origin(&self, key: &str) -> Origin {
        let path = segments(key);
        (0..=path.len())
            .rev()
            .find_map(|end| self.layers.root.find(path.get(..end)?))
            .map(|entry| entry.origin.clone())
            .unwrap_or_default()
    }

    /// The Python package that belongs to this program. Where it must be there, it is looked for
    /// again, to say why not.
    fn package(&self) -> Option<PathBuf> {
        package(self.environment).ok()
    }

    fn is_written(&self, key: &str) -> bool {
        self.layers.root.find(&segments(key)).is_some()
    }

    /// Gathers that what a setting names is not there.
    fn absent(&mut self, key: &str, what: impl std::fmt::Display, hint: &str) {
        let mistake = Mistake::new(self.origin(key), format!("`{key}`: {what}")).hint(hint);
        self.mistakes.push(Mistake { is_absence: true, ..mistake });
    }

    /// Gathers a mistake in a setting.
    fn wrong(&mut self, key: &str, what: impl std::fmt::Display, hint: &str) {
        let mistake = Mistake::new(self.origin(key), format!("`{key}`: {what}"));
        self.mistakes.push(if hint.is_empty() { mistake } else { mistake.hint(hint) });
    }

    fn at_least_one(&mut self, number: Option<usize>, key: &str) -> Option<usize> {
        if number == Some(0) {
            self.wrong(key, "must be at least 1", "");
        }
        number
    }

    fn not_zero(&mut self, time: Duration, key: &str) {
        if time.is_zero() {
            self.wrong(key, "must be longer than nothing", "");
        }
    }

    fn folders(&mut self, config: &Config) -> Folders {
        let folders = self.choose_folders(config);
        if !folders.is_short_enough() {
            let what =
                format!("{} is too long for the names of sockets", folders.runtime.display());
            self.wrong(
                "runtime-folder",
                what,
                "names of sockets end at 107 bytes: choose a short folder",
            );
        }
        folders
    }

    fn choose_folders(&self, config: &Config) -> Folders {
        let wanted = Wanted {
            state: config.state_folder.as_deref(),
            runtime: config.runtime_folder.as_deref(),
            site: self.layers.file.as_deref().unwrap_or(&self.layers.folder),
            base: &self.layers.folder,
        };
        Folders::choose(wanted, self.environment)
    }

    fn listen(&mut self, addresses: &[String], key: &str) -> Vec<ListenAt> {
        let mut found = Vec::new();
        if addresses.is_empty() && key == "listen" {
            self.wrong(key, "names no address", "for example \"127.0.0.1:8000\"");
        }
        for (at, address) in addresses.iter().enumerate() {
            let item = format!("{key}[{at}]");
            match listen_at(address, &self.layers.folder) {
                Ok(address) if found.contains(&address) => {
                    self.wrong(&item, format!("{address} is named twice"), "");
                }
                Ok(address) => found.push(address),
                Err((what, hint)) => self.wrong(&item, what, hint),
            }
        }
        found
    }

    /// Where metrics are to be had.
    fn metrics(&mut self, config: &Config) -> Option<ListenAt> {
        let address = config.metrics.listen.as_ref()?;
        match listen_at(address, &self.layers.folder) {
            Ok(address) if self.is_listened(config, &address) => {
                let hint = "they are not for everybody: give them an address of their own";
                self.wrong("metrics.listen", "the site listens there", hint);
                None
            }
            Ok(address) => Some(address),
            Err((what, hint)) => {
                self.wrong("metrics.listen", what, hint);
                None
            }
        }
    }

    /// Whether the site listens at an address; port 0 is a free one, another each time.
    fn is_listened(&self, config: &Config, address: &ListenAt) -> bool {
        let is_free = matches!(address, ListenAt::Tcp(address) if address.port() == 0);
        let mut all = config.listen.iter().filter_map(|at| listen_at(at, &self.layers.folder).ok());
        !is_free && all.any(|at| at == *address)
    }

    /// No two things may lie at the same path.
    fn overlaps(
        &mut self,
        site: &SitePlan,
        notebook: Option<&perijove_hub::Plan>,
        routes: &[RoutePlan],
    ) {
        let notebook_path = notebook.map(|notebook| notebook.path.as_str());
        for (at, files) in site.files.iter().enumerate() {
            if Some(files.path.as_str()) == notebook_path {
                let what = "lies where the notebooks are";
                self.wrong(&format!("site.static[{at}].path"), what, "");
            }
        }
        for (nth, route) in routes.iter().enumerate() {
            let key = format!("route[{}].path", route.at);
            if notebook_path.is_some_and(|path| route.path.starts_with(path)) {
                self.wrong(&key, "lies where the notebooks are", "");
            }
            let is_same = |other: &RoutePlan| other.path == route.path && other.host == route.host;
            if routes.iter().take(nth).any(is_same) {
                self.wrong(&key, format!("there is a route for {} already", route.path), "");
            }
        }
    }
}

/// Finds the Python package that belongs to this program.
pub(crate) fn package(environment: &Environment) -> Result<PathBuf, PackageError> {
    let named = environment.get(layers::PACKAGE).map(Path::new);
    perijove_apps::package::find(named, environment.executable().unwrap_or(Path::new("/")))
}

/// `site.static[0].folder` → its steps.
fn segments(key: &str) -> Vec<Segment> {
    let mut path = Vec::new();
    for part in key.split('.') {
        let (name, index) = part
            .split_once('[')
            .map_or((part, None), |(name, rest)| (name, rest.trim_end_matches(']').parse().ok()));
        path.push(Segment::Key(name.to_owned()));
        path.extend(index.map(Segment::Index));
    }
    path
}

/// Reads an address to listen on. The error is what is wrong and a hint.
pub(crate) fn listen_at(text: &str, base: &Path) -> Result<ListenAt, (String, &'static str)> {
    const HINT: &str = "write \"127.0.0.1:8000\", \"[::1]:8000\" or \"unix:/run/site.sock\"";
    if let Some(path) = text.strip_prefix("unix:") {
        let path = base.join(path);
        return match path.as_os_str().len() {
            0..=107 => Ok(ListenAt::Unix(path)),
            _ => Err((format!("{text:?} is too long"), "names of sockets end at 107 bytes")),
        };
    }
    let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let everywhere = text.strip_prefix(':').or(text.strip_prefix("*:"));
    let written = match (&named, everywhere) {
        (Some(named), _) => named.clone(),
        (None, Some(port)) => format!("[::]:{port}"),
        (None, None) => text.to_owned(),
    };
    written.parse().map(ListenAt::Tcp).map_err(|_| (format!("{text:?} is no address"), HINT))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::listen_at;

    #[test]
    fn addresses_are_read() {
        let check = |text: &str, expected: Option<&str>| {
            let read = listen_at(text, Path::new("/site")).ok().map(|address| address.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("127.0.0.1:8000", Some("127.0.0.1:8000"));
        check("[::1]:0", Some("[::1]:0"));
        check("localhost:80", Some("127.0.0.1:80"));
        check(":8000", Some("[::]:8000"));
        check("*:8000", Some("[::]:8000"));
        check("unix:/run/x.sock", Some("unix:/run/x.sock"));
        check("unix:x.sock", Some("unix:/site/x.sock"));
        check("8000", None);
        check("127.0.0.1:70000", None);
        check("example.com:80", None);
        check("http://127.0.0.1:80", None);
    }
}
