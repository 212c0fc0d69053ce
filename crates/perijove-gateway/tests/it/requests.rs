//! One request after the other.

use perijove_gateway::Response;

use crate::{
    site::{Site, service},
    upstream::{echo, upstream},
};

#[tokio::test]
async fn a_connection_carries_many_requests() {
    let site = Site::new().says("/", "hello").start();
    let mut client = site.connect().await;
    for _ in 0..3 {
        let answer = client.get("/").await;
        answer.shows(200, "hello");
        assert!(answer.get("date").unwrap().ends_with("GMT"));
        assert_eq!(answer.get("server"), None);
        assert_eq!(answer.get("connection"), None);
    }
    let last = client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    last.shows(200, "hello");
    assert_eq!(last.get("connection"), Some("close"));
    client.is_closed().await;
}

#[tokio::test]
async fn requests_may_follow_without_waiting() {
    let count = |request: perijove_gateway::ServiceRequest| {
        Response::new(200, "text/plain", format!("{} bytes", request.body.len()))
    };
    let site = Site::new().route("/", service(count)).route("/slow", echo().await).start();
    let mut client = site.connect().await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunked =
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let slow = "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    client.send([post, chunked, slow, "\r\n", post].concat()).await;
    client.message().await.shows(200, "5 bytes");
    client.message().await.shows(200, "3 bytes");
    client.message().await.shows(200, "hi");
    client.message().await.shows(200, "5 bytes");
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let site = Site::new().says("/", "hello").start();
    let mut client = site.connect().await;
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.send([*byte]).await;
    }
    client.message().await.shows(200, "hello");
}

/// Wherever the bytes of some requests are cut in two, the answers are the same.
#[tokio::test]
async fn it_does_not_matter_how_the_bytes_come() {
    let tells = |request: perijove_gateway::ServiceRequest| {
        let head = format!("{} {:?} ", request.head.method(), request.client.host);
        Response::new(200, "text/plain", [head.as_bytes(), &request.body].concat())
    };
    let site = Site::new().route("/", service(tells)).start();
    let bytes = b"GET /a HTTP/1.1\r\nHost: one\r\n\r\n\
        POST /b HTTP/1.1\r\nHost: two\r\nContent-Length: 12\r\n\r\nhello\r\n\r\nyou\
        PUT /c HTTP/1.1\r\nHost: three\r\nTransfer-Encoding: chunked\r\n\r\n\
        3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n\
        GET /d HTTP/1.1\r\nHost: four\r\nConnection: close\r\n\r\n";
    for cut in 1..bytes.len() {
        let mut client = site.connect().await;
        let (before, after) = bytes.split_at(cut);
        client.send(before).await;
        tokio::task::yield_now().await;
        client.send(after).await;
        client.message().await.shows(200, "GET \"one\" ");
        client.message().await.shows(200, "POST \"two\" hello\r\n\r\nyou");
        client.message().await.shows(200, "PUT \"three\" abc");
        client.message().await.shows(200, "GET \"four\" ");
        client.is_closed().await;
    }
}

#[tokio::test]
async fn old_clients_are_served() {
    let streaming = upstream(async |mut wire| {
        wire.message().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        wire.send("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n").await;
    });
    let site = Site::new().says("/", "hello").route("/stream", streaming.await).start();

    let mut client = site.connect().await;
    client.ask("GET / HTTP/1.0\r\n\r\n").await.shows(200, "hello");
    client.is_closed().await;

    let mut client = site.connect().await;
    for _ in 0..2 {
        let answer = client.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        answer.shows(200, "hello");
        assert_eq!(answer.get("connection"), Some("keep-alive"));
    }

    let mut client = site.connect().await;
    client.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(head.get("transfer-encoding"), None);
    assert_eq!(client.rest().await, "onetwo");
}

#[tokio::test]
async fn answers_without_bodies_have_none() {
    let answer = |request: perijove_gateway::ServiceRequest| {
        let mut answer = Response::new(200, "text/plain", "four");
        answer.status = request
            .head
            .query()
            .map_or(200, |status| std::str::from_utf8(status).unwrap().parse().unwrap());
        answer
    };
    let site = Site::new().route("/", service(answer)).start();
    let mut client = site.connect().await;
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.get("content-length"), Some("4"));
    for status in ["204", "304"] {
        client.send(format!("GET /?{status} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let head = client.head().await;
        assert_eq!((head.get("content-length"), head.get("transfer-encoding")), (None, None));
    }
    client.get("/").await.shows(200, "four");
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_the_connection_is_closed() {
    let site = Site::new().says("/", "hello").start();
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "\u{16}\u{3}\u{1}\0\u{1}hello, this is TLS",
    ] {
        let mut client = site.connect().await;
        client.send(request).await;
        let answer = client.message().await;
        assert_eq!(answer.status(), 400, "{request:?}");
        assert_eq!(answer.get("connection"), Some("close"));
        client.is_closed().await;
    }
}

#[tokio::test]
async fn fields_of_our_own_pass_neither_way() {
    let tells = upstream(async |mut wire| {
        let request = wire.message().await;
        let names: Vec<_> = request.fields.iter().map(|(name, _)| name.as_str()).collect();
        let body = names.join(" ").to_ascii_lowercase();
        let length = body.len();
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nPerijove-User: eve\r\nPerijove_X: 1\r\nKept: 1\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await;
    });
    let site = Site::new().route("/", tells.await).start();
    let mut client = site.connect().await;
    let answer = client
        .ask("GET / HTTP/1.1\r\nHost: a\r\nperijove-user: ada\r\nPERIJOVE_USER: ada\r\nPerijovex: 1\r\n\r\n")
        .await;
    assert!(answer.text().contains("perijovex"), "{answer:?}");
    assert!(!answer.text().contains("perijove-") && !answer.text().contains("perijove_"));
    assert_eq!((answer.get("perijove-user"), answer.get("perijove_x")), (None, None));
    assert_eq!(answer.get("kept"), Some("1"));
}

#[tokio::test]
async fn routes_change_while_requests_come() {
    let site = Site::new().says("/", "before").start();
    let mut client = site.connect().await;
    client.get("/x").await.shows(200, "before");
    site.routes.insert(None, "/x", service(|_| Response::new(200, "text/plain", "after")));
    client.get("/x").await.shows(200, "after");
    site.routes.remove(None, "/x");
    client.get("/x").await.shows(200, "before");
    client.get("/%2e%2e/x").await.shows(200, "before");
}
