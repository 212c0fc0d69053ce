//! A websocket's bytes on a socket that does not block: messages in, messages out (RFC 6455). Knows
//! no Python.

use std::{
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::Shutdown;
use tungstenite::{
    Bytes, Error, Message, Utf8Bytes, WebSocket,
    error::{CapacityError, ProtocolError},
    protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
};

/// Nobody said why the connection was closed.
const NO_STATUS: u16 = 1005;
/// The connection ended without a close.
const ABNORMAL: u16 = 1006;
/// Bytes that are read at once.
const BLOCK: usize = 16 << 10;
/// While so much waits to be sent, the application waits, too.
const BACKLOG: usize = 64 << 10;

/// A websocket after its handshake.
#[derive(Debug)]
pub(super) struct Codec {
    socket: WebSocket<Wire>,
    /// We closed it: what still comes is for nobody.
    is_closing: bool,
    /// What came was no websocket's: the rest is read and dropped, so that the peer gets our close.
    is_broken: bool,
}

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// Nothing more will come.
    Closed {
        code: u16,
        reason: String,
    },
}

/// What a look for messages found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Came(Came),
    /// Nothing more has come yet.
    Nothing,
    /// The connection is over, and can be dropped.
    Over,
}

impl Codec {
    /// Takes over a socket that carries frames from now on, messages of at most `limit` bytes.
    pub(super) fn new(socket: OwnedFd, limit: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(BLOCK)
            .write_buffer_size(0)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let wire = Wire { socket, unsent: 0 };
        let socket = WebSocket::from_raw_socket(wire, Role::Server, Some(config));
        Self { socket, is_closing: false, is_broken: false }
    }

    /// The next message. Pings are answered on the way.
    pub(super) fn next(&mut self) -> Found {
        if self.is_broken {
            return self.discard();
        }
        loop {
            let message = match self.socket.read() {
                Ok(message) => message,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Found::Nothing;
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Found::Over,
                Err(error) => return self.fail(&error),
            };
            let came = match message {
                Message::Text(text) => Came::Text(text),
                Message::Binary(bytes) => Came::Binary(bytes),
                Message::Close(frame) => closed(frame),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            if !self.is_closing || matches!(came, Came::Closed { .. }) {
                return Found::Came(came);
            }
        }
    }

    /// Ends the connection because of what came: the peer is told why.
    fn fail(&mut self, error: &Error) -> Found {
        if self.is_closing {
            return Found::Over;
        }
        let (code, reason) = match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                (1009, "the message is too long")
            }
            Error::Utf8(_) => (1007, "the text is not UTF-8"),
            Error::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete,
            )
            | Error::Io(_) => {
                self.is_closing = true;
                return Found::Came(Came::Closed { code: ABNORMAL, reason: String::new() });
            }
            _ => (1002, "this is not a websocket's frame"),
        };
        self.close(code, reason);
        self.is_broken = true;
        // Without more from us, the other side ends too.
        let _is_shut = rustix::net::shutdown(&self.socket.get_ref().socket, Shutdown::Write);
        Found::Came(Came::Closed { code, reason: reason.to_owned() })
    }

    fn discard(&mut self) -> Found {
        let mut bytes = [0; BLOCK];
        loop {
            match self.socket.get_mut().read(&mut bytes) {
                Ok(0) => return Found::Over,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Found::Nothing,
                Err(_) => return Found::Over,
            }
        }
    }

    /// Sends a text, or puts it in line.
    ///
    /// # Errors
    /// When the connection is closed.
    pub(super) fn send_text(&mut self, text: &str) -> io::Result<()> {
        self.write(Message::Text(text.into()))
    }

    /// Sends bytes, or puts them in line.
    ///
    /// # Errors
    /// When the connection is closed.
    pub(super) fn send_binary(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(Message::Binary(bytes.to_vec().into()))
    }

    fn write(&mut self, message: Message) -> io::Result<()> {
        let length = message.len();
        match self.socket.write(message) {
            Ok(()) => Ok(()),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.socket.get_mut().unsent += length;
                Ok(())
            }
            Err(Error::Io(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Sends a close; nothing can be sent after it.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        self.is_closing = true;
        let code = CloseCode::from(code);
        // What does not go out now goes with the next flush; a peer that is gone needs no close.
        drop(self.socket.close(Some(CloseFrame { code, reason: reason.into() })));
    }

    /// Sends what is in line. True when the peer must read first.
    pub(super) fn flush(&mut self) -> bool {
        match self.socket.flush() {
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => true,
            _ => {
                self.socket.get_mut().unsent = 0;
                false
            }
        }
    }

    /// True while something could not be sent.
    pub(super) fn is_blocked(&self) -> bool {
        self.socket.get_ref().unsent > 0
    }

    /// True while so much could not be sent that the application is to wait.
    pub(super) fn is_full(&self) -> bool {
        self.socket.get_ref().unsent > BACKLOG
    }
}

impl AsFd for Codec {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().socket.as_fd()
    }
}

fn closed(frame: Option<CloseFrame>) -> Came {
    match frame {
        Some(frame) => {
            Came::Closed { code: frame.code.into(), reason: frame.reason.as_str().to_owned() }
        }
        None => Came::Closed { code: NO_STATUS, reason: String::new() },
    }
}

/// The socket.
#[derive(Debug)]
struct Wire {
    socket: OwnedFd,
    /// About how many bytes the system did not take so far.
    unsent: usize,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(&self.socket, &mut *buffer))?)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::write(&self.socket, bytes))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
