//! The end.

use std::time::Duration;

use crate::{site::Site, upstream::upstream, wire::soon};

#[tokio::test]
async fn what_is_under_way_is_finished() {
    let (came, go) = (
        std::sync::Arc::new(tokio::sync::Notify::new()),
        std::sync::Arc::new(tokio::sync::Notify::new()),
    );
    let (tell, wait) = (came.clone(), go.clone());
    let slow = upstream(move |mut wire| {
        let (came, go) = (tell.clone(), wait.clone());
        async move {
            wire.message().await;
            came.notify_one();
            go.notified().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
        }
    });
    let mut site = Site::new().route("/", slow.await).says("/idle", "x").start();
    let mut idle = site.connect().await;
    idle.get("/idle").await.shows(200, "x");
    let silent = site.connect().await;
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    soon("the request", came.notified()).await;
    site.stop.cancel();
    idle.is_closed().await;
    go.notify_one();
    let answer = client.message().await;
    answer.shows(200, "done");
    assert_eq!(answer.get("connection"), Some("close"));
    site.ended().await;
    drop(silent);
    assert!(tokio::net::TcpStream::connect(site.address()).await.is_err());
}

/// An upstream that never answers, and a client that waits for it.
async fn stuck(drain_time: Duration) -> (crate::site::Running, crate::wire::Wire) {
    let came = std::sync::Arc::new(tokio::sync::Notify::new());
    let tell = came.clone();
    let silent = upstream(move |mut wire| {
        let came = tell.clone();
        async move {
            wire.message().await;
            came.notify_one();
            wire.rest().await;
        }
    });
    let site = Site::new().route("/", silent.await).with(|plan| plan.drain_time = drain_time);
    let site = site.start();
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    soon("the request", came.notified()).await;
    (site, client)
}

#[tokio::test]
async fn the_end_comes_when_the_drain_time_is_over() {
    let (mut site, mut client) = stuck(Duration::from_millis(200)).await;
    site.stop.cancel();
    site.ended().await;
    client.is_closed().await;
}

#[tokio::test]
async fn the_end_comes_now_when_it_is_wanted_now() {
    let (mut site, mut client) = stuck(Duration::from_secs(3600)).await;
    site.stop.cancel();
    site.now.cancel();
    site.ended().await;
    client.is_closed().await;
}
