//! The body of a request on its way to an upstream.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use crate::{Body, BodyError, Source, body::FileSource};

/// Yields a request's body once, and again as long as no more than its first piece was taken.
pub(super) struct Upload {
    /// Kept until a second piece is taken.
    first: Option<Bytes>,
    is_first_taken: bool,
    rest: Option<Box<dyn Source>>,
    length: Option<u64>,
    is_repeatable: bool,
    is_waiting: bool,
}

impl Upload {
    pub(super) fn new(body: Body) -> Self {
        let length = body.length();
        let (first, rest): (_, Option<Box<dyn Source>>) = match body {
            Body::Empty | Body::Tunnel(_) => (None, None),
            Body::Full(bytes) => ((!bytes.is_empty()).then_some(bytes), None),
            Body::File(file) => (None, Some(Box::new(FileSource(file)))),
            Body::Stream(source) => (None, Some(source)),
        };
        let is_repeatable = true;
        Self { first, is_first_taken: false, rest, length, is_repeatable, is_waiting: false }
    }

    /// How many bytes it is in all, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether some of it may not have arrived yet.
    pub(super) fn is_stream(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether the last look found that the client has not sent more yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Whether it can begin again.
    pub(super) fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// Begins again; only where it is repeatable.
    pub(super) fn rewind(&mut self) {
        self.is_first_taken = false;
    }

    /// Takes what has arrived, about `limit` bytes of it, to be sent at once. To be called before
    /// anything else was taken.
    pub(super) fn gather(
        &mut self,
        limit: usize,
        context: &mut Context<'_>,
    ) -> Result<(), BodyError> {
        let mut gathered = BytesMut::new();
        while gathered.len() < limit && self.first.as_ref().is_none_or(|f| f.len() < limit) {
            let Some(rest) = &mut self.rest else { break };
            let Poll::Ready(next) = rest.poll_chunk(context) else { break };
            let Some(piece) = next.transpose()? else {
                self.rest = None;
                break;
            };
            match self.first.take() {
                None if gathered.is_empty() => self.first = Some(piece),
                first => {
                    gathered.extend_from_slice(&first.unwrap_or_default());
                    gathered.extend_from_slice(&piece);
                }
            }
        }
        if !gathered.is_empty() {
            self.first = Some(gathered.freeze());
        }
        Ok(())
    }

    /// How many bytes were gathered.
    pub(super) fn gathered(&self) -> usize {
        self.first.as_ref().map_or(0, Bytes::len)
    }

    /// What was gathered; it is kept, to be taken again after [`Upload::rewind`].
    pub(super) fn take_first(&mut self) -> Bytes {
        self.is_first_taken = true;
        self.first.clone().unwrap_or_default()
    }

    /// The next piece; `None` at the end.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        if !self.is_first_taken
            && let Some(first) = &self.first
        {
            self.is_first_taken = true;
            return Poll::Ready(Some(Ok(first.clone())));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        self.is_waiting = true;
        let next = ready!(rest.poll_chunk(context));
        self.is_waiting = false;
        match &next {
            Some(Ok(piece)) if self.first.is_none() && self.is_repeatable => {
                self.first = Some(piece.clone());
                self.is_first_taken = true;
            }
            Some(_) => {
                self.first = None;
                self.is_repeatable = false;
            }
            None => self.rest = None,
        }
        Poll::Ready(next)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        task::{Context, Poll, Waker},
    };

    use bytes::Bytes;

    use super::Upload;
    use crate::{Body, BodyError, Source};

    struct Pieces(VecDeque<&'static str>);

    impl Source for Pieces {
        fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
            match self.0.pop_front() {
                Some("") => Poll::Pending,
                Some("!") => Poll::Ready(Some(Err(BodyError::CutOff))),
                piece => Poll::Ready(piece.map(|piece| Ok(piece.into()))),
            }
        }
    }

    fn stream(pieces: &[&'static str]) -> Upload {
        Upload::new(Body::Stream(Box::new(Pieces(pieces.iter().copied().collect()))))
    }

    fn next(upload: &mut Upload) -> String {
        match upload.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => "wait".to_owned(),
            Poll::Ready(None) => "end".to_owned(),
            Poll::Ready(Some(Err(error))) => error.to_string(),
            Poll::Ready(Some(Ok(piece))) => String::from_utf8(piece.to_vec()).unwrap(),
        }
    }

    #[test]
    fn a_whole_body_can_be_sent_again() {
        let mut upload = Upload::new(Body::Full("abc".into()));
        for _ in 0..3 {
            assert_eq!([next(&mut upload), next(&mut upload)], ["abc", "end"]);
            assert!(upload.is_repeatable());
            upload.rewind();
        }
    }

    #[test]
    fn a_stream_can_begin_again_until_its_second_piece() {
        let mut upload = stream(&["", "a", "b"]);
        assert_eq!(next(&mut upload), "wait");
        assert!(upload.is_waiting());
        assert_eq!(next(&mut upload), "a");
        assert!(upload.is_repeatable() && !upload.is_waiting());
        upload.rewind();
        assert_eq!([next(&mut upload), next(&mut upload)], ["a", "b"]);
        assert!(!upload.is_repeatable());
        assert_eq!(next(&mut upload), "end");
    }

    #[test]
    fn a_body_of_one_piece_can_be_sent_again() {
        let mut upload = stream(&["a"]);
        assert_eq!([next(&mut upload), next(&mut upload)], ["a", "end"]);
        assert!(upload.is_repeatable());
        upload.rewind();
        assert_eq!([next(&mut upload), next(&mut upload)], ["a", "end"]);
    }

    #[test]
    fn what_has_arrived_is_gathered_and_can_be_taken_again() {
        let gather = |pieces: &[&'static str], limit| {
            let mut upload = stream(pieces);
            upload.gather(limit, &mut Context::from_waker(Waker::noop())).unwrap();
            let first = String::from_utf8(upload.take_first().to_vec()).unwrap();
            upload.rewind();
            assert_eq!(upload.take_first(), first);
            (first, next(&mut upload))
        };
        let check = |pieces: &[&'static str], limit, first: &str, then: &str| {
            assert_eq!(gather(pieces, limit), (first.to_owned(), then.to_owned()), "{pieces:?}");
        };
        check(&["abc", "def", "", "ghi"], 100, "abcdef", "ghi");
        check(&["abc", "def", "ghi"], 4, "abcdef", "ghi");
        check(&["abc", "def"], 3, "abc", "def");
        check(&["", "abc"], 3, "", "abc");
        check(&["abc"], 100, "abc", "end");
        check(&[], 100, "", "end");
    }

    #[test]
    fn a_cut_off_body_is_not_repeated() {
        let mut upload = stream(&["a", "!"]);
        assert_eq!([next(&mut upload), next(&mut upload)], ["a", "the body was cut off"]);
        assert!(!upload.is_repeatable());
    }
}
