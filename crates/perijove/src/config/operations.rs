//! Settings for those who watch the program: metrics, traces.

use serde::Deserialize;

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
    /// Which part of the requests is recorded, from 0 to 1; of those that come with a `traceparent`
    /// the caller has decided. Without it as `$OTEL_TRACES_SAMPLER` and `$OTEL_TRACES_SAMPLER_ARG`
    /// say, else all.
    pub ratio: Option<f64>,
    /// The name of the site among others. Without it `$OTEL_SERVICE_NAME`, else `"perijove"`.
    pub service: Option<String>,
}
