//! The body of a request or an answer.

use std::{
    fmt,
    fs::File,
    io,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use thiserror::Error;

use crate::proxy::Tunnel;

/// Something that yields a body chunk by chunk, without ever holding the whole of it.
pub trait Source: Send {
    /// The next chunk, never empty; `None` at the end. After an error it is not polled again.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>>;

    /// How many bytes are still to come, where that is known.
    fn length(&self) -> Option<u64> {
        None
    }
}

/// The body of a request or an answer.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    Full(Bytes),
    /// A piece of a file, sent by the kernel where the connection allows.
    File(FileBody),
    /// Anything that streams.
    Stream(Box<dyn Source>),
    /// Of an answer with status 101: from here on the connection is the upstream's.
    Tunnel(Box<Tunnel>),
}

/// `length` bytes of a file from `offset`.
#[derive(Clone, Debug)]
pub struct FileBody {
    pub file: Arc<File>,
    pub offset: u64,
    pub length: u64,
}

impl Body {
    /// The number of bytes, where it is known beforehand.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Empty | Self::Tunnel(_) => Some(0),
            Self::Full(bytes) => Some(bytes.len() as u64),
            Self::File(file) => Some(file.length),
            Self::Stream(source) => source.length(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::File(_) => "File",
            Self::Stream(_) => "Stream",
            Self::Tunnel(_) => "Tunnel",
        };
        f.debug_struct(kind).field("length", &self.length()).finish()
    }
}

/// Why a body ended before its end.
#[derive(Debug, Error)]
pub enum BodyError {
    #[error("the body is longer than the {limit} bytes that are allowed here")]
    TooLong { limit: u64 },
    #[error("the chunked body is malformed: {what}")]
    Malformed { what: &'static str },
    #[error("the body was cut off")]
    CutOff,
    #[error("the body did not go on within its time limit")]
    Late,
    #[error("the body could not be read")]
    Io(#[source] io::Error),
}
