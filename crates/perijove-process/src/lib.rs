//! Child processes of perijove: start, watch, stop, restart, tie down.
//!
//! It must not know what its children are for: Python, users and notebooks are words of others.
//!
//! Children are forked from the thread that calls; a child tied to its parent ends when *that
//! thread* ends, so call from the thread that lives as long as the program.

mod backoff;
mod capture;
mod child;
mod command;
pub mod group;
pub mod guardian;
mod identity;
mod output;
mod question;
mod readiness;
mod successor;
mod usage;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
use portable as system;

pub use backoff::Backoff;
pub use capture::{CaptureError, Captured};
pub use child::{Child, Ending, How, State};
pub use command::{Command, Input, ParentDeath, SpawnError};
pub use identity::ProcessIdentity;
pub use output::{Output, Tail};
pub use perijove_confine::{Account, Confinement, Limits, Sandbox, landlock};
pub use question::Asker;
pub use readiness::{NotReady, until_ready};
pub use successor::Successor;
pub use usage::Usage;
