//! Clients that are slow hold no worker, and thousands that idle hold nobody up.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::site::{PATIENCE, Plan, Site};

fn plan() -> Plan {
    Plan::new().wsgi("hello").set("site.threads = 1").set("log.access = 'off'")
}

/// Begins an upload and sends a part of it.
async fn begin_upload(site: &Site, head: &str, part: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(site.address()).await.unwrap();
    let head = format!("POST /upload HTTP/1.1\r\nHost: s\r\n{head}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(part).await.unwrap();
    stream
}

async fn finish(mut stream: TcpStream, rest: &[u8]) -> String {
    stream.write_all(rest).await.unwrap();
    let mut answer = Vec::new();
    let reading = async {
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "it ended");
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// One thread, and more uploads under way than it could carry.
#[tokio::test]
async fn uploads_that_come_slowly_hold_no_worker() {
    let site = plan().start().await;
    let part = vec![b'x'; 300_000];
    let heads = ["Content-Length: 600000", "Transfer-Encoding: chunked"];
    let mut under_way = Vec::new();
    for number in 0..20 {
        let size = if number % 2 == 0 { Vec::new() } else { format!("{:x}\r\n", 600_000).into() };
        let stream = begin_upload(&site, heads[number % 2], &[&*size, &part].concat()).await;
        under_way.push(stream);
    }
    for _ in 0..5 {
        site.get("/").await.shows("hello");
    }
    for (number, stream) in under_way.into_iter().enumerate() {
        let end: &[u8] = if number % 2 == 0 { b"" } else { b"\r\n0\r\n\r\n" };
        let answer = finish(stream, &[&*part, end].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("600000 "), "{answer}");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_has_one_for_the_application() {
    let tell = |answer: String| -> serde_json::Value {
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
    };
    let ask = async |site: &Site| {
        let mut stream = TcpStream::connect(site.address()).await.unwrap();
        let request = "POST /tell HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\
                       Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let site = plan().start().await;
    assert_eq!(tell(ask(&site).await)["CONTENT_LENGTH"], "5");
}

#[tokio::test]
async fn without_a_buffer_bodies_are_passed_on_as_they_come() {
    let site = plan().set("site.body-buffer = 0").start().await;
    let part = vec![b'x'; 300_000];
    let upload = begin_upload(&site, "Content-Length: 600000", &part).await;
    crate::site::until("it is in the worker", || site.status()["under-way"] == 1).await;
    assert!(finish(upload, &part).await.contains("600000 "));
}

/// As many idle connections as the limit of open files allows, up to ten thousand; the test has as
/// many open itself.
#[tokio::test]
async fn thousands_of_idle_connections_hold_nobody_up() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let raised = rustix::process::Rlimit { current: Some(most.min(20_000)), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let count = usize::try_from(most.saturating_sub(1000).min(10_000)).unwrap();
    let site = plan()
        .set("limits.connections = 10100")
        .set("limits.idle-time = '10m'")
        .set("limits.head-time = '10m'")
        .start()
        .await;
    let mut idle = Vec::new();
    for number in 0..count {
        // One address of this machine has ports for all of them.
        let mut stream = TcpStream::connect(site.address()).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: s\r\nX-Slow: ").await.unwrap();
        }
        idle.push(stream);
    }
    for _ in 0..20 {
        tokio::time::timeout(Duration::from_secs(10), site.get("/")).await.unwrap().shows("hello");
    }
    drop(idle);
}

/// Hundreds that send heads and bodies byte by byte.
#[tokio::test]
async fn hundreds_that_trickle_keep_nobody_from_being_served() {
    let site = plan()
        .set("limits.transfer-time = '1s'")
        .set("limits.head-time = '1s'")
        .set("limits.body-rate = 100000")
        .start()
        .await;
    let mut tricklers = JoinSet::new();
    for number in 0..400 {
        let head = "Content-Length: 100000";
        let mut stream = if number % 2 == 0 {
            begin_upload(&site, head, b"x").await
        } else {
            let mut stream = TcpStream::connect(site.address()).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: s\r\nX-Slow: ").await.unwrap();
            stream
        };
        tricklers.spawn(async move {
            let mut answer = Vec::new();
            loop {
                let read = stream.read_buf(&mut answer);
                match tokio::time::timeout(Duration::from_millis(100), read).await {
                    Ok(_) => return String::from_utf8(answer).unwrap(),
                    // The answer is read even where the client may send no more.
                    Err(_) => drop(stream.write_all(b"y").await),
                }
            }
        });
    }
    for _ in 0..10 {
        tokio::time::timeout(Duration::from_secs(10), site.get("/")).await.unwrap().shows("hello");
    }
    while let Some(answer) = tricklers.join_next().await {
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer:?}");
    }
}
