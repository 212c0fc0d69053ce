//! A worker's answer: its fields checked and its body passed on.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};

use super::{
    Ends, Errand, Outgoing, Upload,
    link::Ticket,
    state::{Answer, Ending, Piece},
};
use crate::{
    Body, BodyError, FieldBlock, Response, Source,
    body::FileSource,
    error::Fault,
    proxy::{headers::AnswerFields, retry::Failure},
};

/// Makes the response of an answer.
pub(super) fn respond(
    errand: &mut Errand<'_>,
    ticket: Ticket,
    answer: Answer,
    outgoing: Option<Outgoing>,
) -> Result<Response, Failure> {
    let Answer { status, fields, body, length, is_whole } = answer;
    let rules = errand.answer_fields();
    let mut block = BytesMut::with_capacity(fields.len());
    let named = read_fields(&fields, rules, &mut block).ok_or_else(malformed)?;
    if !(200..600).contains(&status) {
        return Err(malformed());
    }
    if named.has_failed {
        return Err(failed());
    }
    let named = named.length;
    let fields = FieldBlock::from_checked(block);
    let body = if rules.is_head || matches!(status, 204 | 304) {
        Body::Empty
    } else if is_whole {
        if named.is_some_and(|named| named != body.len() as u64) {
            return Err(malformed());
        }
        if body.is_empty() { Body::Empty } else { Body::Full(body) }
    } else {
        stream(errand, ticket, outgoing, body, named.or(length))
    };
    Ok(Response { status, fields, body })
}

/// A body that is not there as a whole.
fn stream(
    errand: &mut Errand<'_>,
    ticket: Ticket,
    outgoing: Option<Outgoing>,
    first: Bytes,
    length: Option<u64>,
) -> Body {
    let first = if first.is_empty() {
        match ticket.ready_piece() {
            (Some(Piece::File(file)), true) if length.is_none_or(|named| named == file.length) => {
                return Body::File(file);
            }
            (Some(Piece::Bytes(bytes)), true)
                if length.is_none_or(|named| named == bytes.len() as u64) =>
            {
                return Body::Full(bytes);
            }
            (piece, _) => piece,
        }
    } else {
        Some(Piece::Bytes(first))
    };
    let sending = outgoing.map(|outgoing| {
        let upload = std::mem::replace(&mut errand.upload, Upload::new(Body::Empty));
        outgoing.go_on(upload)
    });
    let file = None;
    Body::Stream(Box::new(Incoming { sending, ticket: Some(ticket), first, file, left: length }))
}

/// The body of an answer, as it comes.
struct Incoming {
    /// The request's body, when the answer began before it had ended. Dropped before the ticket.
    sending: Option<Ends>,
    /// `None` after the end.
    ticket: Option<Ticket>,
    first: Option<Piece>,
    /// A file among the pieces.
    file: Option<FileSource>,
    /// What is still to come, where that is known.
    left: Option<u64>,
}

impl Incoming {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(file) = &mut self.file {
                match ready!(file.poll_chunk(context)) {
                    Some(piece) => return Poll::Ready(Some(piece)),
                    None => self.file = None,
                }
            }
            let Some(ticket) = &self.ticket else { return Poll::Ready(None) };
            let next = match self.first.take() {
                Some(piece) => Some(Ok(piece)),
                None => ready!(ticket.poll_piece(context)),
            };
            match next {
                Some(Ok(Piece::Bytes(bytes))) if bytes.is_empty() => {}
                Some(Ok(Piece::Bytes(bytes))) => return Poll::Ready(Some(Ok(bytes))),
                Some(Ok(Piece::File(file))) => self.file = Some(FileSource(file)),
                Some(Err(Ending::Late)) => return Poll::Ready(Some(Err(BodyError::Late))),
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyError::CutOff))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// Counts a piece against the length that was named.
    fn count(&mut self, piece: &Bytes) -> Result<(), BodyError> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(piece.len() as u64).ok_or(BodyError::CutOff)?;
        }
        Ok(())
    }

    fn close(&mut self) {
        self.sending = None;
        self.ticket = None;
        self.first = None;
        self.file = None;
    }
}

impl Source for Incoming {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let next = match ready!(self.poll_next(context)) {
            Some(Ok(piece)) => Some(self.count(&piece).map(|()| piece)),
            None if self.left.is_some_and(|left| left > 0) => Some(Err(BodyError::CutOff)),
            next => next,
        };
        if !matches!(next, Some(Ok(_))) {
            self.left = Some(0);
            self.close();
        }
        Poll::Ready(next)
    }

    fn length(&self) -> Option<u64> {
        self.left
    }
}

/// What the fields of an answer say to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) length: Option<u64>,
    /// The application has no answer: the worker says so for it.
    pub(super) has_failed: bool,
}

/// Appends the fields that pass. What they say; `None` when they are malformed.
pub(super) fn read_fields(
    fields: &[u8],
    rules: AnswerFields<'_>,
    block: &mut BytesMut,
) -> Option<Named> {
    let mut rest = fields;
    let mut named = Named::default();
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest)?;
        let (line, after) = rest.split_at(end + 1);
        rest = after;
        let line = line.strip_suffix(b"\r\n")?;
        let (name, value) = line.split_at(memchr::memchr(b':', line)?);
        let value = value.get(1..)?.trim_ascii();
        let is_valid = !name.is_empty() && name.iter().all(is_token);
        if !is_valid || memchr::memchr2(b'\r', 0, value).is_some() {
            return None;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            named.length = Some(std::str::from_utf8(value).ok()?.parse().ok()?);
        }
        named.has_failed |= name.eq_ignore_ascii_case(b"perijove-failure");
        rules.push(name, value, block);
    }
    Some(named)
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// The application has no answer: a page of ours, or of the site, is shown.
pub(super) fn failed() -> Failure {
    Failure::last(Fault::ours(500, "the application raised an exception"))
}

fn malformed() -> Failure {
    Failure::last(Fault::upstream(502, "the worker's answer is malformed"))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::read_fields;
    use crate::{CookieNames, proxy::headers::AnswerFields};

    fn check(fields: &str, expected: Option<(&str, Option<u64>)>) {
        let cookies = CookieNames::default();
        let rules = AnswerFields {
            confinement: None,
            cookies: &cookies,
            is_question: false,
            is_head: false,
        };
        let mut block = BytesMut::new();
        let named = read_fields(fields.as_bytes(), rules, &mut block);
        let read = named.map(|named| (std::str::from_utf8(&block).unwrap(), named.length));
        let marked = fields.contains("Perijove-Failure:");
        assert!(named.is_none_or(|named| named.has_failed == marked), "{fields:?}");
        assert_eq!(read, expected, "{fields:?}");
    }

    #[test]
    fn fields_are_read_and_sifted() {
        check("", Some(("", None)));
        check("A: b\r\nB:c \r\n", Some(("A: b\r\nB: c\r\n", None)));
        check("Content-Length: 5\r\nServer: s\r\nA: b\r\n", Some(("A: b\r\n", Some(5))));
        check("Perijove-Subject: ada\r\nConnection: close\r\n", Some(("", None)));
        check("Perijove-Failure: exception\r\nA: b\r\n", Some(("A: b\r\n", None)));
    }

    #[test]
    fn fields_that_could_split_an_answer_are_refused() {
        check("A: b", None);
        check("A: b\n", None);
        check("A b\r\n", None);
        check(": b\r\n", None);
        check("A : b\r\n", None);
        check("A: b\rc\r\n", None);
        check("A: b\0\r\n", None);
        check("Content-Length: x\r\n", None);
        check("\r\n", None);
    }
}
