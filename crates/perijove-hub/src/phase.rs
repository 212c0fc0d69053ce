//! The states of a notebook server and the only legal moves between them.
//!
//! ```text
//!            ┌──────────────────────────────┐
//!            ▼                              │
//!         Absent ──► Starting ──► Ready ──► Stopping
//!          ▲ ▲        ▲    │ │     │          ▲
//!          │ │        │    │ └─────┼──────────┘
//!          │ │        │    ▼       ▼
//!          │ └────── Failed       Lost
//!          └───────────────────────┘
//! ```
//!
//! A server that fails while it starts is Failed until somebody starts it again or clears it away.
//! One that is found dead is Lost until its route is gone and its end is on record.

use serde::{Deserialize, Serialize};

/// Where a notebook server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    Absent,
    Starting,
    Ready,
    Stopping,
    Failed,
    Lost,
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Lost => "lost",
        }
    }

    /// Whether a server in this state may be put into that one.
    pub(crate) fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Absent | Self::Failed, Self::Starting)
                | (Self::Starting, Self::Ready | Self::Failed | Self::Stopping)
                | (Self::Ready, Self::Stopping | Self::Lost)
                | (Self::Stopping | Self::Lost | Self::Failed, Self::Absent)
        )
    }

    /// Whether a process may be there, so that the server counts as running.
    pub(crate) fn is_active(self) -> bool {
        !matches!(self, Self::Absent | Self::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::Phase::{self, Absent, Failed, Lost, Ready, Starting, Stopping};

    fn check(from: Phase, allowed: &[Phase]) {
        for next in [Absent, Starting, Ready, Stopping, Failed, Lost] {
            assert_eq!(from.may_become(next), allowed.contains(&next), "{from:?} to {next:?}");
        }
    }

    #[test]
    fn only_these_moves_are_legal() {
        check(Absent, &[Starting]);
        check(Starting, &[Ready, Failed, Stopping]);
        check(Ready, &[Stopping, Lost]);
        check(Stopping, &[Absent]);
        check(Failed, &[Starting, Absent]);
        check(Lost, &[Absent]);
    }
}
