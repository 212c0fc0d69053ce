//! A client of HTTP/1.1 that shows what came, and can send what no good client would.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::PATIENCE;

/// A connection to a site.
pub(crate) struct Connection<S = TcpStream> {
    stream: BufReader<S>,
    host: String,
}

/// An answer, whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Connection<TcpStream> {
    pub(crate) async fn to(address: &str) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap();
        Self::over(stream, address)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn over(stream: S, host: &str) -> Self {
        Self { stream: BufReader::new(stream), host: host.to_owned() }
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.ask_with(method, path, &[], body).await
    }

    pub(crate) async fn ask_with(
        &mut self,
        method: &str,
        path: &str,
        fields: &[&str],
        body: &[u8],
    ) -> Answer {
        let host = &self.host;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        for field in fields {
            head.push_str(&format!("{field}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.send(format!("{head}\r\n").as_bytes()).await;
        self.send(body).await;
        self.answer(method == "HEAD").await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let sent = timeout(PATIENCE, self.stream.get_mut().write_all(bytes));
        sent.await.expect("nobody reads").unwrap();
    }

    /// Reads an answer; the body of one to HEAD is not there.
    pub(crate) async fn answer(&mut self, is_head: bool) -> Answer {
        self.try_answer(is_head).await.expect("the connection ended before the answer")
    }

    /// The same; `None` when the connection ends before a head.
    pub(crate) async fn try_answer(&mut self, is_head: bool) -> Option<Answer> {
        timeout(PATIENCE, self.read(is_head)).await.expect("no answer in time")
    }

    async fn read(&mut self, is_head: bool) -> Option<Answer> {
        let mut first = self.line().await?;
        while first.starts_with("HTTP/1.1 1") && !first.starts_with("HTTP/1.1 101") {
            while !self.line().await?.is_empty() {}
            first = self.line().await?;
        }
        let status: u16 = first.split(' ').nth(1)?.parse().ok()?;
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, fields, body: Vec::new() };
        if !is_head && !matches!(status, 101 | 204 | 304) {
            answer.body = self.body(&answer).await;
        }
        Some(answer)
    }

    async fn body(&mut self, answer: &Answer) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(length) = answer.field("content-length") {
            body.resize(length.parse().unwrap(), 0);
            self.stream.read_exact(&mut body).await.unwrap();
        } else if answer.field("transfer-encoding").is_some() {
            loop {
                let size = self.line().await.unwrap();
                let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
                let start = body.len();
                body.resize(start + size, 0);
                self.stream.read_exact(&mut body[start..]).await.unwrap();
                self.line().await.unwrap();
                if size == 0 {
                    break;
                }
            }
        } else {
            self.stream.read_to_end(&mut body).await.unwrap();
        }
        body
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).await.ok().filter(|count| *count > 0)?;
        Some(super::text(&line).trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Asks for a path; the status and the body, or nothing when the answer is not whole.
    pub(crate) async fn try_ask(&mut self, path: &str) -> Option<(u16, Vec<u8>)> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.send(head.as_bytes()).await;
        let mut answer = Vec::new();
        let read = async {
            let status = self.line().await?.split(' ').nth(1)?.parse().ok()?;
            let mut is_chunked = false;
            let mut length = 0;
            loop {
                let field = self.line().await?.to_ascii_lowercase();
                match field.split_once(": ") {
                    _ if field.is_empty() => break,
                    Some(("transfer-encoding", _)) => is_chunked = true,
                    Some(("content-length", value)) => length = value.parse().ok()?,
                    _ => {}
                }
            }
            loop {
                if is_chunked {
                    length = usize::from_str_radix(&self.line().await?, 16).ok()?;
                }
                let start = answer.len();
                answer.resize(start + length, 0);
                self.stream.read_exact(&mut answer[start..]).await.ok()?;
                if is_chunked {
                    self.line().await?;
                }
                if !is_chunked || length == 0 {
                    return Some((status, answer));
                }
            }
        };
        timeout(PATIENCE, read).await.expect("no answer in time")
    }

    /// What comes next, whatever it is.
    pub(crate) async fn more(&mut self) -> Vec<u8> {
        let mut piece = vec![0; 4096];
        let count = timeout(PATIENCE, self.stream.read(&mut piece)).await.expect("nothing came");
        piece.truncate(count.unwrap());
        assert!(!piece.is_empty(), "the connection ended");
        piece
    }

    /// Whether the other side ends the connection within a time.
    pub(crate) async fn is_closed(&mut self, within: Duration) -> bool {
        let mut byte = [0];
        matches!(timeout(within, self.stream.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body: String = self.text().chars().take(2000).collect();
        write!(f, "{} {:?}\n{body}", self.status, self.fields)
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        super::text(&self.body)
    }

    /// Is 200 and holds these words.
    #[track_caller]
    pub(crate) fn shows(&self, words: &str) -> &Self {
        assert_eq!(self.status, 200, "{self:?}");
        assert!(self.text().contains(words), "{words:?} is not in {}", self.text());
        self
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}
