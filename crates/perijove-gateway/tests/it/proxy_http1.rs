//! Requests through the gateway to a server that speaks HTTP/1.1.

use std::sync::Arc;

use perijove_gateway::{Confinement, Rewrite, Secret, Target};
use tokio::sync::mpsc::unbounded_channel;

use crate::{site::Site, upstream::upstream, wire::soon};

#[tokio::test]
async fn an_answer_that_is_cut_off_is_cut_off_for_the_client() {
    let cut = upstream(async |mut wire| {
        let head = wire.head().await;
        let framing = if head.start.contains("chunked") {
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        } else {
            "Content-Length: 9\r\n\r\nabc"
        };
        wire.send(format!("HTTP/1.1 200 OK\r\n{framing}")).await;
    });
    let site = Site::new().route("/", cut.await).start();
    for path in ["/chunked", "/sized"] {
        let mut client = site.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let head = client.head().await;
        assert_eq!(head.status(), 200);
        let rest = client.rest().await;
        assert!(rest.contains("abc") && !rest.contains("0\r\n\r\n"), "{rest:?}");
    }
}

#[tokio::test]
async fn an_answer_may_begin_while_its_request_still_comes() {
    let echo = upstream(async |mut wire| {
        let head = wire.head().await;
        let length: usize = head.get("content-length").unwrap().parse().unwrap();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
        for _ in 0..length / 4 {
            let piece = wire.take(4).await;
            wire.send(piece).await;
        }
    });
    let site = Site::new().route("/", echo.await).start();
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    for piece in ["abcd", "efgh", "ijkl"] {
        client.send(piece).await;
        assert_eq!(client.take(4).await, piece.as_bytes());
    }
}

#[tokio::test]
async fn a_client_that_vanishes_is_noticed_by_the_upstream() {
    let (sender, mut receiver) = unbounded_channel();
    let endless = upstream(move |mut wire| {
        let sender = sender.clone();
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\n\r\n").await;
            let piece = vec![b'x'; 65_536];
            while wire.try_send(&piece).await {}
            sender.send(()).unwrap();
        }
    });
    let site = Site::new().route("/", endless.await).start();
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.take(1_000_000).await;
    drop(client);
    soon("the upstream's end", receiver.recv()).await.unwrap();
}

#[tokio::test]
async fn a_confined_target_does_not_act_on_the_origin() {
    let outer = upstream(async |mut wire| {
        loop {
            wire.message().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: session=1\r\n\r\n")
                .await;
        }
    })
    .await;
    let (sender, mut receiver) = unbounded_channel();
    let mut inner = upstream(move |mut wire| {
        let sender = sender.clone();
        async move {
            loop {
                sender.send(wire.message().await).unwrap();
                wire.send(
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: own=1; Path=/\r\n\
                    Set-Cookie: session=2\r\nClear-Site-Data: \"*\"\r\nPerijove-Subject: x\r\n\r\n",
                )
                .await;
            }
        }
    })
    .await;
    let Target::Proxy { upstreams, .. } = &outer.target else { unreachable!() };
    let confinement = Confinement::new("/in/").beside(upstreams.cookie_names().clone());
    inner.confinement = Some(Arc::new(confinement));
    inner.rewrite = Rewrite {
        remove: Arc::from(["authorization".to_owned()]),
        set: Arc::from([("Authorization".to_owned(), Secret::new("token t"))]),
        ..Rewrite::default()
    };
    let site = Site::new().route("/", outer).route("/in/", inner).start();
    let mut client = site.connect().await;
    assert_eq!(client.get("/").await.get("set-cookie"), Some("session=1"));
    let ask =
        "GET /in/ HTTP/1.1\r\nHost: a\r\nCookie: session=1; own=1\r\nAuthorization: s\r\n\r\n";
    for expected in [None, Some("own=1")] {
        let answer = client.ask(ask).await;
        let cookies: Vec<_> =
            answer.fields.iter().filter(|(name, _)| name == "Set-Cookie").map(|(_, v)| v).collect();
        assert_eq!(cookies, ["own=1; Path=/in/"]);
        assert_eq!((answer.get("clear-site-data"), answer.get("perijove-subject")), (None, None));
        let request = receiver.recv().await.unwrap();
        assert_eq!(request.get("cookie"), expected);
        assert_eq!(request.get("authorization"), Some("token t"));
    }
}
