//! Several pieces of a file in one answer: `multipart/byteranges` (RFC 9110 14.6).

use std::{
    collections::VecDeque,
    fs::File,
    hash::{BuildHasher as _, RandomState},
    os::unix::fs::FileExt as _,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{entry::Content, range::Piece};
use crate::{Body, BodyError, FileBody, Source};

/// Bytes that are read from the disk at once.
const BLOCK: u64 = 64 << 10;

/// The value of Content-Type and the body.
pub(super) fn answer(
    content: Content,
    pieces: &[Piece],
    media_type: &str,
    length: u64,
) -> (String, Body) {
    let boundary = boundary();
    let mut parts = VecDeque::new();
    let mut total = 0;
    let mut push = |part: Part| {
        total += part.length();
        parts.push_back(part);
    };
    for (at, piece) in pieces.iter().enumerate() {
        let lead = if at == 0 { "" } else { "\r\n" };
        let range = content_range(*piece, length);
        let head = format!(
            "{lead}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {range}\r\n\r\n"
        );
        push(Part::Bytes(head.into()));
        push(part(&content, *piece));
    }
    push(Part::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    let body = Body::Stream(Box::new(Parts { parts, left: total }));
    (format!("multipart/byteranges; boundary={boundary}"), body)
}

/// The value of Content-Range.
pub(super) fn content_range(piece: Piece, length: u64) -> String {
    format!("bytes {}-{}/{length}", piece.offset, piece.offset + piece.length - 1)
}

/// One piece of a content, as a body of its own.
pub(super) fn single(content: Content, piece: Piece) -> Body {
    match part(&content, piece) {
        Part::Bytes(bytes) => Body::Full(bytes),
        Part::File { file, offset, length } => Body::File(FileBody { file, offset, length }),
    }
}

fn part(content: &Content, piece: Piece) -> Part {
    match content {
        Content::Memory(bytes) => {
            let start = usize::try_from(piece.offset).unwrap_or(usize::MAX).min(bytes.len());
            let length = usize::try_from(piece.length).unwrap_or(usize::MAX);
            let end = start.saturating_add(length).min(bytes.len());
            Part::Bytes(bytes.slice(start..end))
        }
        Content::Disk(body) => Part::File {
            file: body.file.clone(),
            offset: body.offset + piece.offset,
            length: piece.length,
        },
        // Nobody names pieces of what is not there.
        Content::Coming(_) => Part::Bytes(Bytes::new()),
    }
}

/// What stands in no file by chance: keyed anew in every process, and different for every answer.
fn boundary() -> String {
    let key = RandomState::new();
    format!("{:016x}{:016x}", key.hash_one(1), key.hash_one(2))
}

enum Part {
    Bytes(Bytes),
    File { file: Arc<File>, offset: u64, length: u64 },
}

impl Part {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}

struct Parts {
    parts: VecDeque<Part>,
    left: u64,
}

impl Source for Parts {
    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let chunk = match self.parts.pop_front() {
            None => return Poll::Ready(None),
            Some(Part::Bytes(bytes)) => bytes,
            Some(Part::File { file, offset, length }) => {
                let block = usize::try_from(length.min(BLOCK)).unwrap_or_default();
                let mut bytes = vec![0; block];
                let read = match file.read_at(&mut bytes, offset) {
                    Ok(0) => return Poll::Ready(Some(Err(BodyError::CutOff))),
                    Ok(read) => read,
                    Err(error) => return Poll::Ready(Some(Err(BodyError::Io(error)))),
                };
                bytes.truncate(read);
                let (offset, length) = (offset + read as u64, length - read as u64);
                if length > 0 {
                    self.parts.push_front(Part::File { file, offset, length });
                }
                bytes.into()
            }
        };
        self.left -= chunk.len() as u64;
        Poll::Ready(Some(Ok(chunk)))
    }

    fn length(&self) -> Option<u64> {
        Some(self.left)
    }
}
