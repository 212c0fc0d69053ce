//! Requests of our own to a notebook server, over its socket, as the gateway would send them.

use std::{path::Path, time::Duration};

use thiserror::Error;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use crate::record::Token;

/// Bytes of an answer that are looked at.
const LOOK: usize = 256;
/// The longest answer that is read whole.
const LONGEST: u64 = 1 << 20;
/// How long a server that runs may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a server is not ready, or gives no answer.
#[derive(Debug, Error)]
pub(crate) enum ProbeError {
    #[error("its socket could not be reached")]
    Io(#[from] std::io::Error),
    #[error("it answered {0:?}")]
    Answer(String),
    #[error("it gave no answer within {} s", PATIENCE.as_secs())]
    Late,
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Get,
    /// Without a body.
    Post,
}

/// Asks for the server's version. The socket listens before the server runs, so that the request
/// waits in line until somebody takes it: no asking again and again.
pub(crate) async fn probe(socket: &Path, address: &str, token: &Token) -> Result<(), ProbeError> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(request(Way::Get, &format!("{address}api"), token).as_bytes()).await?;
    let mut answer = Vec::with_capacity(LOOK);
    while answer.len() < LOOK && !answer.contains(&b'\n') {
        let mut piece = [0; LOOK];
        let length = stream.read(&mut piece).await?;
        if length == 0 {
            break;
        }
        answer.extend_from_slice(piece.get(..length).unwrap_or_default());
    }
    check_status(&answer)
}

/// Asks a server that runs, and reads the whole body of its answer.
pub(crate) async fn ask(
    socket: &Path,
    way: Way,
    path: &str,
    token: &Token,
) -> Result<Vec<u8>, ProbeError> {
    let talk = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(request(way, path, token).as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer).await?;
        Ok::<_, ProbeError>(answer)
    };
    let answer = timeout(PATIENCE, talk).await.map_err(|_| ProbeError::Late)??;
    check_status(&answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = end.and_then(|end| answer.get(end + 4..)).unwrap_or_default();
    Ok(body.to_vec())
}

fn request(way: Way, path: &str, token: &Token) -> String {
    let (method, length) = match way {
        Way::Get => ("GET", ""),
        Way::Post => ("POST", "Content-Length: 0\r\n"),
    };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {}\r\n{length}\
         Connection: close\r\n\r\n",
        token.reveal()
    )
}

fn check_status(answer: &[u8]) -> Result<(), ProbeError> {
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    match line.get(..12) {
        Some(b"HTTP/1.1 200" | b"HTTP/1.0 200") => Ok(()),
        _ => Err(ProbeError::Answer(String::from_utf8_lossy(line).into_owned())),
    }
}
