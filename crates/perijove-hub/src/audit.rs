//! Who did what to which notebook, from where, and why: lines of the log with the target `audit`.
//!
//! They hold names and addresses, never what a launch brings, a token or a cookie.

use std::fmt::Display;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Launch,
    /// Somebody was let pass to the domain of notebooks.
    Ticket,
    Refusal,
    Stop,
    /// It ended, however that came.
    End,
}

impl Deed {
    fn as_str(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Ticket => "ticket",
            Self::Refusal => "refusal",
            Self::Stop => "stop",
            Self::End => "end",
        }
    }
}

/// Where it was asked for: at the control socket, by the site or an operator.
pub(crate) const CONTROL: &str = "control";

/// Notes a deed about a notebook, or about an address below that of notebooks.
pub(crate) fn note(deed: Deed, notebook: impl Display, from: impl Display, why: &str) {
    tracing::info!(
        target: "audit",
        deed = deed.as_str(),
        notebook = %notebook,
        from = %from,
        why,
        "audit"
    );
}
