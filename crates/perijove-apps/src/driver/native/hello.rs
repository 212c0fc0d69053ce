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
/// The longest payload of `READY` that is read.
const LONGEST: u32 = 255;
/// The application is ASGI.
const IS_ASGI: u8 = 1;
/// Bytes of the memory file that a worker notes its claims in.
const CLAIMS: u64 = 4096;

/// Says `HELLO` and waits for `READY`, for as long as the worker takes.
pub(super) async fn greet(socket: &Path, secret: &str) -> io::Result<(UnixStream, Greeting)> {
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
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await?;
    let [a, b, c, d, kind, ..] = header;
    let length = u32::from_le_bytes([a, b, c, d]);
    let mut payload = vec![0; length.min(LONGEST) as usize];
    stream.read_exact(&mut payload).await?;
    let greeting = Greeting::read(&payload).filter(|_| kind == READY);
    greeting.map(|greeting| (stream, greeting)).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the worker did not answer with READY")
    })
}

/// What a worker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    /// How many requests it works on at once.
    pub(super) at_once: usize,
    pub(super) is_asgi: bool,
}

impl Greeting {
    /// Reads the payload of `READY`: the version, how many at once, and perhaps flags.
    fn read(payload: &[u8]) -> Option<Self> {
        let [VERSION, low, high, flags @ ..] = payload else { return None };
        let is_asgi = flags.first().is_some_and(|flags| flags & IS_ASGI != 0);
        Some(Self { at_once: usize::from(u16::from_le_bytes([*low, *high])), is_asgi })
    }
}

fn hello(secret: &str) -> Vec<u8> {
    let length = u32::try_from(1 + secret.len()).unwrap_or(u32::MAX);
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend([HELLO, 0, 0, 0, 0, 0, 0, 0, VERSION]);
    frame.extend(secret.as_bytes());
    frame
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
        let check = |payload: &[u8], expected: Option<(usize, bool)>| {
            let read = Greeting::read(payload).map(|read| (read.at_once, read.is_asgi));
            assert_eq!(read, expected, "{payload:?}");
        };
        check(b"\x01\x04\0", Some((4, false)));
        check(b"\x01\xe8\x03\x01", Some((1000, true)));
        check(b"\x01\x04\0\x02later", Some((4, false)));
        check(b"\x02\x04\0", None);
        check(b"\x01\x04", None);
    }
}
