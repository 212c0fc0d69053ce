//! Bodies that are received as a whole before they are passed on: in memory while they are small, in a
//! file that has no name from there on.
//!
//! An upstream that works on few requests at once must not be held by clients that send slowly.

use std::{
    collections::VecDeque,
    fs::File,
    future::poll_fn,
    io::{self, Write},
    path::Path,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};

#[cfg(target_os = "linux")]
use crate::linux::unnamed_file;
#[cfg(not(target_os = "linux"))]
use crate::portable::unnamed_file;
use crate::{Body, BodyError, FileBody, Source, error::Fault};

/// Bytes of a body that are kept in memory.
const MEMORY: usize = 256 << 10;
/// Smaller pieces are copied together: each may hold more memory than it has bytes.
const SMALL: usize = 16 << 10;

/// Which bodies are received as a whole, and where.
#[derive(Clone, Debug)]
pub struct Spooling {
    /// Bytes; longer bodies are passed on as they come.
    pub most: u64,
    /// Where the files are that hold what memory should not.
    pub folder: Arc<Path>,
}

impl Spooling {
    /// Whether a body is to be received as a whole.
    pub(crate) fn is_for(&self, body: &Body) -> bool {
        matches!(body, Body::Stream(_)) && body.length().is_none_or(|length| length <= self.most)
    }

    /// Receives a body as a whole. One of unknown length that turns out to be too long for it goes on
    /// as it comes behind what was kept of it.
    pub(crate) async fn receive(&self, body: Body) -> Result<Body, Fault> {
        let Body::Stream(mut source) = body else { return Ok(body) };
        let mut kept = Kept::default();
        let mut file: Option<Spooled> = None;
        let mut length = 0;
        while let Some(piece) = poll_fn(|context| source.poll_chunk(context)).await {
            let piece = piece?;
            length += piece.len() as u64;
            kept.push(piece);
            if length > self.most {
                let parts = Parts { file, kept, rest: Some(source), offset: 0 };
                return Ok(Body::Stream(Box::new(parts)));
            }
            if kept.length > MEMORY {
                let file = match &mut file {
                    Some(file) => file,
                    None => file.insert(self.create()?),
                };
                file.take(&mut kept).map_err(no_room)?;
            }
        }
        let Some(mut file) = file else { return Ok(kept.into_body()) };
        file.take(&mut kept).map_err(no_room)?;
        Ok(Body::File(FileBody { file: Arc::new(file.file), offset: 0, length: file.length }))
    }

    fn create(&self) -> Result<Spooled, Fault> {
        let file = unnamed_file(&self.folder).map_err(no_room)?;
        Ok(Spooled { file, length: 0 })
    }
}

fn no_room(error: io::Error) -> Fault {
    Fault::ours(503, "the body of a request could not be kept in a file").because(error)
}

/// A file that holds the beginning of a body.
struct Spooled {
    file: File,
    length: u64,
}

impl Spooled {
    /// Takes what is kept in memory.
    fn take(&mut self, kept: &mut Kept) -> io::Result<()> {
        self.length += kept.length as u64;
        while let Some(piece) = kept.pop() {
            self.file.write_all(&piece)?;
        }
        Ok(())
    }
}

/// Pieces of a body in memory.
#[derive(Default)]
struct Kept {
    pieces: VecDeque<Bytes>,
    /// Behind the pieces: small ones, copied together.
    last: BytesMut,
    length: usize,
}

impl Kept {
    fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if piece.len() < SMALL {
            return self.last.extend_from_slice(&piece);
        }
        if !self.last.is_empty() {
            self.pieces.push_back(self.last.split().freeze());
        }
        self.pieces.push_back(piece);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let next = self.pieces.pop_front();
        let next = next.or_else(|| (!self.last.is_empty()).then(|| self.last.split().freeze()))?;
        self.length -= next.len();
        Some(next)
    }

    fn into_body(mut self) -> Body {
        if self.length == 0 {
            return Body::Empty;
        }
        if self.pieces.is_empty() {
            return Body::Full(self.last.freeze());
        }
        match (self.pieces.len(), self.last.is_empty()) {
            (1, true) => self.pop().map_or(Body::Empty, Body::Full),
            _ => Body::Stream(Box::new(Parts { file: None, kept: self, rest: None, offset: 0 })),
        }
    }
}

/// What was kept of a body, in its order, and what follows it.
struct Parts {
    file: Option<Spooled>,
    /// Of the file, what was passed on.
    offset: u64,
    kept: Kept,
    rest: Option<Box<dyn Source>>,
}

impl Source for Parts {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(Spooled { file, length }) = &self.file
            && self.offset < *length
        {
            let piece = crate::body::read_piece(file, self.offset, *length - self.offset);
            self.offset += piece.as_ref().map_or(0, Bytes::len) as u64;
            return Poll::Ready(Some(piece));
        }
        if let Some(piece) = self.kept.pop() {
            return Poll::Ready(Some(Ok(piece)));
        }
        match &mut self.rest {
            Some(rest) => rest.poll_chunk(context),
            None => Poll::Ready(None),
        }
    }

    fn length(&self) -> Option<u64> {
        let file = self.file.as_ref().map_or(0, |file| file.length - self.offset);
        let rest = self.rest.as_ref().map_or(Some(0), |rest| rest.length())?;
        Some(file + self.kept.length as u64 + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pieces(VecDeque<Bytes>);

    impl Source for Pieces {
        fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
            Poll::Ready(
                self.0
                    .pop_front()
                    .map(|piece| if piece.is_empty() { Err(BodyError::CutOff) } else { Ok(piece) }),
            )
        }
    }

    fn body(sizes: &[usize]) -> (Body, Vec<u8>) {
        let pieces: VecDeque<_> = sizes
            .iter()
            .zip((1..200).cycle())
            .map(|(size, at)| Bytes::from(vec![at; *size]))
            .collect();
        let whole = pieces.iter().flatten().copied().collect();
        (Body::Stream(Box::new(Pieces(pieces))), whole)
    }

    async fn check(most: u64, sizes: &[usize], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let spooling = Spooling { most, folder: folder.path().into() };
        let (sent, whole) = body(sizes);
        let received = spooling.receive(sent).await.unwrap();
        let length = received.length();
        let kind = match &received {
            Body::Empty => "nothing",
            Body::Full(_) => "one piece",
            Body::File(_) => "file",
            _ if length.is_some() => "pieces",
            _ => "stream",
        };
        assert_eq!(kind, expected, "{most} {sizes:?}");
        assert!(length.is_none_or(|length| length == whole.len() as u64));
        assert!(crate::body::whole(received, u64::MAX).await.unwrap() == whole, "{sizes:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn bodies_are_received_as_a_whole() {
        check(1 << 30, &[], "nothing").await;
        check(1 << 30, &[5], "one piece").await;
        check(1 << 30, &[5, 6, 7], "one piece").await;
        check(1 << 30, &[100_000], "one piece").await;
        check(1 << 30, &[5, 100_000, 6, 7], "pieces").await;
        check(1 << 30, &[MEMORY], "one piece").await;
        check(1 << 30, &[MEMORY, 1], "file").await;
        check(1 << 30, &[1000; 2000], "file").await;
        check(1000, &[1000, 1], "stream").await;
        check(300_000, &[200_000; 5], "stream").await;
        check(3 * MEMORY as u64, &[200_000; 9], "stream").await;
    }

    #[tokio::test]
    async fn a_body_that_breaks_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let spooling = Spooling { most: 1 << 30, folder: folder.path().into() };
        let (sent, _) = body(&[5, 0]);
        assert_eq!(spooling.receive(sent).await.unwrap_err().status, 400);
        let spooling = Spooling { folder: folder.path().join("gone").into(), ..spooling };
        let (sent, _) = body(&[MEMORY + 1]);
        assert_eq!(spooling.receive(sent).await.unwrap_err().status, 503);
    }
}
