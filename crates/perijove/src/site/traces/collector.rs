//! One request to the collector: a connection of its own, since there is one in seconds.

use std::{fmt::Write as _, io};

use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::config::plan::TracesPlan;

/// Bytes of an answer that are read: its status stands at the beginning.
const ANSWER: u64 = 4 << 10;

/// Why the collector did not take a batch.
#[derive(Debug, Error)]
pub(super) enum SendError {
    #[error("the collector cannot be reached ({0})")]
    Io(#[from] io::Error),
    #[error("the collector did not answer in time")]
    Late,
    #[error("the collector answered {0}")]
    Refused(u16),
    #[error("the collector's answer is not HTTP")]
    Unreadable,
}

/// Sends a batch, within the time that the plan allows.
pub(super) async fn post(plan: &TracesPlan, body: &str) -> Result<(), SendError> {
    timeout(plan.timeout, exchange(plan, body)).await.unwrap_or(Err(SendError::Late))
}

async fn exchange(plan: &TracesPlan, body: &str) -> Result<(), SendError> {
    let mut stream = TcpStream::connect(&plan.authority).await?;
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         User-Agent: perijove/{}\r\nContent-Length: {}\r\nConnection: close\r\n",
        plan.path,
        plan.authority,
        env!("CARGO_PKG_VERSION"),
        body.len()
    );
    for (name, value) in &plan.headers {
        // Writing to a string does not fail.
        let _: std::fmt::Result = write!(head, "{name}: {}\r\n", value.reveal());
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer).await?;
    match status(&answer) {
        Some(200..=299) => Ok(()),
        Some(other) => Err(SendError::Refused(other)),
        None => Err(SendError::Unreadable),
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer.get(..12)?).ok()?;
    line.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn the_status_is_read() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 503 x"), Some(503));
        assert_eq!(status(b"HTTP/1.1 "), None);
        assert_eq!(status(b"nonsense, and more of it"), None);
    }
}
