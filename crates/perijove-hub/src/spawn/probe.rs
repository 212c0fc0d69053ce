//! Does a notebook server answer? One request over its socket, as the gateway would send it.

use std::path::Path;

use thiserror::Error;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::record::Token;

/// Bytes of an answer that are looked at.
const LOOK: usize = 256;

/// Why a server is not ready.
#[derive(Debug, Error)]
pub(crate) enum ProbeError {
    #[error("its socket could not be reached")]
    Io(#[from] std::io::Error),
    #[error("it answered {0:?}")]
    Answer(String),
}

/// Asks for the server's version. The socket listens before the server runs, so that the request
/// waits in line until somebody takes it: no asking again and again.
pub(crate) async fn probe(socket: &Path, address: &str, token: &Token) -> Result<(), ProbeError> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!(
        "GET {address}api HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {}\r\n\
         Connection: close\r\n\r\n",
        token.reveal()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(LOOK);
    while answer.len() < LOOK && !answer.contains(&b'\n') {
        let mut piece = [0; LOOK];
        let length = stream.read(&mut piece).await?;
        if length == 0 {
            break;
        }
        answer.extend_from_slice(piece.get(..length).unwrap_or_default());
    }
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    match line.get(..12) {
        Some(b"HTTP/1.1 200" | b"HTTP/1.0 200") => Ok(()),
        _ => Err(ProbeError::Answer(String::from_utf8_lossy(line).into_owned())),
    }
}
