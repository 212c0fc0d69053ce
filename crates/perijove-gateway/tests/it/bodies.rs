//! Bodies of requests, and what becomes of them.

use std::sync::Arc;

use perijove_gateway::{Response, Route};
use tokio::sync::Notify;

use crate::{
    site::{Site, service},
    upstream::{echo, upstream},
};

fn limited(mut route: Route, bytes: u64) -> Route {
    route.limits.body = bytes;
    route
}

fn letters(count: usize) -> String {
    "abcdefghijklmnop".chars().cycle().take(count).collect()
}

#[tokio::test]
async fn bodies_pass_whatever_their_form() {
    let site = Site::new().route("/", echo().await).start();
    let mut client = site.connect().await;
    for size in [0, 1, 17_000, 300_000] {
        let body = letters(size);
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n")).await;
        client.ask(&body).await.shows(200, &body);
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for piece in body.as_bytes().chunks(70_000) {
            client.send(format!("{:X};x=y\r\n", piece.len())).await;
            client.send(piece).await;
            client.send("\r\n").await;
        }
        client.ask("0\r\nTrailer: dropped\r\n\r\n").await.shows(200, &body);
    }
}

#[tokio::test]
async fn an_upload_is_asked_for_when_it_is_wanted() {
    let count =
        |request: perijove_gateway::ServiceRequest| Response::new(200, "text/plain", request.body);
    let site = Site::new().route("/", service(count)).says("/none/", "unread").start();
    let mut client = site.connect().await;
    let expecting = "HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.send(format!("POST / {expecting}")).await;
    assert_eq!(client.head().await.start, "HTTP/1.1 100 Continue");
    client.ask("hello").await.shows(200, "hello");
    // Whoever sends the body at once is not told to.
    client.ask(format!("POST / {expecting}hello")).await.shows(200, "hello");
}

#[tokio::test]
async fn an_upload_is_not_asked_for_amid_an_answer() {
    let has_begun = Arc::<Notify>::default();
    let go_on = has_begun.clone();
    let early = upstream(move |mut wire| {
        let go_on = go_on.clone();
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst").await;
            go_on.notified().await;
            wire.send("again").await;
        }
    });
    let site = Site::new().route("/", early.await).start();
    let mut client = site.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    let head = client.head().await;
    // Whether the client will send the body is not known: nothing may follow it.
    assert_eq!((head.status(), head.get("connection")), (200, Some("close")));
    assert_eq!(client.take(5).await, b"first");
    has_begun.notify_one();
    assert_eq!(client.rest().await, "again");
}

#[tokio::test]
async fn an_upload_nobody_wants_is_not_asked_for() {
    let refusing = upstream(async |mut wire| {
        wire.head().await;
        wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
        wire.rest().await;
    });
    let site = Site::new().route("/", limited(refusing.await, 100)).start();
    let mut client = site.connect().await;
    let answer = client
        .ask("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 500\r\n\r\n")
        .await;
    assert_eq!((answer.status(), answer.get("connection")), (413, Some("close")));
    client.is_closed().await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let site = Site::new()
        .route("/", limited(echo().await, 1000))
        .route("/service/", limited(service(|_| Response::new(200, "text/plain", "read")), 10))
        .start();
    let check = async |request: String, expected: u16| {
        let mut client = site.connect().await;
        let answer = client.ask(&request).await;
        assert_eq!(answer.status(), expected, "{}", &request[..60]);
    };
    let sized = |path: &str, size: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{}",
            letters(size)
        )
    };
    let chunked = |path: &str, size: usize| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        format!("{head}{size:x}\r\n{}\r\n0\r\n\r\n", letters(size))
    };
    check(sized("/", 1000), 200).await;
    check(sized("/", 1001), 413).await;
    check(chunked("/", 1000), 200).await;
    check(chunked("/", 1001), 413).await;
    check(sized("/service/", 10), 200).await;
    check(sized("/service/", 11), 413).await;
    check(chunked("/service/", 11), 413).await;
}

#[tokio::test]
async fn a_client_that_sends_too_much_still_reads_the_answer() {
    let site = Site::new().route("/", limited(echo().await, 1000)).start();
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n").await;
    client.try_send(letters(2_000_000).as_bytes()).await;
    assert_eq!(client.message().await.status(), 413);
}

#[tokio::test]
async fn a_short_body_nobody_read_is_read_away() {
    let site = Site::new().says("/", "unread").route("/e", echo().await).start();
    let refusing = upstream(async |mut wire| {
        loop {
            wire.message().await;
            wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
        }
    });
    site.routes.insert(None, "/no", refusing.await);
    let redirect = perijove_gateway::Target::Redirect { status: 302, location: "/".into() };
    site.routes.insert(None, "/old", Route::new(redirect));
    let mut client = site.connect().await;
    client.send("POST /old HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n").await;
    assert_eq!(client.message().await.status(), 302);
    client.send(letters(30_000)).await;
    client.send("POST /old HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(client.message().await.status(), 302);
    client.send("5\r\nhello\r\n0\r\n\r\n").await;
    client.get("/").await.shows(200, "unread");
}

#[tokio::test]
async fn a_long_body_nobody_reads_ends_the_connection() {
    let redirect = perijove_gateway::Target::Redirect { status: 302, location: "/".into() };
    let site = Site::new().route("/", Route::new(redirect)).start();
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n").await;
    let answer = client.message().await;
    assert_eq!((answer.status(), answer.get("connection")), (302, Some("close")));
    client.try_send(letters(500_000).as_bytes()).await;
    client.is_closed().await;
}

#[tokio::test]
async fn an_answer_may_begin_while_the_upload_goes_on() {
    let duplex = upstream(async |mut wire| {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while let Some(chunk) = wire.chunk().await {
            wire.send(format!("{:x}\r\n", chunk.len())).await;
            wire.send(chunk).await;
            wire.send("\r\n").await;
        }
        wire.send("0\r\n\r\n").await;
        wire.rest().await;
    });
    let site = Site::new().route("/", duplex.await).start();
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for word in ["one", "two", "three"] {
        client.send(format!("{:x}\r\n{word}\r\n", word.len())).await;
        if word == "one" {
            assert_eq!(client.head().await.status(), 200);
        }
        assert_eq!(client.chunk().await.unwrap(), word.as_bytes());
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, None);
}

#[tokio::test]
async fn a_malformed_chunk_ends_the_request() {
    let site = Site::new().route("/", echo().await).start();
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
    let answer = client.message().await;
    assert_eq!((answer.status(), answer.get("connection")), (400, Some("close")));
    client.is_closed().await;
}

/// An upstream that says when a request has come, and when its connection ended.
async fn waiting() -> (Route, Arc<Notify>, Arc<Notify>) {
    let (came, ended) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let (tell_came, tell_ended) = (came.clone(), ended.clone());
    let route = upstream(move |mut wire| {
        let (came, ended) = (tell_came.clone(), tell_ended.clone());
        async move {
            wire.head().await;
            came.notify_one();
            wire.rest().await;
            ended.notify_one();
        }
    });
    (route.await, came, ended)
}

/// How long a client that has ended its side is waited for, where that is not the story.
const BRIEF: std::time::Duration = std::time::Duration::from_millis(50);

/// An upstream that answers when it is told to, and what tells it.
async fn told() -> (Route, Arc<Notify>, Arc<Notify>) {
    let (came, go) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let (tell_came, wait_go) = (came.clone(), go.clone());
    let route = upstream(move |mut wire| {
        let (came, go) = (tell_came.clone(), wait_go.clone());
        async move {
            wire.message().await;
            came.notify_one();
            go.notified().await;
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n").await;
            go.notified().await;
            wire.send("5\r\n more\r\n0\r\n\r\n").await;
            wire.rest().await;
        }
    });
    (route.await, came, go)
}

#[tokio::test]
async fn a_client_that_has_said_all_and_ends_its_side_is_answered() {
    let (route, came, go) = told().await;
    let site = Site::new().route("/", route).says("/quick", "quick").start();
    let mut client = site.connect().await;
    client.send("GET /quick HTTP/1.0\r\n\r\n").await;
    client.finish().await;
    client.message().await.shows(200, "quick");
    client.is_closed().await;
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody").await;
    client.finish().await;
    crate::wire::soon("the request", came.notified()).await;
    go.notify_one();
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.chunk().await.unwrap(), b"some");
    go.notify_one();
    assert_eq!(client.chunk().await.unwrap(), b" more");
    assert_eq!(client.chunk().await, None);
    client.is_closed().await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_work() {
    let (route, came, ended) = waiting().await;
    let brief = |plan: &mut perijove_gateway::Plan| plan.half_closed_time = BRIEF;
    let site = Site::new().route("/", route).with(brief).start();
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    crate::wire::soon("the request", came.notified()).await;
    drop(client);
    crate::wire::soon("the end of the work", ended.notified()).await;
}

#[tokio::test]
async fn a_client_that_leaves_amid_an_upload_ends_the_work() {
    let (route, came, ended) = waiting().await;
    let site = Site::new().route("/", route).start();
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome").await;
    crate::wire::soon("the request", came.notified()).await;
    drop(client);
    crate::wire::soon("the end of the work", ended.notified()).await;
}

#[tokio::test]
async fn a_client_that_leaves_amid_a_download_ends_the_work() {
    let ended = Arc::<Notify>::default();
    let tell = ended.clone();
    let endless = upstream(move |mut wire| {
        let ended = tell.clone();
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while wire.try_send(b"4\r\nmore\r\n").await {}
            ended.notify_one();
        }
    });
    let site = Site::new().route("/", endless.await).start();
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    client.take(1000).await;
    drop(client);
    crate::wire::soon("the end of the work", ended.notified()).await;
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_not_taken_for_whole() {
    let cut = upstream(async |mut wire| {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    });
    let site = Site::new().route("/", cut.await).start();
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    let rest = client.rest().await;
    assert!(!rest.ends_with("0\r\n\r\n"), "{rest:?}");
}
