//! The configuration: as it was written (`Config`), and as it was meant (`Plan`).

use std::path::PathBuf;

use serde::Deserialize;

mod access;
mod edge;
pub(crate) mod entry;
mod explain;
mod files;
pub(crate) mod layers;
mod log;
mod mistakes;
mod operations;
pub(crate) mod plan;
mod read;
mod site;
mod text;
mod tls;
mod units;
mod upstream;
mod words;

pub use access::{Allow, Auth, AuthKind};
pub use edge::{Limits, Route};
pub use files::{CacheRule, Static};
pub use log::{AccessLog, Log, LogFormat, LogLevel, Rotate};
pub(crate) use mistakes::Mistake;
pub use mistakes::Mistakes;
pub use operations::{Metrics, Service, Traces};
pub(crate) use plan::Plan;
pub use site::{Driver, Interface, Rollout, Site};
pub use tls::{CertificatePair, ClientVerify, Tls};
pub use units::{Period, Size};
pub use upstream::{Addresses, UpstreamTls};
pub use words::Words;

use entry::Entry;

/// What can be written in `perijove.toml`.
///
/// Relative paths begin at the folder of the file; those of `[site]` and `[notebook]`, except
/// `site.root` itself, at `site.root`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Addresses to listen on: `"127.0.0.1:8000"`, `"[::]:8000"`, `"unix:/run/site.sock"`. Sockets
    /// that are inherited (`LISTEN_FDS`) are used instead, when there are any.
    pub listen: Vec<String>,
    /// What must survive a restart: the list of notebooks, their logs. Without it
    /// `$STATE_DIRECTORY`, else a folder of this site's own in the user's XDG state folder.
    pub state_folder: Option<PathBuf>,
    /// Sockets. Their names end at 107 bytes, so keep it short. Without it `$RUNTIME_DIRECTORY`,
    /// else a folder of this site's own in `/run/perijove` or `$XDG_RUNTIME_DIR`.
    pub runtime_folder: Option<PathBuf>,
    /// A file for the number of the process that serves, for service managers that ask for one. It
    /// changes with an upgrade of perijove, and is gone when nobody serves.
    pub pid_file: Option<PathBuf>,
    /// Addresses and networks whose `Forwarded` and `X-Forwarded-*` headers are believed; `"unix:"` is
    /// whoever reaches a Unix socket that is listened on.
    pub trusted_proxies: Vec<String>,
    /// Threads that carry traffic. Without it as many as there are processors.
    pub threads: Option<usize>,
    pub log: Log,
    pub metrics: Metrics,
    pub traces: Option<Traces>,
    pub limits: Limits,
    pub tls: Option<Tls>,
    pub site: Site,
    pub notebook: perijove_hub::Config,
    /// Paths with something of their own: applications, programs elsewhere, files, redirects.
    pub route: Vec<Route>,
    pub service: Vec<Service>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec!["127.0.0.1:8000".to_owned()],
            state_folder: None,
            runtime_folder: None,
            pid_file: None,
            trusted_proxies: Vec::new(),
            threads: None,
            log: Log::default(),
            metrics: Metrics::default(),
            traces: None,
            limits: Limits::default(),
            tls: None,
            site: Site::default(),
            notebook: perijove_hub::Config::default(),
            route: Vec::new(),
            service: Vec::new(),
        }
    }
}

/// Reads the text of a file and tells every mistake that the text alone shows: nothing is looked up
/// on the disk. Any text gives a configuration or mistakes, never a panic.
///
/// # Errors
/// When the text is not TOML, or holds what is not a setting, or not of its kind.
pub fn parse_text(text: &str) -> Result<Config, Mistakes> {
    let (mut root, wrong) = text::parse(layers::FILE_NAME, text);
    let mut mistakes = Mistakes::default();
    mistakes.extend(wrong);
    let config = read_tree(&mut root, &mut mistakes);
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes.sorted()) }
}

/// Reads the merged layers; what is wrong is taken out and told.
fn read_tree(root: &mut Entry, mistakes: &mut Mistakes) -> Config {
    let (config, wrong) = read::read(root);
    mistakes.join(wrong);
    config.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse_text;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse_text("").unwrap().listen, ["127.0.0.1:8000"]);
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC*") {
            drop(parse_text(&text));
        }

        #[test]
        fn anything_that_looks_like_settings_is_answered(
            lines in proptest::collection::vec(
                "(listen|site|\\[site\\]|\\[\\[route\\]\\]|path|workers|tls.key|notebook.folder)( = ('/x'|-?[0-9]{1,20}|\\[\\]|\\{\\}|true))?",
                0..8,
            )
        ) {
            drop(parse_text(&lines.join("\n")));
        }
    }
}
