//! A websocket echo server for measurements: answers the handshake, then sends every frame back.
//!
//! `websocket_echo ADDRESS`. It believes its clients: unfragmented, masked frames only.

use std::{env::args, io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

fn main() -> io::Result<()> {
    let address: SocketAddr = args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| io::Error::other("usage: websocket_echo ADDRESS"))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(4096);
    let head_end = loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(buffer.get(..head_end).unwrap_or_default()).into_owned();
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    buffer.drain(..head_end);
    let mut out = Vec::new();
    loop {
        while let Some(used) = echo_frame(&mut buffer, &mut out) {
            buffer.drain(..used);
        }
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        if buffer.is_empty() && buffer.capacity() > 4096 {
            buffer.reserve(65536);
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// Unmasks the first whole frame of `buffer` into `out`; gives the bytes it took.
fn echo_frame(buffer: &mut [u8], out: &mut Vec<u8>) -> Option<usize> {
    let first = *buffer.first()?;
    let (length, head) = match *buffer.get(1)? & 127 {
        126 => (usize::from(u16::from_be_bytes([*buffer.get(2)?, *buffer.get(3)?])), 4),
        127 => (u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?).try_into().ok()?, 10),
        short => (usize::from(short), 2),
    };
    let mask: [u8; 4] = buffer.get(head..head + 4)?.try_into().ok()?;
    let payload = buffer.get(head + 4..head + 4 + length)?;
    out.extend([first, *buffer.get(1)? & 127]);
    out.extend_from_slice(buffer.get(2..head)?);
    if mask == [0; 4] {
        out.extend_from_slice(payload);
    } else {
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
    Some(head + 4 + length)
}
