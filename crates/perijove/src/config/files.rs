//! Settings of files that are served as they are.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::Period;

/// Files and where they are served.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Static {
    /// What the paths of its requests begin with; without it `/`.
    pub path: Option<String>,
    /// What lies below this folder. Hidden files are not there (but `.well-known`), and neither is
    /// what links lead to outside of it.
    pub folder: Option<PathBuf>,
    /// Instead of a folder: this one file, at this one path.
    pub file: Option<PathBuf>,
    /// What a folder is when it is asked for itself: the first of these files that is there.
    /// Without it `index.html`.
    pub index: Option<Vec<String>>,
    /// Whether a folder without such a file is answered with a list of what is in it.
    pub listing: bool,
    /// The file that answers for pages that are not there, to those who accept HTML: the page of an
    /// application that runs in the browser. The site's application is not asked for them then.
    pub fallback: Option<String>,
    /// How long browsers may keep files; the first that fits counts.
    pub cache: Vec<CacheRule>,
    /// Whether files whose names hold a hash of their content, such as `app.3f2a9c1b.js`, may be
    /// kept for ever where no rule of `cache` fits. Without it they may.
    pub immutable: Option<bool>,
    /// Media types of files by the ends of their names, before those that are built in:
    /// `{ glsl = "text/plain" }`.
    pub types: BTreeMap<String, String>,
    /// Not for clients: only what the application names in `X-Accel-Redirect` is sent.
    pub internal: bool,
}

/// How long browsers may keep files whose names fit a pattern.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CacheRule {
    /// `*.css` for the name of a file; with a slash in it, `/img/*.png` or `/img/**`, for its path
    /// below the folder.
    #[serde(rename = "match")]
    pub pattern: String,
    /// How long they may be kept without asking again; `0` is to ask every time.
    pub age: Period,
    /// Whether they never change.
    #[serde(default)]
    pub immutable: bool,
}
