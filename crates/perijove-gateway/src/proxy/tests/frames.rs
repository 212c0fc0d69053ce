//! Native workers, played over frames.

use std::{
    collections::VecDeque,
    fs::File,
    io::{IoSlice, Write},
    mem::MaybeUninit,
    os::{fd::AsFd, unix::fs::FileExt},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rustix::{
    cmsg_space,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{UnixListener, UnixStream},
};

use super::{Stage, impatient, next, pieces, request, text};
use crate::{
    Body, BodyError, Protocol, Secret, Upstream, UpstreamId, error::Whose, linux,
    proxy::frames::FIRST_CREDIT,
};

const HELLO: u8 = 1;
const REQUEST: u8 = 2;
const BODY_IN: u8 = 3;
const CREDIT_IN: u8 = 4;
const CANCEL: u8 = 5;
const READY: u8 = 16;
const RESPONSE: u8 = 17;
const BODY: u8 = 18;
const FILE: u8 = 19;
const CREDIT: u8 = 20;
const RESET: u8 = 21;

mod ends;
mod shelf;
mod websocket;

/// One connection of the gateway, seen from the worker.
struct Worker {
    stream: UnixStream,
    buffer: BytesMut,
    claims: File,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    is_last: bool,
    id: u16,
    payload: Bytes,
}

impl Worker {
    /// Accepts the gateway's connection and answers its greeting.
    async fn accept(listener: &UnixListener) -> Self {
        let mut worker = Self::hear(listener).await;
        worker.send(READY, false, 0, &[1, 1, 0]).await;
        worker
    }

    async fn hear(listener: &UnixListener) -> Self {
        let stream = listener.accept().await.unwrap().0;
        let mut bytes = [0; 64];
        let mut descriptors = VecDeque::new();
        let count = loop {
            stream.readable().await.unwrap();
            let receive = || linux::receive(&stream, &mut bytes, |fd| descriptors.push_back(fd));
            match stream.try_io(Interest::READABLE, receive) {
                Ok(count) => break count,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        };
        let claims = File::from(descriptors.pop_front().unwrap());
        let mut worker = Self { stream, buffer: BytesMut::from(&bytes[..count]), claims };
        let hello = worker.frame().await.unwrap();
        assert_eq!((hello.kind, &hello.payload[..]), (HELLO, &b"\x01secret"[..]));
        worker
    }

    /// The next frame; `None` at the end of the connection.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.buffered() {
                return Some(frame);
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    fn buffered(&mut self) -> Option<Frame> {
        let header: [u8; 12] = *self.buffer.first_chunk()?;
        let length = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
        if self.buffer.len() < 12 + length {
            return None;
        }
        let payload = self.buffer.split_to(12 + length).freeze().slice(12..);
        let id = u16::from_le_bytes([header[8], header[9]]);
        Some(Frame { kind: header[4], is_last: header[5] & 1 == 1, id, payload })
    }

    /// The next frame, of this kind.
    async fn expect(&mut self, kind: u8) -> Frame {
        let frame = self.frame().await.unwrap();
        assert_eq!(frame.kind, kind, "{frame:?}");
        frame
    }

    /// The next request, entered.
    async fn enter(&mut self) -> Frame {
        let request = self.expect(REQUEST).await;
        self.claims.write_at(&[1], request.id.into()).unwrap();
        request
    }

    async fn send(&mut self, kind: u8, is_last: bool, id: u16, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
        frame.extend_from_slice(&[kind, is_last.into(), 0, 0]);
        frame.extend_from_slice(&u32::from(id).to_le_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).await.unwrap();
    }

    async fn respond(&mut self, id: u16, fields: &str, body: &[u8], is_last: bool) {
        let mut payload = vec![200, 0, 0, 0];
        payload.extend_from_slice(&u32::try_from(fields.len()).unwrap().to_le_bytes());
        payload.extend_from_slice(fields.as_bytes());
        payload.extend_from_slice(body);
        self.send(RESPONSE, is_last, id, &payload).await;
    }

    fn send_file(&mut self, id: u16, is_last: bool, file: &File, offset: u64, length: u64) {
        let mut frame = vec![16, 0, 0, 0, FILE, is_last.into(), 0, 0];
        frame.extend_from_slice(&u32::from(id).to_le_bytes());
        frame.extend_from_slice(&offset.to_le_bytes());
        frame.extend_from_slice(&length.to_le_bytes());
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [file.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let parts = [IoSlice::new(&frame)];
        let sent = sendmsg(&self.stream, &parts, &mut ancillary, SendFlags::empty()).unwrap();
        assert_eq!(sent, frame.len());
    }
}

impl Stage {
    fn add_worker(&self, name: &str) -> UpstreamId {
        let protocol = Protocol::Frames { secret: Secret::new("secret"), takes_websockets: false };
        self.upstreams.add(Upstream { protocol, is_replaced: true, ..self.upstream(name, None) })
    }

    fn with_worker() -> (Self, UnixListener) {
        let stage = Self::new();
        let listener = stage.listen("w");
        stage.add_worker("w");
        (stage, listener)
    }

    /// Lets other tasks run until this many requests are under way.
    async fn until_busy(&self, count: usize) {
        while self.upstreams.load().0 != count {
            tokio::task::yield_now().await;
        }
    }
}

/// The texts and fields of a request, one a line.
fn describe(payload: &[u8]) -> String {
    let mut rest = payload;
    let mut take = |count: usize| {
        let (taken, after) = rest.split_at(count);
        rest = after;
        taken.to_vec()
    };
    let mut lines = vec![format!("{:?}", take(14))];
    for _ in 0..7 {
        let length = u16::from_le_bytes(take(2).try_into().unwrap());
        lines.push(take(length.into()).escape_ascii().to_string());
    }
    for _ in 0..u16::from_le_bytes(take(2).try_into().unwrap()) {
        let name = u16::from_le_bytes(take(2).try_into().unwrap());
        let value = u32::from_le_bytes(take(4).try_into().unwrap());
        let (name, value) = (take(name.into()), take(value as usize));
        lines.push(format!("{}: {}", name.escape_ascii(), value.escape_ascii()));
    }
    lines.push(rest.escape_ascii().to_string());
    lines.join("\n")
}

#[tokio::test]
async fn a_request_becomes_a_frame_and_a_frame_an_answer() {
    let (stage, listener) = Stage::with_worker();
    let fields = [("X-Forwarded-For", "evil"), ("Accept", "*/*"), ("Cookie", "a=1")];
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        for _ in 0..3 {
            let request = worker.enter().await;
            assert_eq!((request.id, request.is_last), (0, true));
            insta::allow_duplicates! { insta::assert_snapshot!(describe(&request.payload), @r#"
            [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 80, 0]
            GET

            /a%2fb?c
            example.com
            192.0.2.7
            1234
            r-1
            host: example.com
            accept: */*
            cookie: a=1
            x-request-id: r-1
            "#) };
            let fields = "Content-Type: t\r\nContent-Length: 2\r\nServer: s\r\n";
            worker.respond(0, fields, b"ok", true).await;
        }
        worker
    };
    let client = async {
        for _ in 0..3 {
            let answer =
                stage.send(request("GET", "/a%2fb?c", &fields, Body::Empty)).await.unwrap();
            assert_eq!(answer.fields.as_bytes(), b"Content-Type: t\r\n");
            assert!(matches!(answer.body, Body::Full(_)));
            assert_eq!(text(answer.body).await, "ok");
            assert_eq!(stage.upstreams.load(), (0, 0));
        }
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn what_is_asked_in_one_turn_is_written_at_once() {
    let (stage, listener) = Stage::with_worker();
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let first = worker.enter().await;
        worker.respond(first.id, "", b"", true).await;
        let mut many = BytesMut::with_capacity(1 << 20);
        worker.stream.read_buf(&mut many).await.unwrap();
        worker.buffer = many;
        let mut ids = Vec::new();
        while let Some(frame) = worker.buffered() {
            assert_eq!(frame.kind, REQUEST);
            ids.push(frame.id);
        }
        assert_eq!(ids.len(), 20);
        ids.reverse();
        for id in ids {
            worker.respond(id, "", id.to_string().as_bytes(), true).await;
        }
        worker
    };
    let client = async {
        stage.get("/").await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (upstreams, route) = (stage.upstreams.clone(), stage.route.clone());
            tasks.spawn(async move {
                let request = request("GET", "/", &[], Body::Empty);
                text(super::forward(&upstreams, request, &route).await.unwrap().body).await
            });
        }
        let mut bodies: Vec<u32> = Vec::new();
        while let Some(body) = tasks.join_next().await {
            bodies.push(body.unwrap().parse().unwrap());
        }
        bodies.sort_unstable();
        assert_eq!(bodies, (0..20).collect::<Vec<_>>());
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn an_answers_body_comes_as_credit_allows() {
    let (stage, listener) = Stage::with_worker();
    let piece = vec![b'x'; FIRST_CREDIT as usize / 2];
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let id = worker.enter().await.id;
        worker.respond(id, "", b"", false).await;
        worker.send(BODY, false, id, &piece).await;
        worker.send(BODY, false, id, &piece).await;
        let mut credit = 0;
        for _ in 0..6 {
            while credit < piece.len() {
                let granted = worker.expect(CREDIT_IN).await;
                credit += u32::from_le_bytes(granted.payload[..].try_into().unwrap()) as usize;
            }
            credit -= piece.len();
            worker.send(BODY, false, id, &piece).await;
        }
        worker.send(BODY, true, id, b"end").await;
        worker
    };
    let client = async {
        let body = text(stage.get("/").await.unwrap().body).await;
        assert_eq!(body.len(), 8 * piece.len() + 3);
        assert!(body.ends_with("xend"));
        assert_eq!(stage.upstreams.load(), (0, 0));
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn more_body_than_credit_ends_the_connection() {
    let (stage, listener) = Stage::with_worker();
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let id = worker.enter().await.id;
        worker.respond(id, "", b"", false).await;
        for _ in 0..6 {
            worker.send(BODY, false, id, &vec![b'x'; FIRST_CREDIT as usize / 4]).await;
        }
        while let Some(frame) = worker.frame().await {
            assert_eq!(frame.kind, CREDIT_IN);
        }
    };
    let client = async {
        let answer = stage.get("/").await.unwrap();
        // Nobody takes the body: no more than the first credit may come.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(text(answer.body).await.ends_with("! the body was cut off"));
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn a_large_answer_in_one_frame_has_a_known_length() {
    let (stage, listener) = Stage::with_worker();
    let large = "y".repeat(250_000);
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let id = worker.enter().await.id;
        worker.respond(id, "A: b\r\n", large.as_bytes(), true).await;
        worker
    };
    let client = async {
        let answer = stage.get("/").await.unwrap();
        assert_eq!(answer.body.length(), Some(250_000));
        assert!(text(answer.body).await == large);
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn an_answer_that_is_there_as_a_whole_is_one() {
    let (stage, listener) = Stage::with_worker();
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let id = worker.enter().await.id;
        let mut frames = vec![10, 0, 0, 0, RESPONSE, 0, 0, 0, 0, 0, 0, 0];
        frames.extend_from_slice(&[200, 0, 0, 0, 0, 0, 0, 0, b'o', b'k']);
        frames.extend_from_slice(&[0, 0, 0, 0, BODY, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(id, 0);
        worker.stream.write_all(&frames).await.unwrap();
        worker
    };
    let (answer, _worker) = tokio::join!(stage.get("/"), worker);
    assert!(matches!(answer.unwrap().body, Body::Full(body) if body == "ok"));
    assert_eq!(stage.upstreams.load(), (0, 0));
}

#[tokio::test]
async fn a_requests_body_is_sent_as_credit_allows() {
    let (stage, listener) = Stage::with_worker();
    let (sender, body) = pieces(Some(12));
    sender.send(Ok("ab")).unwrap();
    sender.send(Ok("cd")).unwrap();
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let request = worker.enter().await;
        assert!(!request.is_last && request.payload.ends_with(b"abcd"));
        sender.send(Ok("efghij")).unwrap();
        worker.send(CREDIT, false, request.id, &4_u32.to_le_bytes()).await;
        assert_eq!(worker.expect(BODY_IN).await.payload, "efgh");
        worker.send(CREDIT, false, request.id, &100_u32.to_le_bytes()).await;
        assert_eq!(worker.expect(BODY_IN).await.payload, "ij");
        sender.send(Ok("kl")).unwrap();
        let last = worker.expect(BODY_IN).await;
        assert!(last.is_last && last.payload == "kl");
        worker.respond(request.id, "", b"ok", true).await;
        worker
    };
    let (answer, _worker) = tokio::join!(stage.send(request("PUT", "/", &[], body)), worker);
    assert_eq!(text(answer.unwrap().body).await, "ok");
}

#[tokio::test]
async fn a_body_that_fits_travels_with_its_request() {
    let (stage, listener) = Stage::with_worker();
    let large = Bytes::from("z".repeat(100_000));
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        for is_known in [true, false] {
            let request = worker.enter().await;
            assert!(request.is_last && request.payload.ends_with(b"abc"), "{is_known}");
            worker.respond(request.id, "", b"", true).await;
        }
        let request = worker.enter().await;
        assert!(!request.is_last);
        worker.send(CREDIT, false, request.id, &1_000_000_u32.to_le_bytes()).await;
        let rest = worker.expect(BODY_IN).await;
        assert!(rest.is_last);
        assert_eq!(rest.payload.len(), 100_000 - 65_536);
        worker.respond(request.id, "", b"", true).await;
        worker
    };
    let client = async {
        let put = |body| stage.send(request("PUT", "/", &[], body));
        put(Body::Full("abc".into())).await.unwrap();
        let (sender, body) = pieces(None);
        sender.send(Ok("abc")).unwrap();
        drop(sender);
        put(body).await.unwrap();
        put(Body::Full(large)).await.unwrap();
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn a_worker_that_does_not_read_is_not_sent_bodies() {
    let (stage, listener) = Stage::with_worker();
    let large = Bytes::from("z".repeat(60_000));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let request = request("PUT", "/", &[], Body::Full(large.clone()));
        let (upstreams, route) = (stage.upstreams.clone(), stage.route.clone());
        clients.spawn(async move {
            text(super::forward(&upstreams, request, &route).await.unwrap().body).await
        });
    }
    // All is in line before the first byte can be written.
    stage.until_busy(60).await;
    let mut worker = Worker::accept(&listener).await;
    let (mut carried, mut answered) = (0, 0);
    while answered < 60 {
        let frame = worker.frame().await.unwrap();
        if frame.kind == REQUEST {
            worker.claims.write_at(&[1], frame.id.into()).unwrap();
            carried += usize::from(frame.is_last);
        }
        assert_eq!(frame.is_last, frame.payload.len() >= large.len());
        if frame.is_last {
            answered += 1;
            worker.respond(frame.id, "", b"ok", true).await;
        } else {
            worker.send(CREDIT, false, frame.id, &60_000_u32.to_le_bytes()).await;
        }
    }
    assert!((10..30).contains(&carried), "{carried}");
    assert!(clients.join_all().await.iter().all(|body| body == "ok"));
}

#[tokio::test]
async fn a_client_that_expects_continue_is_asked_when_the_application_reads() {
    let (stage, listener) = Stage::with_worker();
    let (sender, body) = pieces(Some(2));
    sender.send(Ok("ab")).unwrap();
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let request = worker.enter().await;
        assert!(!request.is_last && !request.payload.ends_with(b"ab"));
        worker.send(CREDIT, false, request.id, &9_u32.to_le_bytes()).await;
        assert_eq!(worker.expect(BODY_IN).await.payload, "ab");
        worker.respond(request.id, "", b"", true).await;
        worker
    };
    let request = request("PUT", "/", &[("Expect", "100-continue")], body);
    let (answer, _worker) = tokio::join!(stage.send(request), worker);
    assert_eq!(answer.unwrap().status, 200);
}

#[tokio::test]
async fn an_answer_may_begin_before_the_request_has_ended() {
    let (stage, listener) = Stage::with_worker();
    let (sender, body) = pieces(Some(4));
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let id = worker.enter().await.id;
        worker.respond(id, "Content-Length: 4\r\n", b"", false).await;
        worker.send(CREDIT, false, id, &100_u32.to_le_bytes()).await;
        worker
    };
    let (answer, mut worker) = tokio::join!(stage.send(request("PUT", "/", &[], body)), worker);
    let mut body = answer.unwrap().body;
    assert_eq!(body.length(), Some(4));
    for (piece, is_last) in [("ab", false), ("cd", true)] {
        sender.send(Ok(piece)).unwrap();
        let sent = worker.expect(BODY_IN).await;
        assert_eq!((&sent.payload[..], sent.is_last), (piece.as_bytes(), is_last));
        worker.send(BODY, is_last, 0, piece.as_bytes()).await;
        assert_eq!(next(&mut body).await.unwrap().unwrap(), piece);
    }
    assert!(next(&mut body).await.is_none());
}

#[tokio::test]
async fn an_application_that_does_not_read_ends_the_request() {
    let (stage, listener) = Stage::with_worker();
    let (_sender, body) = pieces(Some(4));
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let id = worker.enter().await.id;
        worker.respond(id, "", b"no", true).await;
        assert_eq!(worker.expect(CANCEL).await.id, id);
        // The id is free: both sides have ended it.
        let request = worker.enter().await;
        assert_eq!(request.id, id);
        worker.respond(id, "", b"", true).await;
        worker
    };
    let client = async {
        let answer = stage.send(request("PUT", "/", &[], body)).await.unwrap();
        assert_eq!(text(answer.body).await, "no");
        stage.get("/").await.unwrap();
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn a_client_that_vanishes_cancels() {
    let (stage, listener) = Stage::with_worker();
    let mut worker = {
        let waiting = stage.get("/");
        tokio::pin!(waiting);
        tokio::select! {
            worker = async {
                let mut worker = Worker::accept(&listener).await;
                worker.enter().await;
                worker
            } => worker,
            _ = &mut waiting => unreachable!(),
        }
    };
    assert_eq!(worker.expect(CANCEL).await.id, 0);
    // Until the worker has ended it, it has a place.
    assert_eq!(stage.upstreams.load(), (1, 0));
    worker.send(BODY, false, 0, b"too late").await;
    worker.send(RESET, true, 0, b"cancelled").await;
    stage.until_busy(0).await;
    let again = async {
        assert_eq!(worker.enter().await.id, 0);
        worker.respond(0, "", b"ok", true).await;
    };
    let (answer, ()) = tokio::join!(stage.get("/"), again);
    assert_eq!(text(answer.unwrap().body).await, "ok");
}
