//! A first request to a worker (decision 0001), made by ourselves: is the site well?

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

const REQUEST: u8 = 2;
const END: u8 = 1;
const RESPONSE: u8 = 17;
const RESET: u8 = 21;
/// The longest payload of a frame.
const LONGEST: u32 = 262_144;
/// The only request on its connection.
const ID: [u8; 4] = [1, 0, 0, 0];

/// Asks for a path on a connection that was greeted; any answer but 2xx is an error that says so.
pub(super) async fn ask(stream: &mut UnixStream, path: &str) -> io::Result<()> {
    stream.write_all(&request(path)).await?;
    loop {
        let mut header = [0; 12];
        stream.read_exact(&mut header).await?;
        let [a, b, c, d, kind, ..] = header;
        let length = u32::from_le_bytes([a, b, c, d]);
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        match (kind, payload.as_slice()) {
            (RESPONSE, [low, high, ..]) => return judge(path, u16::from_le_bytes([*low, *high])),
            (RESET, reason) => {
                let reason = String::from_utf8_lossy(reason);
                return Err(io::Error::other(format!("{path} was not answered: {reason}")));
            }
            _ => {}
        }
    }
}

fn judge(path: &str, status: u16) -> io::Result<()> {
    if (200..300).contains(&status) {
        Ok(())
    } else {
        Err(io::Error::other(format!("{path} answered {status}")))
    }
}

fn request(path: &str) -> Vec<u8> {
    // HTTP/1.1, http, no body and its length; the port.
    let mut payload = vec![1, 0, 0, 0];
    payload.extend(0u64.to_le_bytes());
    payload.extend(80u16.to_le_bytes());
    // Method, mount point, target, server, client, its port, request id.
    for text in ["GET", "", path, "localhost", "", "", "health"] {
        payload.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
        payload.extend(text.as_bytes());
    }
    let fields = [("host", "localhost"), ("user-agent", "perijove (health)")];
    payload.extend(2u16.to_le_bytes());
    for (name, value) in fields {
        payload.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        payload.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        payload.extend(name.as_bytes());
        payload.extend(value.as_bytes());
    }
    let mut frame = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    frame.extend([REQUEST, END, 0, 0]);
    frame.extend(ID);
    frame.extend(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_as_decided() {
        let request = request("/health?a");
        let (header, payload) = request.split_at(12);
        assert_eq!(header, [109, 0, 0, 0, 2, 1, 0, 0, 1, 0, 0, 0]);
        let expected =
            b"\x01\0\0\0\0\0\0\0\0\0\0\0\x50\0\x03\0GET\0\0\x09\0/health?a\x09\0localhost\
            \0\0\0\0\x06\0health\x02\0\x04\0\x09\0\0\0hostlocalhost\
            \x0a\0\x11\0\0\0user-agentperijove (health)";
        assert_eq!(payload, expected);
    }
}
