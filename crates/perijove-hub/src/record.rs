//! What is known of a notebook beyond the life of this process.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    context::Context,
    notebook::{Name, Notebook},
    phase::Phase,
    spawn::Handle,
    user::encode_path,
};

/// A notebook as it is saved: enough to find it again, or to start it once more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(flatten)]
    pub(crate) notebook: Notebook,
    pub(crate) phase: Phase,
    pub(crate) launch: Launch,
    pub(crate) token: Token,
    /// `None` until its process was started.
    pub(crate) handle: Option<Handle>,
    /// What takes its place once it has stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Launch>,
    /// How it came to its end, when it is absent or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
}

/// One start of a notebook: what to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) context: Context,
    pub(crate) hash: String,
    /// The user's folder.
    pub(crate) folder: PathBuf,
    /// Seconds from the start to the end, whatever happens; 0 is never.
    pub(crate) kill_timeout: u64,
    /// The file to open, below the user's folder.
    pub(crate) opens: String,
}

impl Launch {
    /// What the site says that its notebook reads: the site decides that, as it decides what runs
    /// in it.
    pub(crate) fn shared(&self) -> Vec<PathBuf> {
        let context = &self.context;
        context.share.iter().chain(&context.extra_template_paths).cloned().collect()
    }

    /// The file of the first notebook, which is made unless it is there.
    pub(crate) fn file(&self, name: &Name) -> String {
        self.context.notebook_file(name, &self.hash)
    }

    /// The page to open.
    pub(crate) fn url(&self, address: &str) -> String {
        format!("{address}lab/tree/{}", encode_path(&self.opens))
    }
}

/// How a notebook ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// "it ended by itself (exit status 1)"
    pub(crate) reason: String,
    /// What it printed last.
    pub(crate) last_lines: Vec<String>,
}

/// What a notebook server wants to see with every request: known to it and to the gateway only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Token(String);

impl Token {
    /// 256 random bits.
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(crate::user::hex(&bytes)))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
