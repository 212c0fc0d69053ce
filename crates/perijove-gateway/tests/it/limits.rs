//! What clients may do, and for how long.

use std::time::Duration;

use perijove_gateway::Response;

use crate::{
    site::{Site, service},
    upstream::{echo, upstream},
    wire::{Wire, soon},
};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_head_that_does_not_come_is_given_up() {
    let site = Site::new().says("/", "hello").with(|plan| plan.head_time = SHORT).start();
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    let answer = client.message().await;
    assert_eq!((answer.status(), answer.get("connection")), (408, Some("close")));
    client.is_closed().await;
    // Who says nothing is told nothing.
    site.connect().await.is_closed().await;
    // The first bytes of the preface of HTTP/2 are no excuse.
    let mut client = site.connect().await;
    client.send("PRI * HTT").await;
    assert_eq!(client.message().await.status(), 408);
}

#[tokio::test]
async fn the_time_for_a_head_runs_for_every_request() {
    let site = Site::new().says("/", "hello").with(|plan| plan.head_time = SHORT).start();
    let mut client = site.connect().await;
    client.get("/").await.shows(200, "hello");
    client.send("G").await;
    assert_eq!(client.message().await.status(), 408);
}

#[tokio::test]
async fn drops_do_not_prolong_the_time_for_a_head() {
    let site = Site::new().says("/", "hello").with(|plan| plan.head_time = SHORT).start();
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    let dripping = async {
        while client.try_send(b"X: y\r\n").await {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    soon("the end of patience", dripping).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let site = Site::new().says("/", "hello").with(|plan| plan.idle_time = SHORT).start();
    let mut client = site.connect().await;
    client.get("/").await.shows(200, "hello");
    client.is_closed().await;
}

#[tokio::test]
async fn heads_have_a_size() {
    let site = Site::new()
        .says("/", "hello")
        .with(|plan| {
            plan.head.bytes = 2000;
            plan.head.fields = 20;
        })
        .start();
    let check = async |fields: String, expected: u16| {
        let mut client = site.connect().await;
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(client.ask(&request).await.status(), expected, "{}", fields.len());
    };
    check(format!("X: {}\r\n", "y".repeat(1900)), 200).await;
    check(format!("X: {}\r\n", "y".repeat(2000)), 431).await;
    check("X: y\r\n".repeat(19), 200).await;
    check("X: y\r\n".repeat(20), 431).await;
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let site = Site::new().route("/", echo().await).with(|plan| plan.transfer_time = SHORT).start();
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome").await;
    let answer = client.message().await;
    assert_eq!((answer.status(), answer.get("connection")), (408, Some("close")));
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let ended = std::sync::Arc::<tokio::sync::Notify>::default();
    let tell = ended.clone();
    let endless = upstream(move |mut wire| {
        let ended = tell.clone();
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while wire.try_send(&b"4\r\nmore\r\n".repeat(1000)).await {}
            ended.notify_one();
        }
    });
    let site =
        Site::new().route("/", endless.await).with(|plan| plan.transfer_time = SHORT).start();
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    soon("the end of the work", ended.notified()).await;
}

#[tokio::test]
async fn a_slow_application_is_waited_for() {
    let slow = upstream(async |mut wire| {
        wire.message().await;
        tokio::time::sleep(4 * SHORT).await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
    });
    let site = Site::new()
        .route("/", slow.await)
        .with(|plan| {
            plan.head_time = SHORT;
            plan.idle_time = SHORT;
            plan.transfer_time = SHORT;
        })
        .start();
    site.connect().await.get("/").await.shows(200, "done");
}

#[tokio::test]
async fn an_idle_connection_makes_room_for_a_new_one() {
    let site = Site::new()
        .says("/", "hello")
        .with(|plan| {
            plan.connections = 2;
            plan.idle_time = LONG;
        })
        .start();
    let (mut first, mut second) = (site.connect().await, site.connect().await);
    first.get("/").await.shows(200, "hello");
    second.get("/").await.shows(200, "hello");
    let mut third = site.connect().await;
    third.get("/").await.shows(200, "hello");
    first.is_closed().await;
    second.get("/").await.shows(200, "hello");
}

#[tokio::test]
async fn a_busy_connection_is_not_ended_for_a_new_one() {
    let site = Site::new()
        .route("/", echo().await)
        .with(|plan| {
            plan.connections = 1;
            plan.idle_time = LONG;
        })
        .start();
    let mut first = site.connect().await;
    first.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha").await;
    let mut second = site.connect().await;
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    first.ask("lf").await.shows(200, "half");
    second.message().await.shows(200, "");
}

#[tokio::test]
async fn a_full_house_has_room_at_its_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let routes = perijove_gateway::Routes::new();
    routes.insert(None, "/", service(|_| Response::new(200, "text/plain", "in charge")));
    let address = perijove_gateway::ListenAddress::Unix { path: path.clone(), mode: 0o600 };
    let control = perijove_gateway::Listener::new(address, routes);
    let site = Site::new().route("/", echo().await).with(|plan| {
        plan.connections = 1;
        plan.listeners.push(control);
    });
    let site = site.start();
    let mut busy = site.connect().await;
    busy.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha").await;
    let mut control = Wire::new(tokio::net::UnixStream::connect(&path).await.unwrap());
    control.get("/").await.shows(200, "in charge");
}

#[tokio::test]
async fn threads_share_the_connections() {
    let names = |_: perijove_gateway::ServiceRequest| {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        Response::new(200, "text/plain", name)
    };
    let site = Site::new().route("/", service(names)).with(|plan| plan.threads = 3).start();
    let mut clients = Vec::new();
    let mut carried = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..30 {
        let mut client = site.connect().await;
        *carried.entry(client.get("/").await.text().to_owned()).or_default() += 1;
        clients.push(client);
    }
    assert!(carried.len() == 3 && carried.values().all(|count| *count >= 8), "{carried:?}");
    for client in &mut clients {
        assert_eq!(client.get("/").await.status(), 200);
    }
}
