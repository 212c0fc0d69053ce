//! Fields behind an answer's body, for those who understand them.

use h2::client::SendRequest;

use crate::{
    site::{Running, Site},
    upstream::upstream,
    wire::soon,
};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
    Checksum: 123\r\nContent-Type: text/html\r\nSet-Cookie: a=b\r\nServer-Timing: db;dur=1\r\n\r\n";

/// A site whose answers have trailers; says what it was told of TE.
async fn site() -> Running {
    let route = upstream(async |mut wire| {
        loop {
            let request = wire.head().await;
            if request.get("te").is_some() {
                assert_eq!(
                    (request.get("te"), request.get("connection")),
                    (Some("trailers"), Some("TE"))
                );
            }
            wire.send(ANSWER).await;
        }
    });
    Site::new().route("/", route.await).start()
}

async fn answered(site: &Running, fields: &str) -> String {
    let mut client = site.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n")).await;
    let answer = client.rest().await;
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn trailers_reach_those_who_understand_them() {
    let site = site().await;
    let check = async |fields: &str, expected: &str| {
        assert_eq!(answered(&site, fields).await, expected, "{fields}");
    };
    let with = "3\r\nabc\r\n0\r\nChecksum: 123\r\nServer-Timing: db;dur=1\r\n\r\n";
    let without = "3\r\nabc\r\n0\r\n\r\n";
    check("TE: trailers\r\n", with).await;
    check("te: deflate;q=0.5, Trailers\r\n", with).await;
    check("", without).await;
    check("TE: gzip\r\n", without).await;
    // The connection goes on behind them.
    let mut client = site.connect().await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n").await;
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(client.take(with.len()).await, with.as_bytes());
    }
}

#[tokio::test]
async fn trailers_are_trailers_in_http2_too() {
    let site = site().await;
    let stream = site.socket().await;
    let (client, connection) = soon("a handshake", h2::client::handshake(stream)).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    assert_eq!(trailers(&client, true).await, ["checksum: 123", "server-timing: db;dur=1"]);
    assert!(trailers(&client, false).await.is_empty());
}

/// Asks, and reads what came behind the body.
async fn trailers(client: &SendRequest<bytes::Bytes>, understands: bool) -> Vec<String> {
    let mut request = http::Request::get("http://site.example/");
    if understands {
        request = request.header("te", "trailers");
    }
    let mut client = soon("room", client.clone().ready()).await.unwrap();
    let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
    let mut body = soon("an answer", answer).await.unwrap().into_body();
    let piece = soon("the body", body.data()).await.unwrap().unwrap();
    assert_eq!(piece, "abc");
    assert!(soon("the end", body.data()).await.is_none_or(|last| last.unwrap().is_empty()));
    let trailers = soon("the trailers", body.trailers()).await.unwrap().unwrap_or_default();
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{name}: {}", value.to_str().unwrap())
    };
    trailers.iter().map(field).collect()
}
