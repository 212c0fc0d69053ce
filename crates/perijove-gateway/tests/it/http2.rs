//! HTTP/2, over TLS and by prior knowledge.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use perijove_gateway::{Response, Tls};
use tokio::sync::Notify;

use crate::{
    site::{Running, Site, service},
    tls::{certify, secure},
    upstream::{echo, upstream},
    wire::{Stream, soon},
};

async fn begin(stream: impl Stream + 'static) -> SendRequest<Bytes> {
    let (client, connection) = soon("a handshake", h2::client::handshake(stream)).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
}

async fn connect(site: &Running) -> SendRequest<Bytes> {
    begin(site.socket().await).await
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://site.example{path}"))
}

/// Sends a request with a body, and reads the answer.
async fn ask(
    client: &mut SendRequest<Bytes>,
    request: http::request::Builder,
    body: &[u8],
) -> (http::response::Parts, Vec<u8>) {
    let mut ready = soon("room", client.clone().ready()).await.unwrap();
    let request = request.body(()).unwrap();
    let (answer, mut stream) = ready.send_request(request, body.is_empty()).unwrap();
    if !body.is_empty() {
        stream.send_data(Bytes::copy_from_slice(body), true).unwrap();
    }
    let (parts, mut body) = soon("an answer", answer).await.unwrap().into_parts();
    let mut whole = Vec::new();
    while let Some(piece) = soon("the body", body.data()).await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        whole.extend_from_slice(&piece);
    }
    (parts, whole)
}

#[tokio::test]
async fn requests_come_by_prior_knowledge() {
    let tells = |request: perijove_gateway::ServiceRequest| {
        let cookies = request.head.get("cookie").unwrap_or_default();
        let text = format!(
            "{} {} {} {}",
            request.head.method(),
            request.head.version(),
            request.client.host,
            String::from_utf8_lossy(cookies)
        );
        Response::new(200, "text/plain", text)
    };
    let site = Site::new().route("/", service(tells)).start();
    let mut client = connect(&site).await;
    let with_cookies = request("GET", "/x?y").header("cookie", "a=1").header("cookie", "b=2");
    let (parts, body) = ask(&mut client, with_cookies, b"").await;
    assert_eq!((parts.status.as_u16(), parts.version), (200, http::Version::HTTP_2));
    assert_eq!(String::from_utf8(body).unwrap(), "GET 2 site.example a=1; b=2");
    assert!(parts.headers.contains_key("date"));
    let (parts, body) = ask(&mut client, request("HEAD", "/"), b"").await;
    assert!(body.is_empty() && parts.headers.contains_key("content-length"));
}

#[tokio::test]
async fn requests_come_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let files = certify(folder.path(), "site.example");
    let tls = Tls::load(vec![files.clone()]).unwrap().config();
    let site = Site::new().route("/", echo().await);
    let site = site.start_with(|listener| listener.tls = Some(tls));
    let stream = secure(&site, "site.example", &[&files], &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let mut client = begin(stream).await;
    for size in [0, 5, 60_000] {
        let sent = vec![b'x'; size];
        let (parts, body) = ask(&mut client, request("POST", "/"), &sent).await;
        assert_eq!((parts.status.as_u16(), body.len()), (200, size));
    }
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let slow = upstream(async |mut wire| {
        let request = wire.message().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let target = request.start.split(' ').nth(1).unwrap().to_owned();
        let length = target.len();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{target}")).await;
    });
    let site = Site::new().route("/", slow.await).start();
    let client = connect(&site).await;
    let asking = (0..20).map(|at| {
        let mut client = client.clone();
        tokio::spawn(async move { ask(&mut client, request("GET", &format!("/{at}")), b"").await })
    });
    for (at, answer) in asking.collect::<Vec<_>>().into_iter().enumerate() {
        let (_, body) = soon("an answer", answer).await.unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), format!("/{at}"));
    }
}

#[tokio::test]
async fn limits_hold() {
    let mut route = echo().await;
    route.limits.body = 100;
    let site = Site::new().route("/", route).start();
    let mut client = connect(&site).await;
    let (parts, _) = ask(&mut client, request("POST", "/"), &[b'x'; 100]).await;
    assert_eq!(parts.status.as_u16(), 200);
    let named = request("POST", "/").header("content-length", "101");
    let (parts, _) = ask(&mut client, named, &[b'x'; 101]).await;
    assert_eq!(parts.status.as_u16(), 413);
    let (parts, body) =
        ask(&mut client, request("GET", "/../x").header("host", "other"), b"").await;
    assert_eq!(parts.status.as_u16(), 400, "{}", String::from_utf8_lossy(&body));
}

#[tokio::test]
async fn an_idle_connection_is_ended_kindly() {
    let site = Site::new()
        .says("/", "hello")
        .with(|plan| plan.idle_time = Duration::from_millis(300))
        .start();
    let stream = site.socket().await;
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let ended = tokio::spawn(connection);
    let (_, body) = ask(&mut client, request("GET", "/"), b"").await;
    assert_eq!(body, b"hello");
    soon("the end", ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_lets_requests_finish() {
    let (came, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
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
    let mut site = Site::new().route("/", slow.await).start();
    let mut client = connect(&site).await;
    let asking = tokio::spawn(async move { ask(&mut client, request("GET", "/"), b"").await });
    soon("the request", came.notified()).await;
    site.stop.cancel();
    go.notify_one();
    let (parts, body) = soon("the answer", asking).await.unwrap();
    assert_eq!((parts.status.as_u16(), body.as_slice()), (200, b"done".as_slice()));
    site.ended().await;
}

#[tokio::test]
async fn a_reset_ends_the_work() {
    let (came, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
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
    let site = Site::new().route("/", silent.await).start();
    let client = connect(&site).await;
    let mut ready = client.clone().ready().await.unwrap();
    let (answer, mut stream) =
        ready.send_request(request("GET", "/").body(()).unwrap(), true).unwrap();
    soon("the request", came.notified()).await;
    stream.send_reset(h2::Reason::CANCEL);
    drop(answer);
    soon("the end of the work", ended.notified()).await;
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_given_up() {
    let ended = Arc::<Notify>::default();
    let tell = ended.clone();
    let endless = upstream(move |mut wire| {
        let ended = tell.clone();
        async move {
            wire.message().await;
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while wire.try_send(&b"4\r\nmore\r\n".repeat(1000)).await {}
            ended.notify_one();
        }
    });
    let site = Site::new().route("/", endless.await).says("/x", "still here");
    let site = site.with(|plan| plan.transfer_time = Duration::from_millis(300)).start();
    let mut client = connect(&site).await;
    let mut ready = client.clone().ready().await.unwrap();
    let (answer, _) = ready.send_request(request("GET", "/").body(()).unwrap(), true).unwrap();
    let answer = soon("an answer", answer).await.unwrap();
    soon("the end of the work", ended.notified()).await;
    drop(answer);
    // The connection itself is none the worse.
    let (_, body) = ask(&mut client, request("GET", "/x"), b"").await;
    assert_eq!(body, b"still here");
}

#[tokio::test]
async fn a_stream_whose_body_stops_coming_is_given_up() {
    let site = Site::new().route("/", echo().await);
    let site = site.with(|plan| plan.transfer_time = Duration::from_millis(300)).start();
    let client = connect(&site).await;
    let mut ready = client.clone().ready().await.unwrap();
    let (answer, mut stream) =
        ready.send_request(request("POST", "/").body(()).unwrap(), false).unwrap();
    stream.send_data(Bytes::from_static(b"some"), false).unwrap();
    assert!(soon("the end of the stream", answer).await.is_err());
}

#[tokio::test]
async fn a_silent_client_is_given_up() {
    let site =
        Site::new().says("/", "x").with(|plan| plan.head_time = Duration::from_millis(300)).start();
    let mut client = site.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // A settings frame and perhaps a farewell may come, then the end.
    client.rest().await;
}
