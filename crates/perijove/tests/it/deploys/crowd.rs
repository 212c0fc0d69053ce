//! Visitors of all kinds at once: with connections that are kept and with new ones, with small and
//! slow requests, uploads, long answers and websockets.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::site::PATIENCE;

/// Visitors that are about to come.
pub(super) struct Crowd {
    /// Where a program elsewhere answers websockets.
    pub(super) echo: String,
}

/// Visitors that are there.
pub(super) struct Visitors {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    seen: Arc<Seeing>,
}

#[derive(Default)]
struct Seeing {
    answered: AtomicUsize,
    echoes: AtomicUsize,
    outlived: AtomicUsize,
    farewells: AtomicUsize,
    versions: AtomicUsize,
    next: AtomicUsize,
    failed: Mutex<BTreeMap<String, String>>,
}

/// What the visitors saw.
pub(super) struct Seen {
    pub(super) answered: usize,
    pub(super) echoes: usize,
    /// Echoes on websockets whose version was replaced.
    pub(super) outlived: usize,
    /// Websockets that were ended with a good-bye.
    pub(super) farewells: usize,
    /// The ids of requests that failed, and why.
    pub(super) failed: BTreeMap<String, String>,
}

/// How a visitor asks.
#[derive(Clone, Copy)]
struct Way {
    view: &'static str,
    is_kept: bool,
    /// Between two requests.
    pause: Duration,
}

const WAYS: [(usize, Way); 6] = [
    (4, Way { view: "/small", is_kept: true, pause: Duration::from_millis(5) }),
    (2, Way { view: "/small", is_kept: false, pause: Duration::from_millis(5) }),
    (2, Way { view: "/slow", is_kept: true, pause: Duration::ZERO }),
    (1, Way { view: "/slow", is_kept: false, pause: Duration::ZERO }),
    (2, Way { view: "/upload", is_kept: true, pause: Duration::from_millis(20) }),
    (1, Way { view: "/stream", is_kept: true, pause: Duration::ZERO }),
];
/// Of each kind.
const WEBSOCKETS: usize = 6;

impl Crowd {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let echo = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer_websocket(stream));
            }
        });
        Self { echo }
    }

    /// Has them come, until they are told to leave.
    pub(super) fn visit(address: &str) -> Visitors {
        let (stop, seen) = (CancellationToken::new(), Arc::new(Seeing::default()));
        let mut tasks = JoinSet::new();
        let ways = WAYS.iter().flat_map(|(count, way)| std::iter::repeat_n(*way, *count));
        for way in ways {
            tasks.spawn(visit(address.to_owned(), way, stop.clone(), Arc::clone(&seen)));
        }
        for number in 0..WEBSOCKETS {
            let url = format!("ws://{address}/ws/{number}");
            tasks.spawn(talk(url, stop.clone(), Arc::clone(&seen)));
            let url = format!("ws://{address}/chat/{number}");
            tasks.spawn(chat(url, stop.clone(), Arc::clone(&seen)));
        }
        Visitors { tasks, stop, seen }
    }
}

impl Visitors {
    /// A version has taken over.
    pub(super) fn new_version(&self) {
        self.seen.versions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) async fn leave(self) -> Seen {
        self.stop.cancel();
        self.tasks.join_all().await;
        Seen {
            answered: self.seen.answered.load(Ordering::Relaxed),
            echoes: self.seen.echoes.load(Ordering::Relaxed),
            outlived: self.seen.outlived.load(Ordering::Relaxed),
            farewells: self.seen.farewells.load(Ordering::Relaxed),
            failed: self.seen.failed.lock().unwrap().clone(),
        }
    }
}

async fn visit(address: String, way: Way, stop: CancellationToken, seen: Arc<Seeing>) {
    let mut connection = None;
    while !stop.is_cancelled() {
        let id = format!("r{}", seen.next.fetch_add(1, Ordering::Relaxed));
        match timeout(PATIENCE, ask(&address, &mut connection, way, &id)).await {
            Ok(Ok(())) => {
                seen.answered.fetch_add(1, Ordering::Relaxed);
            }
            failed => {
                connection = None;
                let why = format!("{} {failed:?}", way.view);
                seen.failed.lock().unwrap().insert(id, why);
            }
        }
        if !way.is_kept {
            connection = None;
        }
        sleep(way.pause).await;
    }
}

type Kept = Option<BufReader<TcpStream>>;

/// Makes one request; the error says what was wrong with the answer.
async fn ask(address: &str, kept: &mut Kept, way: Way, id: &str) -> io::Result<()> {
    let stream = match kept {
        Some(stream) => stream,
        None => kept.insert(BufReader::new(TcpStream::connect(address).await?)),
    };
    let body: Vec<u8> = match way.view {
        "/upload" => id.bytes().cycle().take(200_000).collect(),
        _ => Vec::new(),
    };
    let method = if body.is_empty() { "GET" } else { "POST" };
    let head = format!(
        "{method} {}?id={id} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n",
        way.view,
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    let answer = read(stream).await?;
    let expected = match way.view {
        "/upload" => hexadecimal(&Sha256::digest(&body)),
        "/stream" => "piece ".repeat(1000),
        view => view.trim_start_matches('/').to_owned(),
    };
    if answer == expected.as_bytes() { Ok(()) } else { Err(wrong("another body")) }
}

/// The body of an answer of status 200.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let status = line(stream).await?;
    let mut length = None;
    loop {
        let field = line(stream).await?.to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length: ") {
            length = value.parse().ok();
        }
    }
    if !status.starts_with("HTTP/1.1 200") {
        return Err(wrong(&status));
    }
    let mut body = Vec::new();
    if let Some(length) = length {
        body.resize(length, 0);
        stream.read_exact(&mut body).await?;
        return Ok(body);
    }
    loop {
        let size = usize::from_str_radix(&line(stream).await?, 16).map_err(io::Error::other)?;
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..]).await?;
        line(stream).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One websocket for the whole time: it must never break.
async fn talk(url: String, stop: CancellationToken, seen: Arc<Seeing>) {
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    let mut count = 0;
    while !stop.is_cancelled() {
        count += 1;
        let told = format!("{url} {count}");
        socket.send(Message::text(told.clone())).await.unwrap();
        let heard = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(heard.into_text().unwrap().as_str(), told);
        seen.echoes.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
    }
}

/// Websockets to workers of ours, one after another: each may be ended when its version was
/// replaced, and then with a good-bye, never amid what it says.
async fn chat(url: String, stop: CancellationToken, seen: Arc<Seeing>) {
    let mut count = 0;
    while !stop.is_cancelled() {
        let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
        let version = seen.versions.load(Ordering::Relaxed);
        while !stop.is_cancelled() {
            count += 1;
            let told = format!("{url} {count}");
            // It may have been ended this moment: the good-bye is still to be read.
            let sent = socket.send(Message::text(told.clone())).await;
            let heard = timeout(PATIENCE, socket.next()).await.unwrap();
            match heard.unwrap_or_else(|| panic!("no good-bye: {sent:?}")).unwrap() {
                Message::Text(text) => assert!(text.ends_with(&told), "{text} for {told}"),
                Message::Close(Some(frame)) => {
                    assert!(matches!(u16::from(frame.code), 1001 | 1012), "{frame:?}");
                    seen.farewells.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                other => panic!("{other:?}"),
            }
            seen.echoes.fetch_add(1, Ordering::Relaxed);
            if seen.versions.load(Ordering::Relaxed) > version {
                seen.outlived.fetch_add(1, Ordering::Relaxed);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn answer_websocket(stream: TcpStream) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if !message.is_text() || socket.send(message).await.is_err() {
            return;
        }
    }
}
