//! One connection, seen from either side: bytes out, heads and bodies in.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Nothing in these tests takes this long, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// What should happen soon.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("{what}: not after {PATIENCE:?}"))
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection and what was read of it too early.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    early: Vec<u8>,
}

/// A message of HTTP/1, request or answer.
#[derive(Debug)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Fails unless it is an answer of this status and body.
    #[track_caller]
    pub(crate) fn shows(&self, status: u16, body: &str) {
        assert_eq!((self.status(), self.text()), (status, body), "{self:?}");
    }
}

impl Wire {
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), early: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("a write", self.stream.write_all(bytes.as_ref())).await.unwrap();
        soon("a flush", self.stream.flush()).await.unwrap();
    }

    /// Sends until the other side takes no more, and says how much it took.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        soon("a write", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Ends this side's direction.
    pub(crate) async fn finish(&mut self) {
        soon("a shutdown", self.stream.shutdown()).await.unwrap();
    }

    /// Reads some more; false at the end.
    async fn more(&mut self) -> bool {
        let mut piece = vec![0; 64 << 10];
        match soon("a read", self.stream.read(&mut piece)).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.early.extend_from_slice(&piece[..count]);
                true
            }
        }
    }

    /// Whether something comes before the end.
    pub(crate) async fn goes_on(&mut self) -> bool {
        self.more().await
    }

    /// Whether something comes within a time.
    pub(crate) async fn has_come(&mut self, within: Duration) -> bool {
        tokio::time::timeout(within, self.more()).await.is_ok()
    }

    /// Reads on, and says whether so many bytes come before the end.
    pub(crate) async fn goes_on_for(&mut self, bytes: usize) -> bool {
        let mut count = 0;
        while count < bytes {
            self.early.clear();
            if !self.more().await {
                return false;
            }
            count += self.early.len();
        }
        true
    }

    /// A plain GET, and whether it is answered with 200.
    pub(crate) async fn try_get(&mut self, path: &str) -> bool {
        let request = format!("GET {path} HTTP/1.1\r\nHost: site.example\r\n\r\n");
        self.try_send(request.as_bytes()).await && self.more().await
    }

    /// Exactly so many bytes.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.early.len() < count {
            assert!(self.more().await, "ended after {} of {count} bytes", self.early.len());
        }
        self.early.drain(..count).collect()
    }

    /// All that comes until the connection ends.
    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.early)).into_owned()
    }

    /// Fails unless the other side closes the connection without another word.
    pub(crate) async fn is_closed(&mut self) {
        assert_eq!(self.rest().await, "");
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.early.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.early.drain(..at + 2).collect::<Vec<_>>();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            assert!(self.more().await, "ended amid {:?}", String::from_utf8_lossy(&self.early));
        }
    }

    /// A head without its body.
    pub(crate) async fn head(&mut self) -> Message {
        let start = self.line().await;
        let mut fields = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                return Message { start, fields, body: Vec::new() };
            }
            let (name, value) = line.split_once(':').unwrap();
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// A whole message.
    pub(crate) async fn message(&mut self) -> Message {
        let mut message = self.head().await;
        if message.get("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                message.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = message.get("content-length") {
            message.body = self.take(length.parse().unwrap()).await;
        }
        message
    }

    /// One chunk of a chunked body; none at its end.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line().await, 16).unwrap();
        let chunk = self.take(size).await;
        assert_eq!(self.line().await, "");
        (size > 0).then_some(chunk)
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(request).await;
        self.message().await
    }

    /// A plain GET.
    pub(crate) async fn get(&mut self, path: &str) -> Message {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: site.example\r\n\r\n")).await
    }
}
