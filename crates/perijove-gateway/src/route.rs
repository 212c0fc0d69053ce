//! What happens to the requests below one path.

use std::{sync::Arc, time::Duration};

use crate::{
    Activity, Ancestors, Confinement, Files, Finish, Guard, Label, Moved, Relocation, Service,
    Spooling, Upstreams,
};

/// What happens to the requests below one path of one host.
#[derive(Clone, Debug)]
pub struct Route {
    pub target: Target,
    pub guard: Option<Arc<dyn Guard>>,
    pub activity: Arc<Activity>,
    /// What its requests are counted as.
    pub label: Label,
    pub limits: Limits,
    /// Which bodies are received as a whole before an upstream is asked.
    pub spooling: Option<Spooling>,
    pub upgrades: Upgrades,
    pub rewrite: Rewrite,
    /// What is done to answers before they leave.
    pub finish: Option<Arc<Finish>>,
    /// Set when the target's answers must not act on the rest of the origin.
    pub confinement: Option<Arc<Confinement>>,
    /// Which pages may show the answers in a frame, if not those that the target says.
    pub ancestors: Option<Arc<Ancestors>>,
    /// Set when the target takes a path for what it is as sent: it decodes no slash, merges none
    /// and resolves no dots before it has found what is meant. Then a path with an encoded slash
    /// can be read in one way only.
    pub reads_as_sent: bool,
}

impl Route {
    /// A route with defaults for everything but its target.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            guard: None,
            activity: Arc::default(),
            label: Label::default(),
            limits: Limits::default(),
            spooling: None,
            upgrades: Upgrades::default(),
            rewrite: Rewrite::default(),
            finish: None,
            confinement: None,
            ancestors: None,
            reads_as_sent: false,
        }
    }
}

#[derive(Clone, Debug)]
pub enum Target {
    /// Static files only: what is not there is 404.
    Files(Arc<Files>),
    /// Static files first, in order, then the upstreams.
    Proxy { files: Arc<[Arc<Files>]>, upstreams: Arc<Upstreams> },
    /// An answer made in this process.
    Service(Arc<dyn Service>),
    /// Elsewhere: the location is sent as it is.
    Redirect { status: u16, location: Arc<str> },
    /// Elsewhere, by a rule.
    Moved(Arc<Moved>),
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body: u64,
    /// From the request's head at the upstream to the head of its answer, and between two pieces
    /// of the answer.
    pub response_time: Duration,
    /// How long an upgraded connection may carry nothing, in either direction; zero: for ever.
    pub upgrade_silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 100 << 20,
            response_time: Duration::from_secs(60),
            upgrade_silence: Duration::from_secs(86_400),
        }
    }
}

/// Which `Upgrade` protocols are joined to the upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Upgrades {
    #[default]
    Websocket,
    /// These too, by name in lower case.
    Also(Arc<[String]>),
    Never,
}

/// Changes to a request on its way to the upstream.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    /// Names in lower case.
    pub remove: Arc<[String]>,
    /// Set after removal; values may hold secrets, so `Debug` must not print them.
    pub set: Arc<[(String, Secret)]>,
    /// What the upstream is told in Host.
    pub host: HostSent,
    /// Where the upstream thinks it is.
    pub relocation: Option<Arc<Relocation>>,
}

/// Which name of the site an upstream is told in Host. What the client named stands in the
/// forwarded fields in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostSent {
    /// What the client named.
    #[default]
    Client,
    /// The host of the upstream's own address.
    Upstream,
}

/// A value that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(value.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}
