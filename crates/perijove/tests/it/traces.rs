//! Traces of a site that serves, as a collector gets them.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use crate::site::{PATIENCE, Plan};

const ID: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Takes one batch, and answers with a status.
async fn batch(collector: &TcpListener, status: &str) -> (String, Value) {
    let (mut stream, _) = timeout(PATIENCE, collector.accept()).await.expect("no batch").unwrap();
    let mut got = Vec::new();
    let (head, body) = loop {
        let count = stream.read_buf(&mut got).await.unwrap();
        assert!(count > 0, "the request was cut off");
        let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(got[..end].to_vec()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let length: usize = length.parse().unwrap();
        if got.len() >= end + 4 + length {
            break (head, serde_json::from_slice(&got[end + 4..end + 4 + length]).unwrap());
        }
    };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
    stream.write_all(answer.as_bytes()).await.unwrap();
    (head, body)
}

fn spans(batch: &Value) -> &Vec<Value> {
    batch["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap()
}

#[tokio::test]
async fn requests_become_spans_and_the_application_is_told() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("traces.endpoint = 'http://{}'", collector.local_addr().unwrap());
    let plan = Plan::new().wsgi("hello").set(&endpoint).set("traces.service = 'shop'");
    let plan = plan.variable("OTEL_BSP_SCHEDULE_DELAY", "50");
    let plan = plan.variable("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hush%20hush");
    let site = plan.set("log.access = 'json'").start().await;
    let mut connection = site.connect().await;
    let parent = format!("traceparent: 00-{ID}-{CALLER}-01");
    let told = connection.ask_with("GET", "/tell", &[&parent], b"").await;
    let told: Value = serde_json::from_slice(&told.body).unwrap();
    let (head, batch) = batch(&collector, "200 OK").await;
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nx-key: hush hush"), "{head}");
    let service = &batch["resourceSpans"][0]["resource"]["attributes"][0];
    assert_eq!(service["value"]["stringValue"], "shop");
    let spans = spans(&batch);
    let (server, client) = (&spans[0], &spans[1]);
    assert_eq!((&server["traceId"], &server["parentSpanId"]), (&ID.into(), &CALLER.into()));
    assert_eq!(server["kind"], 2);
    assert_eq!((&client["kind"], &client["parentSpanId"]), (&3.into(), &server["spanId"]));
    assert_eq!(
        told["HTTP_TRACEPARENT"],
        format!("00-{ID}-{}-01", client["spanId"].as_str().unwrap())
    );
    let line = site.logs(ID);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["trace_id"], ID);
}

#[tokio::test]
async fn a_collector_that_is_away_disturbs_nobody() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let plan = Plan::new().wsgi("hello").set(&format!("traces.endpoint = 'http://{gone}'"));
    let site = plan.variable("OTEL_BSP_SCHEDULE_DELAY", "1").start().await;
    for _ in 0..3 {
        site.get("/").await.shows("hello");
    }
    site.logs("traces were lost");
    let ended = site.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.matches("traces were lost").count() < 2, "{}", ended.log);
}

#[tokio::test]
async fn what_was_not_sent_yet_is_sent_at_the_end() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("traces.endpoint = 'http://{}'", collector.local_addr().unwrap());
    let plan = Plan::new().wsgi("hello").set(&endpoint);
    let site = plan.variable("OTEL_BSP_SCHEDULE_DELAY", "3600000").start().await;
    site.get("/").await.shows("hello");
    site.signal(rustix::process::Signal::TERM);
    let (_, batch) = batch(&collector, "200 OK").await;
    assert_eq!(spans(&batch).len(), 2);
    assert_eq!(site.ended().code, Some(0));
}
