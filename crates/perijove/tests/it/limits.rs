//! What clients may not do.

use std::time::Duration;

use crate::site::{PATIENCE, Plan, Site, until};

#[tokio::test]
async fn ambiguous_requests_are_refused_and_the_connection_closed() {
    let site = Plan::new().file("public/index.html", "x").start().await;
    let refused = [
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    ];
    for request in refused {
        let mut connection = site.connect().await;
        connection.send(request.as_bytes()).await;
        let answer = connection.answer(false).await;
        assert_eq!(answer.status, 400, "{request:?}");
        assert!(connection.is_closed(PATIENCE).await, "{request:?}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let site = Plan::new().wsgi("hello").set("site.body-limit = '10K'").start().await;
    let body = vec![b'x'; 10 << 10];
    site.post("/upload", &body).await.is(200);
    site.post("/upload", &[body.as_slice(), b"x"].concat()).await.is(413);
    let mut connection = site.connect().await;
    connection
        .send(b"POST /upload HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n2801\r\n")
        .await;
    connection.send(&[body.as_slice(), b"x\r\n0\r\n\r\n"].concat()).await;
    connection.answer(false).await.is(413);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let site = Plan::new().file("public/index.html", "x").set("limits.head = '4K'").start().await;
    let mut connection = site.connect().await;
    let large = format!("X: {}", "y".repeat(5000));
    connection.ask_with("GET", "/", &[&large], b"").await.is(431);
    assert!(connection.is_closed(PATIENCE).await);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_408() {
    let site =
        Plan::new().file("public/index.html", "x").set("limits.head-time = '300ms'").start().await;
    let mut connection = site.connect().await;
    connection.send(b"GET / HTTP/1.1\r\nHost: s\r\nX-").await;
    connection.answer(false).await.is(408);
    assert!(connection.is_closed(PATIENCE).await);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let site =
        Plan::new().file("public/index.html", "x").set("limits.idle-time = '200ms'").start().await;
    let mut connection = site.connect().await;
    connection.ask("GET", "/", b"").await.shows("x");
    assert!(connection.is_closed(PATIENCE).await);
}

#[tokio::test]
async fn a_silent_application_is_504() {
    let site = Plan::new().wsgi("hello").set("site.response-time = '300ms'").start().await;
    site.get("/wait/x").await.is(504);
    site.make("release-x");
    site.get("/").await.shows("hello");
}

#[tokio::test]
async fn a_stuck_request_is_shown_and_interrupted() {
    let site = Plan::new()
        .wsgi("hello")
        .set("site.request-time = '200ms'")
        .set("site.interrupt-time = '1s'")
        .set("site.deadlock-time = 0")
        .start()
        .await;
    let workers = site.workers();
    let answer = site.get("/wait/x").await;
    assert_eq!(answer.status, 504);
    site.logs("has been inside the application for");
    site.logs("in wait");
    // The process and all of its threads go on.
    for _ in 0..10 {
        site.get("/").await.shows("hello");
    }
    assert_eq!(site.workers(), workers);
}

#[tokio::test]
async fn a_stuck_request_of_asgi_is_shown_and_cancelled() {
    let site = Plan::new()
        .wsgi("patience")
        .set("site.request-time = '200ms'")
        .set("site.interrupt-time = '1s'")
        .start()
        .await;
    let workers = site.workers();
    let stubborn = site.begin("/stubborn/b").await;
    let stream = site.begin("/stream/1500").await;
    let answer = site.get("/wait/a").await;
    assert_eq!((answer.status, answer.text().as_str()), (504, "the request took too long\n"));
    site.logs("has been inside the application for");
    // The innermost coroutine, and those that wait for it.
    site.logs("in deeper");
    site.logs("await deeper(key)");
    stubborn.await.unwrap().is(504);
    // An answer that has begun may take longer than that.
    stream.await.unwrap().shows("begun\nended\n");
    until_cancelled(&site, &["a", "b"]).await;
    assert_eq!(site.workers(), workers);
    until("nothing is under way", || site.status()["under-way"] == 0).await;
}

async fn until_cancelled(site: &Site, keys: &[&str]) {
    loop {
        let known = site.get("/cancelled").await.text();
        if keys.iter().all(|key| known.split(' ').any(|one| one == *key)) {
            return;
        }
    }
}

#[tokio::test]
async fn an_event_loop_that_is_kept_from_its_turn_is_shown() {
    let site = Plan::new().wsgi("patience").set("site.interrupt-time = '300ms'").start().await;
    site.get("/block/1500").await.shows("blocked\n");
    let line = site.logs("the event loop has been kept from its next turn for");
    assert!(line.contains("it is here"), "{line}");
    site.logs("time.sleep(int(milliseconds) / 1000)");
    site.get("/hello").await.shows("hello\n");
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_the_site_well() {
    let site = Plan::new().wsgi("hello").start().await;
    for path in ["/upload", "/download/512"] {
        let mut connection = site.connect().await;
        let request = format!("POST {path} HTTP/1.1\r\nHost: s\r\nContent-Length: 100000\r\n\r\n");
        connection.send(request.as_bytes()).await;
        connection.send(&[b'x'; 1000]).await;
        drop(connection);
    }
    let mut connection = site.connect().await;
    connection.send(b"GET /download/4096 HTTP/1.1\r\nHost: s\r\n\r\n").await;
    assert!(!connection.is_closed(Duration::from_millis(10)).await);
    drop(connection);
    site.get("/").await.shows("hello");
    crate::site::until("nothing is under way", || site.status()["under-way"] == 0).await;
}

#[tokio::test]
async fn error_pages_of_the_site_are_shown() {
    let site = Plan::new()
        .file("public/index.html", "x")
        .file("errors/404.html", "our own page")
        .start()
        .await;
    let answer = site.get("/missing").await;
    assert_eq!((answer.status, answer.text().as_str()), (404, "our own page"));
    let mut connection = site.connect().await;
    let answer = connection.ask_with("GET", "/missing", &["Accept: application/json"], b"").await;
    assert_eq!(answer.status, 404);
    assert!(answer.field("content-type").unwrap().contains("json"), "{answer:?}");
}
