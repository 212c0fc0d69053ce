//! The greeting that tells whether a worker is ready (decision 0001): `HELLO`, and `READY` once
//! the application is loaded.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::UnixStream,
};

use crate::system;

const VERSION: u8 = 1;
const HELLO: u8 = 1;
const READY: u8 = 16;
const HEADER: usize = 12;
/// The version, and the number of threads.
const READY_PAYLOAD: usize = 3;
/// Bytes of the memory file that a worker notes its claims in.
const CLAIMS: u64 = 4096;

/// Says `HELLO` and waits for `READY`, for as long as the worker takes.
pub(super) async fn greet(socket: &Path, secret: &str) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).await?;
    let claims = system::memory_file(CLAIMS)?;
    let hello = hello(secret);
    let sent = loop {
        stream.writable().await?;
        match stream.try_io(Interest::WRITABLE, || send(&stream, &hello, &claims)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => break sent?,
        }
    };
    stream.write_all(hello.get(sent..).unwrap_or_default()).await?;
    // Read to its last byte: closing a socket with bytes unread looks like an accident to the peer.
    let mut answer = [0; HEADER + READY_PAYLOAD];
    stream.read_exact(&mut answer).await?;
    if is_ready(&answer) {
        Ok(stream)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the worker did not answer with READY"))
    }
}

fn hello(secret: &str) -> Vec<u8> {
    let length = u32::try_from(1 + secret.len()).unwrap_or(u32::MAX);
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend([HELLO, 0, 0, 0, 0, 0, 0, 0, VERSION]);
    frame.extend(secret.as_bytes());
    frame
}

fn is_ready(answer: &[u8; HEADER + READY_PAYLOAD]) -> bool {
    matches!(answer, [3, 0, 0, 0, READY, _, _, _, _, _, _, _, VERSION, _, _])
}

/// The descriptor travels with the first byte.
fn send(stream: &UnixStream, bytes: &[u8], descriptor: &OwnedFd) -> io::Result<usize> {
    let descriptors = [descriptor.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for the descriptor"));
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_is_as_decided() {
        assert_eq!(hello("ab"), b"\x03\0\0\0\x01\0\0\0\0\0\0\0\x01ab");
        assert!(is_ready(b"\x03\0\0\0\x10\0\0\0\0\0\0\0\x01\x04\0"));
        assert!(!is_ready(b"\x03\0\0\0\x10\0\0\0\0\0\0\0\x02\x04\0"));
        assert!(!is_ready(b"\x03\0\0\0\x11\0\0\0\0\0\0\0\x01\x04\0"));
    }
}
