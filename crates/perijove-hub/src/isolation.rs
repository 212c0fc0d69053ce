//! How a notebook is kept from what is not its user's: by whom it is kept, and what it may use.

mod account;
mod bubblewrap;
mod carve;
mod places;
mod weakness;

use std::{fmt, path::PathBuf};

use perijove_process::{Sandbox, landlock};
use rustix::process::geteuid;
use thiserror::Error;

use crate::config::{Isolation, Plan, Sandboxing};

pub(crate) use account::tenant;
pub(crate) use bubblewrap::Wrapped;
pub use weakness::weaknesses;

/// What keeps a notebook from files and processes that are not its user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// In this version.
    Landlock(u32),
    Bubblewrap,
    /// The account alone.
    Nobody,
}

/// Why a notebook cannot be kept as it should be: then it is not started.
#[derive(Debug, Error)]
pub(crate) enum Unable {
    #[error("this kernel has no Landlock, or it is switched off")]
    NoLandlock,
    #[error("bubblewrap does not work here: {said}")]
    NoBubblewrap { said: String },
    #[error("the user {user:?} has no Unix account: {name:?} is no name of one")]
    NoName { user: String, name: String },
    #[error("the user {user:?} has no Unix account: there is no {name:?}")]
    NoAccount { user: String, name: String },
    #[error("the account {name:?} is the system's (number {uid}): no user is meant by it")]
    System { name: String, uid: u32 },
    #[error("the account {name:?} could not be made: {said}")]
    NotMade { name: String, said: String },
}

impl Unable {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NoLandlock => {
                "`notebook.sandbox` can also be \"bubblewrap\", \"auto\" or \"none\""
            }
            Self::NoBubblewrap { .. } => "install it, and let accounts have user namespaces",
            Self::NoName { .. } => "name an account for this user in `notebook.accounts`",
            Self::NoAccount { .. } => "make the account, or set `notebook.create-accounts = true`",
            Self::System { .. } => "if that is meant, name it in `notebook.accounts`",
            Self::NotMade { .. } => "make the account by hand",
        }
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Landlock(version) => write!(f, "landlock (version {version})"),
            Self::Bubblewrap => f.write_str("bubblewrap"),
            Self::Nobody => f.write_str("none"),
        }
    }
}

/// What keeps notebooks on this machine, with these settings. It may block for a moment.
pub(crate) fn keeper(isolation: &Isolation) -> Result<Keeper, Unable> {
    let by_landlock = || landlock().map(Keeper::Landlock).ok_or(Unable::NoLandlock);
    let by_bubblewrap = || bubblewrap::works().map(|()| Keeper::Bubblewrap);
    match isolation.sandbox {
        Sandboxing::None => Ok(Keeper::Nobody),
        Sandboxing::Landlock => by_landlock(),
        Sandboxing::Bubblewrap => by_bubblewrap(),
        // Nothing less keeps them from the network.
        Sandboxing::Auto if !isolation.network => by_bubblewrap(),
        Sandboxing::Auto => {
            Ok(by_landlock().or_else(|_| by_bubblewrap()).unwrap_or(Keeper::Nobody))
        }
    }
}

/// Why notebooks are not forked from a process that is ready, with these settings.
pub(crate) fn why_cold(plan: &Plan) -> Option<String> {
    if keeper(&plan.isolation).is_ok_and(|keeper| keeper == Keeper::Bubblewrap) {
        return Some("bubblewrap executes what it wraps".to_owned());
    }
    // To fork for other accounts that process is root's, and runs what lies there.
    let is_for_others = plan.isolation.run_as.is_some() && geteuid().is_root();
    let foreign = places::foreign(&plan.python).filter(|_| is_for_others)?;
    Some(format!("{} is not root's alone", foreign.display()))
}

/// What one notebook may use.
pub(crate) struct Needs<'a> {
    pub(crate) plan: &'a Plan,
    /// The user's folder.
    pub(crate) folder: PathBuf,
    /// What the site that launches it says it needs.
    pub(crate) share: Vec<PathBuf>,
    /// Whether it runs as root.
    pub(crate) is_root: bool,
}

impl Needs<'_> {
    /// All places it may use. It blocks.
    pub(crate) fn sandbox(&self) -> Sandbox {
        places::sandbox(self)
    }
}
