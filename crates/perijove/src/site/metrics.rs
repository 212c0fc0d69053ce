//! Numbers for Prometheus: what the gateway has counted, and what is known of everything behind it.
//!
//! Nothing here is on the way of a request: numbers are gathered when somebody asks for them.

mod certificate;
mod exposition;

use std::{pin::Pin, sync::Arc};

use perijove_gateway::{
    Client, Head, Meter, Response, Route, Routes, Scheme, Service, ServiceRequest, Target, Totals,
    Tracer,
};
use serde_json::Value;

use super::status::Board;
use crate::{config::Plan, system};
use exposition::{Page, Type};

/// Where the numbers come from.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) meter: Arc<Meter>,
    pub(super) board: Arc<Board>,
    /// Answers `GET /notebooks`.
    pub(super) notebooks: Option<Arc<dyn Service>>,
    pub(super) tracer: Option<Arc<Tracer>>,
}

/// Answers on the listener of the metrics.
pub(super) fn serve_on(routes: &Routes, sources: Sources) {
    routes.insert(None, "/", Route::new(Target::Service(Arc::new(sources))));
}

/// Requests to notebooks are counted together, whoever they belong to.
pub(super) fn name_notebooks(plan: &Plan, routes: &Routes, meter: Option<&Meter>) {
    if let (Some(meter), Some(notebook)) = (meter, &plan.notebook) {
        routes.count_below(&notebook.path, meter.label("notebooks"));
    }
}

impl Service for Sources {
    fn call(&self, request: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        Box::pin(async move {
            match (request.head.method(), request.head.path()) {
                ("GET" | "HEAD", b"/metrics") => {
                    let page = self.page().await;
                    Response::new(200, exposition::CONTENT_TYPE, page)
                }
                ("GET" | "HEAD", b"/health") => Response::new(200, "text/plain", "ok\n"),
                ("GET" | "HEAD", b"/ready") => self.ready(),
                ("GET" | "HEAD", _) => {
                    Response::new(404, "text/plain", "/metrics, /health and /ready are here\n")
                }
                _ => Response::new(405, "text/plain", "this method does nothing here\n"),
            }
        })
    }
}

impl Sources {
    /// Whether every application has a worker that serves.
    fn ready(&self) -> Response {
        let status = self.board.tell();
        let is_served = |application: &Value| {
            workers(application).any(|worker| text(worker, "phase") == "serving")
        };
        if self.board.is_announced() && list(&status, "applications").all(is_served) {
            Response::new(200, "text/plain", "ready\n")
        } else {
            Response::new(503, "text/plain", "an application has no worker that serves\n")
        }
    }

    async fn page(&self) -> String {
        let mut page = Page::default();
        let status = self.board.tell();
        let totals = self.meter.totals();
        requests(&mut page, &totals);
        connections(&mut page, &totals);
        self.queues(&mut page);
        applications(&mut page, &status);
        elsewhere(&mut page, &status);
        reloads(&mut page, &status);
        self.notebooks(&mut page).await;
        let help = "When a TLS certificate ends, in seconds since the Unix epoch.";
        page.family("perijove_tls_certificate_expiry_seconds", Type::Gauge, help);
        for file in self.board.certificates() {
            if let Some(expiry) = certificate::expiry(&file) {
                page.sample(&[("file", &file.display().to_string())], expiry);
            }
        }
        if let Some(tracer) = &self.tracer {
            let help = "Traces that found no room on their way to the collector.";
            page.family("perijove_traces_lost_total", Type::Counter, help);
            page.sample(&[], tracer.lost());
        }
        process(&mut page, &status);
        page.finish()
    }

    fn queues(&self, page: &mut Page) {
        let queues = self.board.queues();
        let name = "perijove_requests_under_way";
        page.family(name, Type::Gauge, "Requests that an application has now.");
        for (place, upstreams) in &queues {
            page.sample(&[("application", place)], upstreams.load().0 as u64);
        }
        let name = "perijove_queue_length";
        page.family(name, Type::Gauge, "Requests that wait for a free worker.");
        for (place, upstreams) in &queues {
            page.sample(&[("application", place)], upstreams.load().1 as u64);
        }
        let help = "How long requests waited for a free worker, of those that had to.";
        page.family("perijove_queue_wait_seconds", Type::Histogram, help);
        for (place, upstreams) in &queues {
            page.histogram(&[("application", place)], &upstreams.waits());
        }
    }

    async fn notebooks(&self, page: &mut Page) {
        let Some(notebooks) = &self.notebooks else { return };
        let Ok(head) = Head::from_parts("GET", b"/notebooks", &[(b"host", b"perijove")]) else {
            return;
        };
        let request =
            ServiceRequest { head, body: bytes::Bytes::new(), client: ourselves(), subject: None };
        let answer = notebooks.call(request).await;
        let perijove_gateway::Body::Full(body) = &answer.body else { return };
        let all: Value = serde_json::from_slice(body).unwrap_or_default();
        page.family("perijove_notebooks", Type::Gauge, "Notebooks, by their state.");
        for state in ["starting", "ready", "asking", "stopping", "failed", "lost"] {
            let of_state = |one: &&Value| text(one, "state") == state;
            let count = all.as_array().into_iter().flatten().filter(of_state).count();
            page.sample(&[("state", state)], count as u64);
        }
    }
}

/// Who asks the hub: this program itself.
fn ourselves() -> Client {
    Client {
        address: None,
        scheme: Scheme::Http,
        host: "perijove".into(),
        port: 0,
        peer: None,
        request_id: "metrics".into(),
        trace: None,
        proven: None,
    }
}

fn requests(page: &mut Page, totals: &Totals) {
    let name = "perijove_requests_total";
    page.family(name, Type::Counter, "Requests that have ended.");
    for route in &totals.routes {
        for (method, status, count) in &route.requests {
            let labels = [("route", &*route.name), ("method", method), ("status", status)];
            page.sample(&labels, *count);
        }
    }
    let help = "Seconds from the head of a request to the last byte of its answer.";
    page.family("perijove_request_duration_seconds", Type::Histogram, help);
    for route in &totals.routes {
        page.histogram(&[("route", &route.name)], &route.whole);
    }
    let help = "Seconds from the head of a request to the first byte of its answer.";
    page.family("perijove_request_first_byte_seconds", Type::Histogram, help);
    for route in &totals.routes {
        page.histogram(&[("route", &route.name)], &route.first);
    }
    let name = "perijove_request_bytes_total";
    page.family(name, Type::Counter, "Bytes of requests' bodies, as they were announced.");
    for route in &totals.routes {
        page.sample(&[("route", &route.name)], route.received);
    }
    let name = "perijove_response_bytes_total";
    page.family(name, Type::Counter, "Bytes of answers' bodies that were sent.");
    for route in &totals.routes {
        page.sample(&[("route", &route.name)], route.sent);
    }
    let name = "perijove_faults_total";
    page.family(name, Type::Counter, "Requests that were answered with an error of ours, by kind.");
    for (kind, count) in &totals.faults {
        page.sample(&[("kind", kind)], *count);
    }
}

fn connections(page: &mut Page, totals: &Totals) {
    let name = "perijove_connections_total";
    page.family(name, Type::Counter, "Connections on which a protocol was spoken.");
    for connection in &totals.connections {
        page.sample(&[("protocol", connection.spoken)], connection.accepted);
    }
    page.family("perijove_connections_open", Type::Gauge, "Connections that are open.");
    for connection in &totals.connections {
        page.sample(&[("protocol", connection.spoken)], connection.open);
    }
    let help = "Websockets, and other connections that were joined to what stands behind.";
    page.family("perijove_websockets_open", Type::Gauge, help);
    let upgraded = totals.connections.iter().find(|one| one.spoken == "upgraded");
    page.sample(&[], upgraded.map_or(0, |one| one.open));
}

/// Phases that workers are in; each is told, so that a graph has no holes.
const PHASES: [&str; 7] =
    ["starting", "probation", "ready", "serving", "draining", "lingering", "pausing"];

fn applications(page: &mut Page, status: &Value) {
    let all = || list(status, "applications").map(|one| (place(one), one));
    page.family("perijove_workers", Type::Gauge, "Workers of an application, by their phase.");
    for (place, one) in all() {
        for phase in PHASES {
            let of_phase = |worker: &&Value| text(worker, "phase") == phase;
            let count = workers(one).filter(of_phase).count();
            page.sample(&[("application", &place), ("phase", phase)], count as u64);
        }
    }
    let help = "The version of an application: 1 at the start, one more with each replacement.";
    page.family("perijove_application_generation", Type::Gauge, help);
    for (place, one) in all() {
        page.sample(&[("application", &place)], number(one, "generation"));
    }
    let mut each = |name: &str, kind: Type, help: &str, key: &str, scale: f64| {
        page.family(name, kind, help);
        for (place, one) in all() {
            for (at, worker) in workers(one).enumerate() {
                if let Some(value) = worker.get(key).and_then(Value::as_f64) {
                    let at = at.to_string();
                    page.real(&[("application", &place), ("worker", &at)], value * scale);
                }
            }
        }
    };
    let help = "Resident memory of a worker and what stems from it.";
    each("perijove_worker_memory_bytes", Type::Gauge, help, "memory", 1.0);
    let help = "Processor time of a worker and what stems from it.";
    each("perijove_worker_cpu_seconds_total", Type::Counter, help, "cpu", 1e-3);
    let help = "Requests that a worker was given.";
    each("perijove_worker_requests_total", Type::Counter, help, "requests", 1.0);
    let help = "Websockets that a worker has.";
    each("perijove_worker_websockets", Type::Gauge, help, "websockets", 1.0);
    let help = "How often workers were started again: after a failure, or while they were well.";
    page.family("perijove_worker_restarts_total", Type::Counter, help);
    for (place, one) in all() {
        for (reason, key) in [("failure", "restarts"), ("recycled", "recycled")] {
            let count = workers(one).map(|worker| number(worker, key)).sum::<u64>();
            page.sample(&[("application", &place), ("reason", reason)], count);
        }
    }
}

fn elsewhere(page: &mut Page, status: &Value) {
    let mut each = |name: &str, kind: Type, help: &str, value: fn(&Value) -> u64| {
        page.family(name, kind, help);
        for one in list(status, "upstreams") {
            let labels = [("route", text(one, "path")), ("upstream", text(one, "address"))];
            page.sample(&labels, value(one));
        }
    };
    let help = "Requests that a program elsewhere was given.";
    each("perijove_upstream_requests_total", Type::Counter, help, |one| number(one, "requests"));
    let help = "Requests that a program elsewhere has now.";
    each("perijove_upstream_under_way", Type::Gauge, help, |one| number(one, "under-way"));
    let help =
        "How often a program elsewhere could not be reached, or was lost before it answered.";
    each("perijove_upstream_failures_total", Type::Counter, help, |one| number(one, "failures"));
    let help = "Whether a program elsewhere is in use: 0 while it is left alone after a failure.";
    each("perijove_upstream_up", Type::Gauge, help, |one| {
        u64::from(text(one, "phase") != "resting")
    });
}

fn reloads(page: &mut Page, status: &Value) {
    let reloads = status.get("reloads").unwrap_or(&Value::Null);
    page.family("perijove_reloads_total", Type::Counter, "Reloads, by how they went.");
    for (result, key) in [("ok", "done"), ("failed", "failed")] {
        page.sample(&[("result", result)], number(reloads, key));
    }
    let help = "When a reload last took over, in seconds since the Unix epoch; 0 for never.";
    page.family("perijove_last_reload_timestamp_seconds", Type::Gauge, help);
    page.sample(&[], number(reloads, "last"));
}

fn process(page: &mut Page, status: &Value) {
    page.family("perijove_build_info", Type::Gauge, "What runs.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family("perijove_running_seconds", Type::Gauge, "Since the program started.");
    page.sample(&[], number(status, "running"));
    let Some(usage) = system::own_usage() else { return };
    // By the names that every program of Prometheus has for them.
    let name = "process_cpu_seconds_total";
    page.family(name, Type::Counter, "Processor time of the program itself.");
    page.real(&[], usage.cpu.as_secs_f64());
    let name = "process_resident_memory_bytes";
    page.family(name, Type::Gauge, "Resident memory of the program itself.");
    page.sample(&[], usage.resident);
    page.family("process_open_fds", Type::Gauge, "Descriptors that are open.");
    page.sample(&[], usage.descriptors);
    page.family("process_max_fds", Type::Gauge, "Descriptors that may be open.");
    page.sample(&[], usage.most_descriptors);
}

fn place(application: &Value) -> String {
    format!("{}{}", text(application, "host"), text(application, "path"))
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn workers(application: &Value) -> impl Iterator<Item = &Value> {
    list(application, "workers")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}
