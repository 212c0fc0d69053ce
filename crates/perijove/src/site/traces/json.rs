//! Traces in the JSON of OTLP: ids in hexadecimal, times and whole numbers as text
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>). The names of attributes are
//! those of the semantic conventions for HTTP.

use std::time::{SystemTime, UNIX_EPOCH};

use perijove_gateway::FinishedTrace;
use serde_json::{Value, json};

use crate::config::plan::TracesPlan;

/// Kinds of spans (`opentelemetry.proto.trace.v1.Span.SpanKind`).
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// The status of a span that failed (`Status.StatusCode`).
const FAILED: u8 = 2;

/// A batch as the body of one request.
pub(super) fn export(plan: &TracesPlan, batch: &[Box<FinishedTrace>]) -> String {
    let mut resource = vec![text("service.name", &plan.service)];
    let further = plan.attributes.iter().filter(|(name, _)| name != "service.name");
    resource.extend(further.map(|(name, value)| text(name, value)));
    let spans: Vec<Value> = batch.iter().flat_map(|finished| spans(finished)).collect();
    json!({
        "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{
                "scope": { "name": "perijove", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans,
            }],
        }],
    })
    .to_string()
}

/// The request as a whole, its wait for a free upstream, and the upstream's part.
fn spans(finished: &FinishedTrace) -> Vec<Value> {
    let trace = &finished.trace;
    let mut spans = vec![request(finished)];
    if let Some(times) = trace.queued() {
        let id = format!("{:016x}", waiting_id(&trace.span.to_string()));
        spans.push(child(finished, "wait for a worker", (INTERNAL, &id), times, Vec::new()));
    }
    if let Some(times) = trace.upstream() {
        let address = trace.address().map(|address| text("server.address", address));
        let attributes = address.into_iter().collect();
        let id = trace.onward.to_string();
        spans.push(child(finished, &finished.method, (CLIENT, &id), times, attributes));
    }
    spans
}

fn request(finished: &FinishedTrace) -> Value {
    let FinishedTrace { trace, method, route, .. } = finished;
    let name = if route.is_empty() { method.to_string() } else { format!("{method} {route}") };
    let mut attributes = vec![
        text("http.request.method", method),
        text("url.path", &finished.path),
        text("url.scheme", finished.scheme),
        text("server.address", &finished.host),
        text("network.protocol.version", finished.version),
        text("perijove.request_id", &finished.request_id),
        whole("http.response.status_code", u64::from(finished.status)),
        whole("http.response.body.size", finished.sent),
    ];
    if !route.is_empty() {
        attributes.push(text("http.route", route));
    }
    attributes.extend(finished.client.map(|client| text("client.address", &client.to_string())));
    attributes.extend(finished.agent.as_deref().map(|agent| text("user_agent.original", agent)));
    let mut span = json!({
        "traceId": trace.trace_id.to_string(),
        "spanId": trace.span.to_string(),
        "name": name,
        "kind": SERVER,
        "startTimeUnixNano": nanoseconds(trace.began()),
        "endTimeUnixNano": nanoseconds(finished.ended),
        "attributes": attributes,
    });
    if let Some(span) = span.as_object_mut() {
        if let Some(parent) = trace.parent {
            span.insert("parentSpanId".to_owned(), parent.to_string().into());
        }
        if finished.status >= 500 {
            span.insert("status".to_owned(), json!({ "code": FAILED }));
        }
    }
    span
}

fn child(
    finished: &FinishedTrace,
    name: &str,
    (kind, id): (u8, &str),
    (from, to): (SystemTime, SystemTime),
    attributes: Vec<Value>,
) -> Value {
    json!({
        "traceId": finished.trace.trace_id.to_string(),
        "spanId": id,
        "parentSpanId": finished.trace.span.to_string(),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": nanoseconds(from),
        "endTimeUnixNano": nanoseconds(to),
        "attributes": attributes,
    })
}

/// The id of the span for the wait, which nobody else needs to know: made from the request's.
fn waiting_id(span: &str) -> u64 {
    let id = u64::from_str_radix(span, 16).unwrap_or_default();
    (id ^ 0x5a5a_5a5a_5a5a_5a5a).max(1)
}

fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn whole(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}
