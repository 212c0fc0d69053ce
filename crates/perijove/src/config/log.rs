//! Settings of the logs.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Period, Size};

/// What is told, where, and how. Files are opened again on SIGUSR1, after somebody moved them away.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Log {
    /// `text` for people, `json` for machines.
    pub format: LogFormat,
    /// The least that is told: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: LogLevel,
    /// A file for the log of the program. Without it, it goes to standard error.
    pub file: Option<PathBuf>,
    /// A file for what the site's processes print. Without it, that stands in the log of the
    /// program.
    pub site_file: Option<PathBuf>,
    /// A file for who launched, stopped or was refused which notebook, from where and why, as JSON.
    /// Without it, that stands in the log of the program, with the target `audit`.
    pub audit: Option<PathBuf>,
    /// The line for each request: `text`, `json` or `off`.
    pub access: AccessLog,
    /// A file for those lines. Without it they go to standard error.
    pub access_file: Option<PathBuf>,
    /// What those lines are like: `text`, `common`, `combined`, `json`, or a format of your own: with
    /// named fields, such as `"{client} {request} {status} {milliseconds}"`, or as Apache writes it,
    /// such as `"%h %>s \"%{Referer}i\""`. The fields are `time`, `iso_time`, `client`, `scheme`,
    /// `host`, `method`, `target`, `path`, `request`, `protocol`, `status`, `bytes`,
    /// `milliseconds`, `microseconds`, `first_byte`, `referer`, `user_agent`, `request_id`,
    /// `trace_id` and `header:NAME`. Without it, what `log.access` says.
    pub access_format: Option<String>,
    /// Requests that took at least this long are told in the log of the program. `0`: none.
    pub slow: Period,
    pub rotate: Option<Rotate>,
}

/// Log files are exchanged for new ones when they are full; the older ones are called `NAME.1` and
/// so on.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rotate {
    /// Bytes of a file.
    pub size: Size,
    /// How many older files are kept.
    pub keep: u32,
}

impl Default for Rotate {
    fn default() -> Self {
        Self { size: Size(100 << 20), keep: 7 }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum AccessLog {
    #[default]
    Text,
    Json,
    Off,
}
