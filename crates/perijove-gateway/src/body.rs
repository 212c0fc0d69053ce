//! The body of a request or an answer.

use std::{
    fmt,
    fs::File,
    future::poll_fn,
    io,
    os::unix::fs::FileExt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::{FieldBlock, proxy::Tunnel};

/// A file is read this much at once where the kernel cannot send it.
const PIECE: usize = 64 << 10;

/// Something that yields a body chunk by chunk, without ever holding the whole of it.
pub trait Source: Send {
    /// The next chunk, never empty; `None` at the end. After an error it is not polled again.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>>;

    /// How many bytes are still to come, where that is known.
    fn length(&self) -> Option<u64> {
        None
    }

    /// Fields that came behind the body, to be asked for once it has ended. There are none unless
    /// the client wants them (RFC 9110 6.5).
    fn trailers(&mut self) -> Option<FieldBlock> {
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

/// The same body, refused as soon as it is known to be longer than `limit` bytes.
pub(crate) fn limited(body: Body, limit: u64) -> Result<Body, BodyError> {
    match (body.length(), body) {
        (Some(length), _) if length > limit => Err(BodyError::TooLong { limit }),
        (None, Body::Stream(source)) => {
            Ok(Body::Stream(Box::new(Limited { source, limit, left: limit })))
        }
        (_, body) => Ok(body),
    }
}

/// A body of unknown length, up to a limit.
struct Limited {
    source: Box<dyn Source>,
    limit: u64,
    left: u64,
}

impl Source for Limited {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let polled = self.source.poll_chunk(context);
        if let Poll::Ready(Some(Ok(chunk))) = &polled {
            let Some(left) = self.left.checked_sub(chunk.len() as u64) else {
                return Poll::Ready(Some(Err(BodyError::TooLong { limit: self.limit })));
            };
            self.left = left;
        }
        polled
    }
}

/// A body as a whole, of at most `limit` bytes.
pub(crate) async fn whole(body: Body, limit: u64) -> Result<Bytes, BodyError> {
    let mut source = match limited(body, limit)? {
        Body::Empty | Body::Tunnel(_) => return Ok(Bytes::new()),
        Body::Full(bytes) => return Ok(bytes),
        Body::File(file) => Box::new(FileSource(file)),
        Body::Stream(source) => source,
    };
    let mut whole = BytesMut::new();
    while let Some(chunk) = poll_fn(|context| source.poll_chunk(context)).await {
        whole.extend_from_slice(&chunk?);
    }
    Ok(whole.freeze())
}

/// A piece of a file, read piece by piece.
#[derive(Debug)]
pub(crate) struct FileSource(pub(crate) FileBody);

impl Source for FileSource {
    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let FileBody { file, offset, length } = &mut self.0;
        if *length == 0 {
            return Poll::Ready(None);
        }
        let piece = read_piece(file, *offset, *length);
        let count = piece.as_ref().map_or(0, Bytes::len) as u64;
        *offset += count;
        *length -= count;
        Poll::Ready(Some(piece))
    }

    fn length(&self) -> Option<u64> {
        Some(self.0.length)
    }
}

/// Some of the `left` bytes of a file from `offset`.
pub(crate) fn read_piece(file: &File, offset: u64, left: u64) -> Result<Bytes, BodyError> {
    let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
    match file.read_at(&mut piece, offset) {
        Ok(0) => Err(BodyError::CutOff),
        Ok(count) => {
            piece.truncate(count);
            Ok(piece.into())
        }
        Err(error) => Err(BodyError::Io(error)),
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
