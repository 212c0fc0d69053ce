//! From one process of perijove to the next, without closing a socket or losing a notebook.
//!
//! The old process starts the new one with one end of a socket pair, and both go through this:
//!
//! ```text
//! old                                     new
//!  │ ◀──────────────── hello ─────────────  │  it is one of ours
//!  │ ── promise: listeners, locks ────────▶ │  configuration, certificates, workers
//!  │ ◀──────────────── ready ─────────────  │
//!  │  closes its hub                        │
//!  │ ── yours ────────────────────────────▶ │  opens its hub
//!  │ ◀──────────────── taken ─────────────  │  serves
//!  │  lets go of the listeners, drains      │
//! ```
//!
//! Both share the locks of the folders from the promise on, so no third one can come in between.
//! Until `yours` the old one is the hub, from `taken` on the new one is; between them neither is. When the
//! new one fails before `taken`, it is killed and waited for, and the old one goes on. When the old
//! one dies, the new one takes over as soon as it is ready: the end of the socket pair tells.

mod channel;
pub(crate) mod giving;
pub(crate) mod taking;

use std::path::PathBuf;

use perijove_process::ProcessIdentity;
use serde::{Deserialize, Serialize};

/// The variable that tells a new process at which descriptor its end of the socket pair is.
pub(crate) const VARIABLE: &str = "PERIJOVE_HANDOVER";

/// Number of the descriptor.
const DESCRIPTOR: i32 = 3;

/// Of the messages; one that speaks another does not take over.
const PROTOCOL: u32 = 1;

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "kebab-case")]
enum FromNew {
    Hello {
        protocol: u32,
        version: String,
    },
    /// Everything that can be built beside the old one is built.
    Ready,
    /// It is the hub now.
    Taken,
    Failed {
        reason: String,
    },
}

/// What the old process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "kebab-case")]
enum FromOld {
    Promise(Promise),
    /// The old one is the hub no more.
    Yours,
}

/// What the new process goes on with. A descriptor goes with every listener and every lock, in this
/// order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Promise {
    pub(crate) old: ProcessIdentity,
    pub(crate) version: String,
    /// How often this site was handed over.
    pub(crate) generation: u64,
    /// How long the old one may take between `ready` and `yours`, beside what that always takes: in
    /// seconds.
    #[serde(default)]
    pub(crate) closing_time: u64,
    /// The file that the old one stands in with its number.
    #[serde(default)]
    pub(crate) pid_file: Option<PathBuf>,
    /// Those that the old one and the ones before it have replaced, and that still finish something.
    #[serde(default)]
    pub(crate) before: Vec<ProcessIdentity>,
    pub(crate) listeners: Vec<PromisedListener>,
    pub(crate) locks: Vec<PromisedLock>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PromisedListener {
    pub(crate) name: String,
    /// The file of a Unix socket.
    pub(crate) file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PromisedLock {
    Runtime(PathBuf),
    State(PathBuf),
}
