//! What a guardian is to do, as it reads it on its standard input.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    os::fd::{OwnedFd, RawFd},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{Confinement, group::Group};

/// Bytes of a specification.
const LONGEST: u64 = 16 << 20;

/// A server to be started and held.
#[derive(Clone, Serialize, Deserialize)]
pub struct Spec {
    /// An absolute path.
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// The complete environment.
    pub environment: BTreeMap<String, String>,
    pub folder: PathBuf,
    /// What the server takes upon itself before it runs.
    #[serde(default)]
    pub confinement: Confinement,
    /// What it may use with all that it starts.
    #[serde(default)]
    pub group: Option<Group>,
    /// Whether the program runs the server in a process of another's: bubblewrap does.
    #[serde(default)]
    pub is_wrapped: bool,
    /// What the server reads on its standard input, before its end; may hold secrets.
    pub input: String,
    /// From the start, whatever happens; `None`: never.
    pub kill_after: Option<Duration>,
    /// From SIGTERM to SIGKILL.
    pub stop_grace: Duration,
    /// What the server prints goes here, with `.1` and `.2` for what is older.
    pub log: PathBuf,
    /// Where the [`Record`](super::Record) is kept.
    pub status: PathBuf,
}

impl std::fmt::Debug for Spec {
    // Neither the input nor the environment: both may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spec")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("folder", &self.folder)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// A specification beside the numbers of the descriptors that come with it.
#[derive(Serialize)]
struct Told<'a> {
    spec: &'a Spec,
    descriptors: Vec<RawFd>,
    claim: RawFd,
}

#[derive(Deserialize)]
pub(super) struct Heard {
    pub(super) spec: Spec,
    pub(super) descriptors: Vec<RawFd>,
    pub(super) claim: RawFd,
}

pub(super) fn to_text(
    spec: &Spec,
    descriptors: &[(OwnedFd, RawFd)],
) -> Result<Vec<u8>, serde_json::Error> {
    let claim = number_of_claim(descriptors);
    let descriptors = descriptors.iter().map(|(_, number)| *number).collect();
    serde_json::to_vec(&Told { spec, descriptors, claim })
}

/// Behind what the server gets.
pub(super) fn number_of_claim(descriptors: &[(OwnedFd, RawFd)]) -> RawFd {
    descriptors.iter().map(|(_, number)| number + 1).max().unwrap_or(3)
}

/// Reads to the end of the standard input: a starter that died amid writing starts nothing.
pub(super) fn from_stdin() -> io::Result<Heard> {
    let mut text = Vec::new();
    io::stdin().lock().take(LONGEST).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
