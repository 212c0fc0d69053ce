//! Websockets to native workers: each on a connection of its own.

use super::{
    super::{Stage, request, text},
    RESPONSE, Worker, describe,
};
use crate::{Body, Protocol, Request, Response, Secret, Upstream, error::Fault};
use bytes::BytesMut;
use tokio::net::UnixListener;

const OPEN: u8 = 32;
const ENTERED: u8 = 33;

/// The example of RFC 6455 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

impl Stage {
    fn add_asgi_worker(&self, name: &str) {
        let protocol = Protocol::Frames { secret: Secret::new("secret"), takes_websockets: true };
        self.upstreams.add(Upstream { protocol, is_replaced: true, ..self.upstream(name, None) });
    }

    fn with_asgi_worker() -> (Self, UnixListener) {
        let stage = Self::new();
        let listener = stage.listen("w");
        stage.add_asgi_worker("w");
        (stage, listener)
    }

    async fn ask(&self) -> Result<Response, Fault> {
        self.send(handshake()).await
    }
}

fn handshake() -> Request {
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "chat"),
    ];
    request("GET", "/ws?a", &fields, Body::Empty)
}

impl Worker {
    /// Accepts a connection for a websocket: the secret and the request.
    async fn opened(listener: &UnixListener) -> (Self, String) {
        let stream = listener.accept().await.unwrap().0;
        let claims = tempfile::tempfile().unwrap();
        let mut worker = Self { stream, buffer: BytesMut::new(), claims };
        let opening = worker.expect(OPEN).await;
        assert!(opening.is_last);
        let payload = opening.payload.strip_prefix(b"\x01\x06secret").unwrap();
        (worker, describe(payload))
    }

    async fn answer(&mut self, status: u16, fields: &str, body: &[u8]) {
        let mut payload = status.to_le_bytes().to_vec();
        payload.extend_from_slice(&[0, 0]);
        payload.extend_from_slice(&u32::try_from(fields.len()).unwrap().to_le_bytes());
        payload.extend_from_slice(fields.as_bytes());
        payload.extend_from_slice(body);
        self.send(RESPONSE, true, 0, &payload).await;
    }
}

#[tokio::test]
async fn a_websocket_is_opened_with_one_frame() {
    let (stage, listener) = Stage::with_asgi_worker();
    let worker = async {
        let (mut worker, request) = Worker::opened(&listener).await;
        worker.send(ENTERED, false, 0, b"").await;
        worker.answer(101, "Sec-WebSocket-Protocol: chat\r\nUpgrade: x\r\n", b"").await;
        request
    };
    let (answer, request) = tokio::join!(stage.ask(), worker);
    insta::assert_snapshot!(request, @r"
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 80, 0]
    GET

    /ws?a
    example.com
    192.0.2.7
    1234
    r-1
    host: example.com
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==
    sec-websocket-version: 13
    sec-websocket-protocol: chat
    connection: upgrade
    upgrade: websocket
    x-request-id: r-1
    ");
    let answer = answer.unwrap();
    assert_eq!(answer.status, 101);
    let fields = String::from_utf8(answer.fields.as_bytes().to_vec()).unwrap();
    assert_eq!(
        fields,
        format!("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: {ACCEPT}\r\n")
    );
    assert!(matches!(answer.body, Body::Tunnel(_)));
    assert_eq!(stage.upstreams.load().0, 1);
    drop(answer);
    assert_eq!(stage.upstreams.load().0, 0);
}

#[tokio::test]
async fn a_refusal_is_the_answer() {
    let (stage, listener) = Stage::with_asgi_worker();
    let worker = async {
        let (mut worker, _) = Worker::opened(&listener).await;
        worker.send(ENTERED, false, 0, b"").await;
        worker.answer(401, "WWW-Authenticate: Basic\r\n", b"who are you?").await;
        worker
    };
    let (answer, _worker) = tokio::join!(stage.ask(), worker);
    let answer = answer.unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!(answer.fields.as_bytes(), b"WWW-Authenticate: Basic\r\n");
    assert_eq!(text(answer.body).await, "who are you?");
    assert_eq!(stage.upstreams.load().0, 0);
}

#[tokio::test]
async fn an_application_that_fails_amid_a_handshake_is_a_fault() {
    let (stage, listener) = Stage::with_asgi_worker();
    let worker = async {
        let (mut worker, _) = Worker::opened(&listener).await;
        worker.send(ENTERED, false, 0, b"").await;
        worker.answer(500, "Perijove-Failure: exception\r\n", b"a page of the worker").await;
        worker
    };
    let (answer, _worker) = tokio::join!(stage.ask(), worker);
    let fault = answer.unwrap_err();
    assert_eq!((fault.status, &*fault.what), (500, "the application raised an exception"));
}

#[tokio::test]
async fn another_version_is_told_which_one_there_is() {
    let (stage, _listener) = Stage::with_asgi_worker();
    for version in [Some("12"), None] {
        let mut fields =
            vec![("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", KEY)];
        fields.extend(version.map(|version| ("Sec-WebSocket-Version", version)));
        let fault = stage.send(request("GET", "/ws", &fields, Body::Empty)).await.unwrap_err();
        assert_eq!(fault.status, 426);
        assert_eq!(fault.fields, [("Sec-WebSocket-Version", "13".to_owned())]);
    }
}

#[tokio::test]
async fn a_worker_that_ends_before_it_has_begun_is_followed_by_another() {
    let (stage, listener) = Stage::with_asgi_worker();
    let worker = async {
        drop(Worker::opened(&listener).await);
        let (mut worker, _) = Worker::opened(&listener).await;
        worker.answer(403, "", b"").await;
        worker
    };
    let (answer, _worker) = tokio::join!(stage.ask(), worker);
    assert_eq!(answer.unwrap().status, 403);
}

#[tokio::test]
async fn a_worker_that_ends_amid_a_handshake_is_a_fault() {
    let (stage, listener) = Stage::with_asgi_worker();
    let worker = async {
        let (mut worker, _) = Worker::opened(&listener).await;
        worker.send(ENTERED, false, 0, b"").await;
    };
    let (answer, ()) = tokio::join!(stage.ask(), worker);
    assert_eq!(answer.unwrap_err().status, 502);
}

#[tokio::test]
async fn answers_that_cannot_be_are_faults() {
    let (stage, listener) = Stage::with_asgi_worker();
    let answers: [(u8, &[u8]); 4] = [
        (RESPONSE, b"\xc8\0\0\0"),
        (RESPONSE, b"\xc8\0\0\0\x05\0\0\0a"),
        (RESPONSE, b"\x64\0\0\0\0\0\0\0"),
        (16, b"\x01\x01\0"),
    ];
    for (kind, payload) in answers {
        let worker = async {
            let (mut worker, _) = Worker::opened(&listener).await;
            worker.send(kind, true, 0, payload).await;
            worker
        };
        let (answer, _worker) = tokio::join!(stage.ask(), worker);
        assert_eq!(answer.unwrap_err().status, 502, "{kind} {payload:?}");
    }
}

#[tokio::test]
async fn a_worker_that_takes_no_websockets_is_sent_a_request() {
    let (stage, listener) = Stage::with_worker();
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let request = worker.enter().await;
        assert!(!describe(&request.payload).contains("upgrade"));
        worker.respond(request.id, "", b"no websocket", true).await;
        worker
    };
    let (answer, _worker) = tokio::join!(stage.ask(), worker);
    assert_eq!(text(answer.unwrap().body).await, "no websocket");
}
