//! Messages between two processes, with descriptors.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{
    cmsg_space,
    io::{FdFlags, fcntl_setfd},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{io::Interest, net::UnixStream};

/// Descriptors that the kernel lets travel with one message (`SCM_MAX_FD`).
const DESCRIPTORS: usize = 253;
/// Bytes of a message. No site has so many listeners.
const LONGEST: usize = 1 << 20;

/// One end of a socket pair. A message is one line of JSON; descriptors come with its first byte.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    read: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Channel {
    /// To be called within a runtime.
    pub(super) fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        Ok(Self { stream, read: Vec::new(), descriptors: VecDeque::new() })
    }

    pub(super) async fn send(
        &mut self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        if descriptors.len() > DESCRIPTORS {
            let what = format!("more than {DESCRIPTORS} descriptors cannot be handed over");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let (mut rest, mut descriptors) = (line.as_slice(), descriptors);
        while !rest.is_empty() {
            let write = || send_with(&self.stream, rest, descriptors);
            let sent = self.stream.async_io(Interest::WRITABLE, write).await?;
            rest = rest.get(sent..).unwrap_or_default();
            descriptors = &[];
        }
        Ok(())
    }

    /// The next message; none when the other side is gone.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.read.len() > LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without end"));
            }
            let mut piece = vec![0; 16 << 10];
            let mut come = Vec::new();
            let stream = &self.stream;
            let read = || receive_with(stream, &mut piece, &mut come);
            let count = match self.stream.async_io(Interest::READABLE, read).await {
                Ok(count) => count,
                // The other side has ended with something unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
                Err(error) => return Err(error),
            };
            self.descriptors.extend(come);
            if count == 0 {
                return Ok(None);
            }
            self.read.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
    }

    /// The next of the descriptors that came.
    pub(super) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }
}

fn send_with(
    stream: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("the descriptors take too much room"));
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::empty())?)
}

fn receive_with(
    stream: &UnixStream,
    bytes: &mut [u8],
    come: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = vec![MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(bytes)];
    let received = recvmsg(stream, parts, &mut ancillary, RecvFlags::empty())?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            for descriptor in descriptors {
                fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
                come.push(descriptor);
            }
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors were lost"));
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Write},
        os::{fd::AsFd, unix::net::UnixStream},
    };

    use super::Channel;

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::new(one).unwrap(), Channel::new(other).unwrap())
    }

    #[tokio::test]
    async fn messages_and_descriptors_come_in_their_order() {
        let (mut one, mut other) = pair();
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<File> = ["a", "b", "c"]
            .iter()
            .map(|name| {
                let path = folder.path().join(name);
                let mut file =
                    File::options().read(true).write(true).create_new(true).open(path).unwrap();
                file.write_all(name.as_bytes()).unwrap();
                file
            })
            .collect();
        // Long enough not to come in one piece.
        let long = "x".repeat(100_000);
        let descriptors: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let sending = async {
            one.send(&long, &descriptors).await.unwrap();
            one.send(&7, &[]).await.unwrap();
            drop(one);
        };
        let receiving = async {
            assert_eq!(other.receive::<String>().await.unwrap(), Some(long.clone()));
            assert_eq!(other.receive::<u32>().await.unwrap(), Some(7));
            assert_eq!(other.receive::<u32>().await.unwrap(), None);
            for name in ["a", "b", "c"] {
                let mut file = File::from(other.descriptor().unwrap());
                std::io::Seek::rewind(&mut file).unwrap();
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                assert_eq!(text, name);
            }
            assert!(other.descriptor().is_none());
        };
        tokio::join!(sending, receiving);
    }

    #[tokio::test]
    async fn nonsense_is_an_error() {
        let (mut one, mut other) = pair();
        one.send(&"a text", &[]).await.unwrap();
        assert!(other.receive::<u32>().await.is_err());
    }
}
