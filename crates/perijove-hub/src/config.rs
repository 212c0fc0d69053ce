//! The settings of notebooks: `Config` as the file has them, `Plan` checked and resolved.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use perijove_gateway::Ancestors;
use serde::Deserialize;

pub use self::{
    duration::Lapse,
    isolation::{Allowance, Isolation},
};
use crate::{domain::Domain, user::User};

mod check;
mod duration;
pub(crate) mod isolation;
mod place;

use check::Mistakes;
use isolation::Size;

/// The table `[notebook]` as it was written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// Path below which notebooks live, `/notebook/` unless told otherwise.
    pub path: Option<String>,
    /// Folder with one folder per user below it.
    pub folder: Option<PathBuf>,
    /// The Python that runs Jupyter: a virtual environment's, a conda prefix's, the system's.
    /// The site's own unless told otherwise.
    pub python: Option<PathBuf>,
    /// Who says which user a request belongs to: `site`, which is asked; or `login`, where users
    /// sign in to perijove itself with a password (`perijove user add`); or `ticket`, where a site
    /// that runs elsewhere on this machine launches notebooks over the control socket. `site` unless
    /// told otherwise.
    pub authority: Option<String>,
    /// How many notebooks may run at once.
    pub max_notebooks: Option<u32>,
    /// How many of them may be one user's.
    pub max_per_user: Option<u32>,
    /// When a notebook is ended, counted from its start, whatever happens; 0 is never.
    pub kill_timeout: Option<Lapse>,
    /// When a notebook is ended that nobody uses: counted from the last thing that its user did, or
    /// that a kernel or a terminal had to do. Open tabs do not count. 0 is never.
    pub idle_timeout: Option<Lapse>,
    /// How long before its end a notebook's pages warn of it: a tenth of `idle-timeout` or
    /// `kill-timeout`, 10 minutes at most, unless told otherwise.
    pub warn_before: Option<Lapse>,
    /// When a kernel is ended, alone, that nobody uses and that has nothing to do; 0 is never.
    pub kernel_idle_timeout: Option<Lapse>,
    /// How long a notebook may take until it answers.
    pub start_timeout: Option<Lapse>,
    /// Paths below `path` that are ordinary requests to the site.
    pub site_paths: Vec<String>,
    /// More options for Jupyter's server.
    pub arguments: Vec<String>,
    /// Origins besides the site's own that may open websockets and change things.
    pub allow_origin: Vec<String>,
    /// All that a notebook inherits, beside what it needs to run.
    pub environment: BTreeMap<String, String>,
    /// What keeps notebooks from files and processes that are not theirs: `landlock`, `bubblewrap`,
    /// `none`, or `auto`: the first of these that works here.
    pub sandbox: Option<Sandboxing>,
    /// Files and folders of the site that every notebook may read.
    pub share: Vec<PathBuf>,
    /// Whether notebooks may use the network; `false` needs bubblewrap.
    pub network: Option<bool>,
    pub limits: NotebookLimits,
    /// The Unix account that a notebook runs as, when perijove runs as root: `"{user}"`, with more
    /// around it (`"nb-{user}"`), or one account for all. It gets the user's folder.
    pub run_as: Option<String>,
    /// Accounts of users whose names are none: `{ "ada@example.com" = "ada" }`.
    pub accounts: BTreeMap<String, String>,
    /// Whether accounts of `run-as` that are not there are made.
    pub create_accounts: bool,
    /// Whether notebooks may be used by plain HTTP from beyond this machine, or under a name that
    /// is not this machine's own (`localhost`, `127.0.0.1`).
    pub insecure: bool,
    /// Whether notebooks are forked from a process that has imported what they need, which takes a
    /// tenth of the time and half of the memory. Yes, where the operating system is Linux: from the
    /// first notebook on, or with `true` from the start on.
    pub warm: Option<bool>,
    /// A domain that notebooks have to themselves, so that nothing which runs in one acts on the
    /// site: `"https://nb.example.com"`, or `"https://{user}.nb.example.com"`, where each user has
    /// an origin. Best one that has nothing in common with the site's.
    pub domain: Option<String>,
    /// Whose pages may show notebooks in a frame: `true` for the site's own, or a list of origins.
    /// Nobody's but a notebook's own, unless told otherwise.
    pub embed: Option<Embed>,
    /// Addresses and networks whose clients alone may come to notebooks. Those of `site` hold too.
    pub allow_from: Vec<String>,
}

/// Whose pages may show notebooks in a frame.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Embed {
    /// Those of the site, or nobody's.
    Site(bool),
    /// Those of these origins.
    Origins(Vec<String>),
}

/// What one notebook may use, with all that it starts. What a control group cannot keep here, limits
/// of single processes do as far as they go; `perijove check --explain` says which is in force.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NotebookLimits {
    /// Memory. Whatever takes more is ended, kernels before the server.
    pub memory: Option<Size>,
    /// Processors: `0.5` is half of one.
    pub cpu: Option<f64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Open files of each process.
    pub files: Option<u64>,
}

/// What keeps notebooks from files and processes that are not theirs.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Sandboxing {
    #[default]
    Auto,
    Landlock,
    Bubblewrap,
    None,
}

/// What the settings of notebooks are resolved against.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The folder that relative paths of the file begin at.
    pub base: PathBuf,
    pub state_folder: PathBuf,
    pub runtime_folder: PathBuf,
    /// The Python of the site, where there is one.
    pub python: Option<PathBuf>,
    /// The folder of the Python package, with `notebook/__main__.py` in it.
    pub package: PathBuf,
    /// Whether there is nothing else at the root of the addresses: no site, no files.
    pub is_alone: bool,
    /// Whether there is a site that can be asked.
    pub has_site: bool,
    /// The hosts by which the site is known, as far as that is written; some as `*.example.com`.
    pub hosts: Vec<String>,
    /// The executable whose command `guardian` holds notebooks: our own.
    pub guardian: PathBuf,
}

/// Who says which user a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VouchedBy {
    /// The site, which is asked.
    Site,
    /// Perijove itself: users sign in with a password.
    Login,
    /// A site that perijove cannot ask: with each launch it gets a ticket for the user.
    Ticket,
}

/// What the hub is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// With a slash at both ends.
    pub path: String,
    pub folder: Setting<PathBuf>,
    pub python: PathBuf,
    pub package: PathBuf,
    pub guardian: PathBuf,
    pub vouched_by: VouchedBy,
    /// Whether the root of the addresses leads to notebooks.
    pub is_alone: bool,
    pub state_folder: PathBuf,
    pub runtime_folder: PathBuf,
    pub max_notebooks: usize,
    pub max_per_user: usize,
    /// Zero is never.
    pub kill_timeout: Setting<Duration>,
    /// Zero is never.
    pub idle_timeout: Duration,
    /// `None` is a part of what it warns of.
    pub warn_before: Option<Duration>,
    /// Zero is never.
    pub kernel_idle_timeout: Duration,
    pub start_timeout: Duration,
    /// Without slashes at their ends.
    pub site_paths: Vec<String>,
    pub arguments: Vec<String>,
    /// As browsers write them: scheme, host in lower case, port unless it is the scheme's own.
    pub allow_origin: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub isolation: Isolation,
    pub insecure: bool,
    /// `None`: notebooks share the site's origin.
    pub domain: Option<Domain>,
    /// Where the site is, as far as that is known: `https://www.example.com`.
    pub site_origin: Option<String>,
    /// Whose pages may show notebooks in a frame; empty where nothing is said about it.
    pub embed: Vec<String>,
    /// Networks whose clients alone may come, if there are any.
    pub allow_from: Vec<(IpAddr, u8)>,
    pub warm: bool,
    /// Whether that is made ready at the start, also where there was never a notebook.
    pub is_warm_at_once: bool,
}

/// A value that the site may hand over, unless the configuration names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting<T> {
    Written(T),
    Default(T),
}

impl<T: Clone + PartialEq> Setting<T> {
    /// What holds when the site hands over `handed`.
    pub fn over(&self, handed: Option<&T>) -> T {
        match (self, handed) {
            (Self::Default(_), Some(handed)) => handed.clone(),
            (Self::Written(value) | Self::Default(value), _) => value.clone(),
        }
    }

    /// Whether the site hands over something else than the configuration says.
    pub fn conflicts(&self, handed: Option<&T>) -> bool {
        matches!((self, handed), (Self::Written(value), Some(handed)) if value != handed)
    }
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key as it is written in the file, from the top: `notebook.path`.
    pub key: String,
    /// What is wrong, to be read after the key: "must begin with a slash".
    pub problem: String,
    pub hint: Option<String>,
}

impl Config {
    /// Checks all settings and resolves what was left out.
    ///
    /// # Errors
    /// All mistakes at once, in the order of the settings.
    pub fn resolve(self, surroundings: &Surroundings) -> Result<Plan, Vec<Mistake>> {
        check::resolve(self, surroundings)
    }
}

impl Plan {
    /// Where the launcher lies that starts Jupyter inside the notebook's Python.
    pub fn launcher(&self) -> PathBuf {
        self.package.join("notebook").join("__main__.py")
    }

    /// Where the script lies from whose process notebooks are forked.
    pub fn zygote(&self) -> PathBuf {
        self.package.join("notebook").join("zygote.py")
    }

    /// What Python runs at the start of a kernel.
    pub fn startup_loader(&self) -> PathBuf {
        self.package.join("notebook").join("startup_loader.py")
    }

    /// The host that the routes of all notebooks are for; `None` is every host.
    pub(crate) fn hosts(&self) -> Option<String> {
        self.domain.as_ref().map(Domain::hosts)
    }

    /// The host that the routes of a user's notebooks are for; `None` is every host.
    pub(crate) fn host_of(&self, user: &User) -> Option<String> {
        self.domain.as_ref().map(|domain| domain.host_of(user))
    }

    /// Whether somebody else's pages show notebooks in a frame.
    pub(crate) fn is_framed(&self) -> bool {
        self.embed.iter().any(|source| source != place::OWN)
    }

    pub(crate) fn ancestors(&self) -> Option<Ancestors> {
        let sources = self.embed.iter().map(String::as_str);
        (!self.embed.is_empty()).then(|| Ancestors::by(sources))
    }

    /// Settings that cannot change while the program runs.
    pub(crate) fn differs_at_the_root(&self, other: &Self) -> Option<&'static str> {
        if self.site_paths != other.site_paths {
            return Some("notebook.site-paths");
        }
        if self.vouched_by != other.vouched_by || self.is_alone != other.is_alone {
            return Some("notebook.authority");
        }
        if self.domain != other.domain || self.site_origin != other.site_origin {
            return Some("notebook.domain");
        }
        if self.embed != other.embed {
            return Some("notebook.embed");
        }
        let same = |a: &Path, b: &Path| a == b;
        if self.path != other.path {
            return Some("notebook.path");
        }
        if !same(&self.state_folder, &other.state_folder) {
            return Some("state-folder");
        }
        (!same(&self.runtime_folder, &other.runtime_folder)).then_some("runtime-folder")
    }
}

#[cfg(test)]
mod tests;
