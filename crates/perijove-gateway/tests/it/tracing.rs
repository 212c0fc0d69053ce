//! Traces: what goes on to an upstream, and what is told of a request that has ended.

use std::sync::Arc;

use perijove_gateway::{FinishedTrace, Sampling, Tracer};
use tokio::sync::mpsc;

use crate::{
    site::{Running, Site},
    upstream::upstream,
    wire::{Message, soon},
};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

type Finished = mpsc::Receiver<Box<FinishedTrace>>;

/// A site whose upstream tells what it was sent, traced or not.
async fn start(
    ratio: Option<f64>,
) -> (Running, mpsc::UnboundedReceiver<Message>, Option<Finished>) {
    let (sent, got) = mpsc::unbounded_channel();
    let route = upstream(move |mut wire| {
        let sent = sent.clone();
        async move {
            loop {
                sent.send(wire.message().await).unwrap();
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    });
    let site = Site::new().route("/", route.await);
    let Some(ratio) = ratio else { return (site.start(), got, None) };
    let (tracer, finished) = Tracer::new(Sampling { ratio, follows_parent: true }, 16);
    let plan = site.with(|plan| {
        plan.tracer = Some(tracer);
        // Whose decision counts.
        plan.trusted_proxies = vec![("127.0.0.1".parse().unwrap(), 32)];
    });
    (plan.start(), got, Some(finished))
}

async fn ask(site: &Running, got: &mut mpsc::UnboundedReceiver<Message>, fields: &str) -> Message {
    let request = format!("GET /a?token=hush HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n");
    site.connect().await.ask(request).await.shows(200, "ok");
    soon("the request", got.recv()).await.unwrap()
}

async fn finished(finished: &mut Option<Finished>) -> Box<FinishedTrace> {
    soon("a finished trace", finished.as_mut().unwrap().recv()).await.unwrap()
}

#[tokio::test]
async fn without_tracing_everything_passes_untouched() {
    let (site, mut got, _) = start(None).await;
    let check = async |got: &mut _, value: &str| {
        let fields = format!("traceparent: {value}\r\ntracestate: a=b\r\n");
        let seen = ask(&site, got, &fields).await;
        assert_eq!(seen.get("traceparent"), Some(value));
        assert_eq!(seen.get("tracestate"), Some("a=b"));
    };
    check(&mut got, PARENT).await;
    check(&mut got, "nonsense").await;
    assert_eq!(ask(&site, &mut got, "").await.get("traceparent"), None);
}

#[tokio::test]
async fn a_trace_goes_on_to_the_upstream_under_a_span_of_its_own() {
    let (site, mut got, mut told) = start(Some(0.0)).await;
    let fields = format!("TraceParent: {PARENT}\r\ntracestate: a=b\r\nX-Request-Id: forged\r\n");
    let seen = ask(&site, &mut got, &fields).await;
    let onward = seen.get("traceparent").unwrap().to_owned();
    assert_eq!(seen.fields.iter().filter(|(name, _)| name == "traceparent").count(), 1);
    assert_eq!(seen.get("tracestate"), Some("a=b"));
    let trace = finished(&mut told).await;
    assert_eq!(trace.trace.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(trace.trace.parent.unwrap().to_string(), "b7ad6b7169203331");
    assert_eq!(onward, format!("00-{}-{}-01", trace.trace.trace_id, trace.trace.onward));
    assert_eq!((trace.status, trace.sent, &*trace.method, &*trace.path), (200, 2, "GET", "/a"));
    let (from, to) = trace.trace.upstream().unwrap();
    assert!(trace.trace.began() <= from && from <= to && to <= trace.ended);
    assert!(trace.trace.address().unwrap().starts_with("127.0.0.1:"));
    assert!(trace.trace.queued().is_none(), "nobody had to wait");
}

#[tokio::test]
async fn a_malformed_parent_begins_a_new_trace() {
    let (site, mut got, mut told) = start(Some(1.0)).await;
    let twice = format!("traceparent: {PARENT}\r\ntraceparent: {PARENT}\r\n");
    for fields in ["traceparent: 00-zz\r\n", "", &twice] {
        let seen = ask(&site, &mut got, &format!("{fields}tracestate: a=b\r\n")).await;
        let onward = seen.get("traceparent").unwrap();
        assert!(!onward.contains("0af7651916cd43dd8448eb211c80319c"), "{onward}");
        assert!(onward.len() == 55 && onward.ends_with("-03"), "{onward}");
        assert_eq!(seen.get("tracestate"), None, "{fields}");
        assert!(finished(&mut told).await.trace.parent.is_none());
    }
}

#[tokio::test]
async fn what_is_not_sampled_is_not_told_and_says_so_further_on() {
    let (site, mut got, told) = start(Some(0.0)).await;
    let seen = ask(&site, &mut got, "").await;
    assert!(seen.get("traceparent").unwrap().ends_with("-02"));
    drop(site);
    let mut told = told.unwrap();
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn the_log_tells_the_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (tracer, _finished) = Tracer::new(Sampling { ratio: 1.0, follows_parent: true }, 16);
    let format = "{trace_id} {status}".parse().unwrap();
    let format = perijove_gateway::LogFormat::Template(Arc::new(format));
    let log = perijove_gateway::AccessLog::to_file(format, &path, None).unwrap();
    let site = Site::new().says("/", "hello").with(|plan| {
        plan.tracer = Some(tracer);
        plan.access_log = Some(log);
    });
    let mut site = site.start();
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nTraceparent: {PARENT}\r\n\r\n");
    site.connect().await.ask(request).await.shows(200, "hello");
    site.stop.cancel();
    site.ended().await;
    drop(site);
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text, "0af7651916cd43dd8448eb211c80319c 200\n");
}
