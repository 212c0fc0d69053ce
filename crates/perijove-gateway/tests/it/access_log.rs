//! One line for each request.

use std::path::Path;

use perijove_gateway::{AccessLog, LogFormat};

use crate::{
    site::{Running, Site},
    upstream::upstream,
    wire::soon,
};

fn logged(site: Site, path: &Path, format: LogFormat) -> Running {
    let log = AccessLog::to_file(format, path, None).unwrap();
    site.with(|plan| plan.access_log = Some(log)).start()
}

/// The lines, when the gateway has ended.
async fn lines(mut site: Running, path: &Path) -> Vec<String> {
    site.stop.cancel();
    site.ended().await;
    drop(site);
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_request_has_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let stream = upstream(async |mut wire| {
        wire.message().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            .await;
    });
    let site = Site::new().says("/", "hello").route("/stream", stream.await);
    let site = logged(site, &path, LogFormat::Text);
    let mut client = site.connect().await;
    client.get("/a?token=hush").await;
    client.get("/stream").await.shows(200, "hello");
    client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nUser-Agent: t\r\n\r\n").await;
    client.is_closed().await;
    let lines = lines(site, &path).await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("127.0.0.1 - - ["));
    assert!(lines[0].contains("\"GET /a?token=... HTTP/1.1\" 200 5 \"-\" \"-\" "));
    assert!(lines[1].contains("\"GET /stream HTTP/1.1\" 200 5 "));
    assert!(lines[2].contains("\"GET / HTTP/1.1\" 200 5 \"-\" \"t\" "));
}

#[tokio::test]
async fn a_client_that_left_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (came, ended) = (
        std::sync::Arc::new(tokio::sync::Notify::new()),
        std::sync::Arc::new(tokio::sync::Notify::new()),
    );
    let (tell_came, tell_ended) = (came.clone(), ended.clone());
    let silent = upstream(move |mut wire| {
        let (came, ended) = (tell_came.clone(), tell_ended.clone());
        async move {
            wire.message().await;
            came.notify_one();
            wire.rest().await;
            ended.notify_one();
        }
    });
    let brief = Site::new().with(|plan| {
        plan.half_closed_time = std::time::Duration::from_millis(50);
    });
    let site = logged(brief.route("/", silent.await), &path, LogFormat::Json);
    let mut client = site.connect().await;
    client.send("GET /x HTTP/1.1\r\nHost: a.example\r\nX-Request-Id: mine\r\n\r\n").await;
    soon("the request", came.notified()).await;
    drop(client);
    soon("the end of the work", ended.notified()).await;
    let lines = lines(site, &path).await;
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["status"], 499);
    assert_eq!(line["target"], "/x");
    assert_eq!(line["host"], "a.example");
    assert_ne!(line["request_id"], "mine", "nobody is believed without trust");
}

#[tokio::test]
async fn what_could_not_be_read_has_a_line_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let site = logged(Site::new().says("/", "x"), &path, LogFormat::Text);
    for request in ["GET / HTTP/1.1\r\n\r\n", "nonsense\r\n\r\n", "GET /\x01 HTTP/1.1\r\n\r\n"] {
        let mut client = site.connect().await;
        client.send(request).await;
        assert_eq!(client.message().await.status(), 400, "{request:?}");
    }
    let lines = lines(site, &path).await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in lines {
        assert!(line.starts_with("127.0.0.1 - - [") && line.contains("] \"-\" 400 "), "{line}");
    }
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::to_file(LogFormat::Text, &path, None).unwrap();
    let plan_log = log.clone();
    let site = Site::new().says("/", "x").with(|plan| plan.access_log = Some(plan_log)).start();
    site.connect().await.get("/1").await;
    let first = || std::fs::read_to_string(folder.path().join("access.log"));
    soon("the first line", async {
        while !first().unwrap_or_default().contains("/1") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    std::fs::rename(&path, folder.path().join("old.log")).unwrap();
    log.reopen();
    site.connect().await.get("/2").await;
    drop(log);
    let lines = lines(site, &path).await;
    assert!(lines.len() == 1 && lines[0].contains("GET /2 "), "{lines:?}");
}
