//! Asks the running program over its control socket.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;
use thiserror::Error;

use super::{
    reload::{AGAIN, LINES},
    secret_file,
};
use crate::failure::{Failure, Kind};

/// An answer longer than this is not one of ours.
const ANSWER_LIMIT: u64 = 16 << 20;

/// How many processes may take over one from the other while something is asked for.
const MOST_TRIES: u32 = 16;

/// Talks to one control socket.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    patience: Duration,
}

/// Why there is no useful answer.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    #[error("this site is not served now (nobody listens on {})", socket.display())]
    Away { socket: PathBuf },
    #[error("could not read the secret {}", file.display())]
    Secret { file: PathBuf, source: io::Error },
    #[error("the running perijove did not answer")]
    Io(#[source] io::Error),
    #[error("the running perijove gave an answer that could not be read")]
    Unreadable,
    #[error("{what}")]
    Refused { status: u16, what: String, hint: Option<String> },
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let kind = match &error {
            ClientError::Away { .. } | ClientError::Secret { .. } => Kind::Unavailable,
            ClientError::Refused { status: 503, .. } => Kind::Busy,
            ClientError::Refused { status: 422, .. } => Kind::Configuration,
            ClientError::Unreadable => Kind::Fault,
            ClientError::Io(_) | ClientError::Refused { .. } => Kind::Other,
        };
        let hint = match &error {
            ClientError::Away { .. } => Some(
                "start it with `perijove serve`, or name its configuration with --config"
                    .to_owned(),
            ),
            ClientError::Secret { .. } => Some("use the account that serves the site".to_owned()),
            ClientError::Refused { hint, .. } => hint.clone(),
            ClientError::Io(_) | ClientError::Unreadable => None,
        };
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl Client {
    /// Each answer may take `patience`.
    pub(crate) fn new(socket: PathBuf, patience: Duration) -> Self {
        Self { socket, patience }
    }

    /// Sends a request and reads the JSON of its answer.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let (status, body) = self.exchange(method, path, body.as_bytes())?;
        read(status, body)
    }

    /// Sends a request; status and body of its answer.
    pub(crate) fn exchange(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<(u16, Vec<u8>), ClientError> {
        let mut stream = self.send(method, path, "application/json", body)?;
        let mut answer = Vec::new();
        Read::by_ref(&mut stream)
            .take(ANSWER_LIMIT)
            .read_to_end(&mut answer)
            .map_err(ClientError::Io)?;
        split(&answer).ok_or(ClientError::Unreadable)
    }

    /// Sends a request whose answer comes line by line, tells each line, and returns the last one.
    /// Where another process takes over meanwhile, that one is asked.
    pub(crate) fn follow(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        mut tell: impl FnMut(&Value),
    ) -> Result<Value, ClientError> {
        let mut tries = 0;
        loop {
            let last = self.follow_one(method, path, body, &mut tell)?;
            let is_elsewhere = last.get(AGAIN).and_then(Value::as_bool).unwrap_or(false);
            if is_elsewhere && tries < MOST_TRIES {
                tries += 1;
                continue;
            }
            return match last.get("status").and_then(Value::as_u64) {
                Some(status) => read(u16::try_from(status).unwrap_or(500), last.to_string().into()),
                None => Ok(last),
            };
        }
    }

    /// The last line of what one process answers.
    fn follow_one(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        mut tell: impl FnMut(&Value),
    ) -> Result<Value, ClientError> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let stream = self.send(method, path, LINES, body.as_bytes())?;
        let mut answer = BufReader::new(stream.take(ANSWER_LIMIT));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if answer.read_line(&mut head).map_err(ClientError::Io)? == 0 {
                return Err(ClientError::Unreadable);
            }
        }
        if !head.to_ascii_lowercase().contains(&format!("content-type: {LINES}\r\n")) {
            // It was refused at the door.
            let mut whole = head.into_bytes();
            answer.read_to_end(&mut whole).map_err(ClientError::Io)?;
            let (status, body) = split(&whole).ok_or(ClientError::Unreadable)?;
            return read(status, body);
        }
        let mut last = Value::Null;
        // Each chunk begins with its size in a line of its own, which is no object.
        for line in answer.lines() {
            let line = line.map_err(ClientError::Io)?;
            if line.starts_with('{') {
                last = serde_json::from_str(&line).map_err(|_| ClientError::Unreadable)?;
                tell(&last);
            }
        }
        Ok(last)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        body: &[u8],
    ) -> Result<UnixStream, ClientError> {
        let mut stream = self.connect()?;
        let file = secret_file(&self.socket);
        let secret = std::fs::read_to_string(&file)
            .map_err(|source| ClientError::Secret { file, source })?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: perijove\r\nAuthorization: Bearer {secret}\r\n\
             Accept: {accept}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let request = [request.as_bytes(), body].concat();
        stream.write_all(&request).map_err(ClientError::Io)?;
        Ok(stream)
    }

    fn connect(&self) -> Result<UnixStream, ClientError> {
        let stream = UnixStream::connect(&self.socket).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::Away { socket: self.socket.clone() }
            }
            _ => ClientError::Io(error),
        })?;
        stream.set_read_timeout(Some(self.patience)).map_err(ClientError::Io)?;
        stream.set_write_timeout(Some(self.patience)).map_err(ClientError::Io)?;
        Ok(stream)
    }
}

/// Status and body of a whole answer.
fn split(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(end + 4);
    let head = std::str::from_utf8(head).ok()?.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let is_chunked = head.contains("\r\ntransfer-encoding: chunked");
    let body = if is_chunked { joined(body)? } else { body.to_vec() };
    Some((status, body))
}

/// The chunks of a body, joined.
fn joined(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let (size, after) = rest.split_at(end);
        let size =
            usize::from_str_radix(std::str::from_utf8(size).ok()?.split(';').next()?, 16).ok()?;
        let after = after.get(2..)?;
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}

fn read(status: u16, body: Vec<u8>) -> Result<Value, ClientError> {
    let value: Value = match body.trim_ascii() {
        [] => Value::Null,
        text => serde_json::from_slice(text).map_err(|_| ClientError::Unreadable)?,
    };
    if (200..300).contains(&status) {
        return Ok(value);
    }
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let what = text("error").unwrap_or_else(|| format!("the running perijove answered {status}"));
    Err(ClientError::Refused { status, what, hint: text("hint") })
}

/// A name as one segment of a path: all but letters, digits, `-`, `_` and `~` percent-encoded.
pub(crate) fn segment(name: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => char::from(byte).into(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::{joined, read, segment, split};

    #[test]
    fn answers_are_taken_apart() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(split(answer), Some((200, b"{}".to_vec())));
        let chunked = b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x\r\n}\r\n0\r\n\r\n";
        assert_eq!(split(chunked), Some((503, b"{}".to_vec())));
        assert_eq!(split(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(joined(b"5\r\nab"), None);
        assert_eq!(joined(b"zz\r\n"), None);
    }

    #[test]
    fn errors_keep_their_words() {
        let told = read(404, br#"{"error": "there is none", "hint": "look again"}"#.to_vec());
        assert_eq!(told.unwrap_err().to_string(), "there is none");
        assert!(read(200, b"not json".to_vec()).is_err());
        assert!(read(204, Vec::new()).unwrap().is_null());
    }

    #[test]
    fn names_become_segments() {
        let check = |name, expected: &str| assert_eq!(segment(name), expected);
        check("ada", "ada");
        check("a/b", "a%2Fb");
        check("../../evil", "%2E%2E%2F%2E%2E%2Fevil");
        check("ada@example.com", "ada%40example%2Ecom");
        check("秀樹", "%E7%A7%80%E6%A8%B9");
    }
}
