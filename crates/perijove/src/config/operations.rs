//! Settings of what stands beside the site: metrics, traces, daemons.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::Period;

/// Numbers for Prometheus.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Metrics {
    /// An address of their own, such as `"127.0.0.1:9100"`: `/metrics`, `/health` (the program
    /// runs) and `/ready` (every application can be asked). Without it, nothing is counted.
    pub listen: Option<String>,
}

/// Traces for `OpenTelemetry`: each request becomes spans that are sent to a collector, and the
/// application is told where its own belong (`traceparent`). Without this table a client's
/// `traceparent` passes through untouched.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Traces {
    /// The collector, by OTLP over HTTP. Without it `$OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or
    /// `$OTEL_EXPORTER_OTLP_ENDPOINT`, else `"http://127.0.0.1:4318"`.
    pub endpoint: Option<String>,
    /// Which part of the requests is recorded, from 0 to 1. Of those that come with a `traceparent`
    /// from one of `trusted-proxies` the caller has decided; other callers can have less recorded, not
    /// more. Without it as `$OTEL_TRACES_SAMPLER` and `$OTEL_TRACES_SAMPLER_ARG`
    /// say, else all.
    pub ratio: Option<f64>,
    /// The name of the site among others. Without it `$OTEL_SERVICE_NAME`, else `"perijove"`.
    pub service: Option<String>,
}

/// A daemon beside the site: a websocket server, a queue's worker, a clock. It is started when the
/// application is ready, started again when it ends, and stopped with the program.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Service {
    /// What it is called by routes, in `status` and in the log: letters, digits, `-` and `_`.
    pub name: String,
    /// A Python file, run with the site's Python.
    pub script: Option<PathBuf>,
    /// A program instead, and its arguments. `{socket}` and `{python}` are filled in.
    pub command: Vec<String>,
    /// Arguments of the script.
    pub arguments: Vec<String>,
    /// Its folder. Without it that of the site.
    pub folder: Option<PathBuf>,
    /// Variables beside those of the site's workers.
    pub environment: BTreeMap<String, String>,
    /// Whether it serves a Unix socket of its own, whose name is in `{socket}` and `$SOCKET`. Routes
    /// with its name lead there, websockets included.
    pub socket: bool,
    /// The account it runs as, when perijove runs as root. Without it that of the site.
    pub user: Option<String>,
    /// The group. Without it that of the account.
    pub group: Option<String>,
    /// A file for what it prints. Without it, that stands in the log.
    pub log_file: Option<PathBuf>,
    /// Whether it is started before the application.
    pub before: bool,
    /// How long it may take to serve its socket.
    pub start_time: Period,
    /// How long it may take to end when it is asked to.
    pub stop_time: Period,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            name: String::new(),
            script: None,
            command: Vec::new(),
            arguments: Vec::new(),
            folder: None,
            environment: BTreeMap::new(),
            socket: false,
            user: None,
            group: None,
            log_file: None,
            before: false,
            start_time: Period::seconds(30),
            stop_time: Period::seconds(10),
        }
    }
}
