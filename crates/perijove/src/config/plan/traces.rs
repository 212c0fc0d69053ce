//! Where traces go, by the settings and by the variables that `OpenTelemetry` has given names
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use std::time::Duration;

use perijove_gateway::{Sampling, Secret};

use super::Check;
use crate::config::{Traces, layers::Environment};

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TracesPlan {
    /// Host and port of the collector.
    pub(crate) authority: String,
    pub(crate) path: String,
    /// Further header fields, which may hold secrets.
    pub(crate) headers: Vec<(String, Secret)>,
    pub(crate) service: String,
    /// Further facts about this program.
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) sampling: Sampling,
    /// For the collector to take a batch.
    pub(crate) timeout: Duration,
    /// Between two batches.
    pub(crate) pause: Duration,
    /// Requests that may wait to be sent.
    pub(crate) room: usize,
    /// Requests of one batch.
    pub(crate) batch: usize,
}

/// None when nothing is to be traced.
pub(super) fn decide(traces: Option<&Traces>, check: &mut Check<'_>) -> Option<TracesPlan> {
    let traces = traces?;
    let environment = check.environment;
    if environment.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    {
        return None;
    }
    let (authority, path) = match endpoint(traces, environment) {
        Ok(found) => found,
        Err((what, hint)) => {
            check.wrong("traces.endpoint", what, hint);
            return None;
        }
    };
    if traces.ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
        check.wrong("traces.ratio", "must be between 0 and 1", "");
    }
    let number = |name: &str, default: u64| {
        environment.get(name).and_then(|text| text.parse().ok()).unwrap_or(default).max(1)
    };
    let millis = |name, default| Duration::from_millis(number(name, default));
    let count = |name, default| usize::try_from(number(name, default)).unwrap_or(usize::MAX);
    let pairs = |name| environment.get(name).map(list).unwrap_or_default();
    let headers = pairs("OTEL_EXPORTER_OTLP_HEADERS").into_iter();
    let headers = headers.chain(pairs("OTEL_EXPORTER_OTLP_TRACES_HEADERS"));
    Some(TracesPlan {
        authority,
        path,
        headers: headers.map(|(name, value)| (name, Secret::new(value))).collect(),
        service: traces
            .service
            .clone()
            .or_else(|| environment.get("OTEL_SERVICE_NAME").map(str::to_owned))
            .unwrap_or_else(|| "perijove".to_owned()),
        attributes: pairs("OTEL_RESOURCE_ATTRIBUTES"),
        sampling: sampling(traces, environment),
        timeout: millis("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000),
        pause: millis("OTEL_BSP_SCHEDULE_DELAY", 5000),
        room: count("OTEL_BSP_MAX_QUEUE_SIZE", 2048).min(1 << 20),
        batch: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512).min(1 << 16),
    })
}

/// Host and port, and the path. The error is what is wrong and a hint.
fn endpoint(
    traces: &Traces,
    environment: &Environment,
) -> Result<(String, String), (String, &'static str)> {
    // The variable for traces alone names the whole address.
    if traces.endpoint.is_none()
        && let Some(whole) = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    {
        return split(whole);
    }
    let base = traces.endpoint.as_deref().or(environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let (authority, path) = split(base.unwrap_or("http://127.0.0.1:4318"))?;
    let path = path.trim_end_matches('/');
    let path =
        if path.ends_with("/v1/traces") { path.to_owned() } else { format!("{path}/v1/traces") };
    Ok((authority, path))
}

fn split(text: &str) -> Result<(String, String), (String, &'static str)> {
    const HINT: &str = "write \"http://127.0.0.1:4318\"; a collector on this machine sends them on";
    if text.starts_with("https://") {
        return Err((format!("{text:?}: traces are sent by plain HTTP only"), HINT));
    }
    let wrong = || (format!("{text:?} is no address of a collector"), HINT);
    let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, format!("/{path}")),
        None => (rest, "/".to_owned()),
    };
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    if authority.is_empty()
        || !authority.chars().all(is_bare)
        || !path.chars().all(|c| c.is_ascii_graphic())
    {
        return Err(wrong());
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    Ok((authority, path))
}

fn sampling(traces: &Traces, environment: &Environment) -> Sampling {
    if let Some(ratio) = traces.ratio {
        return Sampling { ratio, follows_parent: true };
    }
    let named = environment.get("OTEL_TRACES_SAMPLER").unwrap_or("parentbased_always_on");
    let (follows_parent, kind) = match named.strip_prefix("parentbased_") {
        Some(kind) => (true, kind),
        None => (false, named),
    };
    let argument = environment.get("OTEL_TRACES_SAMPLER_ARG").and_then(|text| text.parse().ok());
    let ratio = match kind {
        "always_off" => 0.0,
        "traceidratio" => argument.filter(|ratio| (0.0..=1.0).contains(ratio)).unwrap_or(1.0),
        _ => 1.0,
    };
    Sampling { ratio, follows_parent }
}

/// `a=b,c=d`, percent-encoded as W3C Baggage is.
fn list(text: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), decoded(value.trim()));
        let is_plain = |text: &str| !text.chars().any(char::is_control);
        (!name.is_empty() && is_plain(name) && is_plain(&value)).then(|| (name.to_owned(), value))
    };
    text.split(',').filter_map(pair).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%');
        let byte = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_are_found() {
        let check = |written: Option<&str>, environment: Environment, expected: Option<&str>| {
            let traces = Traces { endpoint: written.map(str::to_owned), ..Traces::default() };
            let found = endpoint(&traces, &environment);
            let found = found.ok().map(|(authority, path)| format!("{authority}{path}"));
            assert_eq!(found.as_deref(), expected, "{written:?}");
        };
        let none = || Environment::from([("A", "b")]);
        check(None, none(), Some("127.0.0.1:4318/v1/traces"));
        check(Some("http://otel:4318"), none(), Some("otel:4318/v1/traces"));
        check(Some("http://otel/base/"), none(), Some("otel:80/base/v1/traces"));
        check(Some("http://otel/v1/traces"), none(), Some("otel:80/v1/traces"));
        check(Some("https://otel"), none(), None);
        check(Some("otel:4318"), none(), None);
        check(Some("http://"), none(), None);
        check(Some("http://a b"), none(), None);
        let named = || Environment::from([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1")]);
        check(None, named(), Some("a:1/v1/traces"));
        check(Some("http://otel:4318"), named(), Some("otel:4318/v1/traces"));
        let whole = Environment::from([("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a:1/t")]);
        check(None, whole, Some("a:1/t"));
    }

    #[test]
    fn samplers_have_their_names() {
        let check = |ratio: Option<f64>, name: &str, argument: &str, expected: (f64, bool)| {
            let environment =
                [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            let traces = Traces { ratio, ..Traces::default() };
            let found = sampling(&traces, &Environment::from(environment));
            let expected = Sampling { ratio: expected.0, follows_parent: expected.1 };
            assert_eq!(found, expected, "{name} {argument}");
        };
        check(None, "", "", (1.0, true));
        check(None, "always_on", "", (1.0, false));
        check(None, "parentbased_always_off", "", (0.0, true));
        check(None, "traceidratio", "0.25", (0.25, false));
        check(None, "parentbased_traceidratio", "7", (1.0, true));
        check(Some(0.5), "always_off", "", (0.5, true));
    }

    #[test]
    fn lists_are_read() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let expected: Vec<(String, String)> =
                expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            assert_eq!(list(text), expected, "{text}");
        };
        check("a=b, c = d%20e", &[("a", "b"), ("c", "d e")]);
        check("authorization=Basic%20x%3D", &[("authorization", "Basic x=")]);
        check("nonsense,=x,a=b%0d%0aEvil: x", &[]);
        check("a=100%", &[("a", "100%")]);
    }
}
