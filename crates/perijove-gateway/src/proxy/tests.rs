//! Forwarding over real sockets to upstreams that do as a test says.

mod dying;
mod equals;
mod frames;
mod http1;
mod https;

use std::{
    collections::VecDeque,
    fmt::Write,
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::mpsc,
};

use super::{Protocol, Upstream, UpstreamAddress, UpstreamSettings, Upstreams, forward};
use crate::{
    Body, BodyError, Client, Head, Request, Response, Route, Scheme, Source, Target, error::Fault,
};

/// A set of upstreams, a route to them, and the sockets on which a test plays the upstreams.
struct Stage {
    folder: TempDir,
    upstreams: Arc<Upstreams>,
    route: Arc<Route>,
}

impl Stage {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Route)) -> Self {
        let upstreams = Upstreams::new(UpstreamSettings::default());
        let target = Target::Proxy { files: Arc::new([]), upstreams: upstreams.clone() };
        let mut route = Route::new(target);
        change(&mut route);
        Self { folder: tempfile::tempdir().unwrap(), upstreams, route: Arc::new(route) }
    }

    /// A stage with one upstream that takes as many requests as come.
    fn one() -> (Self, UnixListener) {
        let stage = Self::new();
        let listener = stage.listen("a");
        stage.add("a", None);
        (stage, listener)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn listen(&self, name: &str) -> UnixListener {
        UnixListener::bind(self.path(name)).unwrap()
    }

    fn upstream(&self, name: &str, capacity: Option<usize>) -> Upstream {
        Upstream {
            address: UpstreamAddress::Unix(self.path(name)),
            protocol: Protocol::Http1,
            capacity,
            account: Some(rustix::process::getuid().as_raw()),
            is_replaced: false,
        }
    }

    fn add(&self, name: &str, capacity: Option<usize>) -> super::UpstreamId {
        self.upstreams.add(self.upstream(name, capacity))
    }

    async fn send(&self, request: Request) -> Result<Response, Fault> {
        forward(&self.upstreams, request, &self.route).await
    }

    async fn get(&self, target: &str) -> Result<Response, Fault> {
        self.send(request("GET", target, &[], Body::Empty)).await
    }
}

fn request(method: &str, target: &str, fields: &[(&str, &str)], body: Body) -> Request {
    let mut all = vec![("Host".as_bytes(), "example.com".as_bytes())];
    all.extend(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    Request {
        head: Head::from_parts(method, target.as_bytes(), &all).unwrap(),
        body,
        client: Client {
            address: Some("192.0.2.7:1234".parse().unwrap()),
            scheme: Scheme::Http,
            host: "example.com".into(),
            port: 80,
            peer: None,
            request_id: "r-1".into(),
            trace: None,
            proven: None,
        },
    }
}

/// One connection to an upstream, seen from the upstream.
struct Peer {
    stream: UnixStream,
    buffer: BytesMut,
}

impl Peer {
    async fn accept(listener: &UnixListener) -> Self {
        Self { stream: listener.accept().await.unwrap().0, buffer: BytesMut::new() }
    }

    /// The head of the next request; empty at the end of the connection.
    async fn head(&mut self) -> String {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                return String::from_utf8(self.buffer.split_to(end + 4).to_vec()).unwrap();
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return String::new();
            }
        }
    }

    /// The next bytes, so many.
    async fn bytes(&mut self, count: usize) -> Bytes {
        while self.buffer.len() < count {
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0);
        }
        self.buffer.split_to(count).freeze()
    }

    /// All that comes until the other side closes.
    async fn rest(mut self) -> Bytes {
        while self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) > 0 {}
        self.buffer.freeze()
    }

    async fn say(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
    }

    /// Reads a request without body and answers it.
    async fn answer(&mut self, text: &str) -> String {
        let head = self.head().await;
        self.say(text).await;
        head
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok";

/// The next piece of a body.
async fn next(body: &mut Body) -> Option<Result<Bytes, BodyError>> {
    match body {
        Body::Stream(source) => std::future::poll_fn(|context| source.poll_chunk(context)).await,
        _ => match std::mem::take(body) {
            Body::Full(bytes) => Some(Ok(bytes)),
            Body::Empty => None,
            other => panic!("{other:?}"),
        },
    }
}

/// The whole body of an answer, ending in `!` and the reason when it was cut off.
async fn text(mut body: Body) -> String {
    let mut text = String::new();
    while let Some(piece) = next(&mut body).await {
        match piece {
            Ok(piece) => text.push_str(std::str::from_utf8(&piece).unwrap()),
            Err(error) => write!(text, "! {error}").unwrap(),
        }
    }
    text
}

/// A request's body that a test sends piece by piece.
fn pieces(length: Option<u64>) -> (mpsc::UnboundedSender<Result<&'static str, BodyError>>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Body::Stream(Box::new(Pieces { receiver, length, left: VecDeque::new() })))
}

struct Pieces {
    receiver: mpsc::UnboundedReceiver<Result<&'static str, BodyError>>,
    length: Option<u64>,
    left: VecDeque<Bytes>,
}

impl Source for Pieces {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(piece) = self.left.pop_front() {
            return Poll::Ready(Some(Ok(piece)));
        }
        self.receiver.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Bytes::from)))
    }

    fn length(&self) -> Option<u64> {
        self.length
    }
}

/// A route whose upstreams must answer soon.
fn impatient(route: &mut Route) {
    route.limits.response_time = Duration::from_millis(100);
}

#[tokio::test]
async fn what_waits_for_an_answer_is_small() {
    let (stage, _listener) = Stage::one();
    let request = request("GET", "/", &[], Body::Empty);
    let size = size_of_val(&forward(&stage.upstreams, request, &stage.route));
    assert!(size <= 600, "{size}");
}
