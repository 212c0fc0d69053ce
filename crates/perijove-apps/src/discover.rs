//! What kind of application lies in a folder.
//!
//! Nothing is run to find out. What a file states (a `Procfile`, `wsgi_app` in `gunicorn.conf.py`)
//! counts before what the code looks like; of two that could be meant equally well, none is chosen.

mod candidates;
mod django;
mod paste;
mod source;
mod stated;

use std::path::Path;

use thiserror::Error;

use crate::Application;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub what: What,
    /// For people: why this one, then what was passed over for it.
    pub why: Vec<String>,
}

/// Something that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Application(Application),
    /// The words of a command that listens on the port it is told.
    Command(String),
}

/// What whoever asks could run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An application or a command.
    Either,
    /// An application: the driver is chosen, and it is not the one that runs commands.
    Application,
}

/// More than one could be meant.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{} applications could be meant:\n{}", .candidates.len(), list(.candidates))]
pub struct Ambiguous {
    /// The name of each, as it can be written in `site.app`, and why it could be meant.
    pub candidates: Vec<(String, String)>,
}

fn list(candidates: &[(String, String)]) -> String {
    let lines: Vec<String> =
        candidates.iter().map(|(name, why)| format!("  {name}  ({why})")).collect();
    lines.join("\n")
}

/// Finds what a folder is to be run as. `None` when nothing there looks like an application.
///
/// # Errors
/// When two could be meant equally well.
pub fn discover(root: &Path, wanted: Wanted) -> Result<Option<Found>, Ambiguous> {
    let mut passed_over = Vec::new();
    for state in [stated::procfile, stated::gunicorn_settings] {
        match state(root, wanted) {
            Some(Ok(found)) => return Ok(Some(found)),
            Some(Err(why_not)) => passed_over.push(why_not),
            None => {}
        }
    }
    let Some(mut found) = candidates::choose(root)? else { return Ok(None) };
    found.why.extend(passed_over);
    Ok(Some(found))
}

#[cfg(test)]
mod tests;
