//! The head of an upstream's answer: where it ends, what it says, how its body is framed.

use std::{mem::MaybeUninit, time::Duration};

use bytes::{Buf, BytesMut};
use thiserror::Error;

use crate::proxy::{headers::AnswerFields, upgrade::Switched};

/// Bytes of a head.
const MOST_BYTES: usize = 128 << 10;
/// Fields of a head.
const MOST_FIELDS: usize = 256;
/// How long a connection is kept when the upstream does not say how long it keeps it.
const KEEP: Duration = Duration::from_secs(60);

/// Why an answer cannot be passed on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub(in crate::proxy) struct Malformed(pub(in crate::proxy) &'static str);

/// What the head of an answer says.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) status: u16,
    /// Those that pass to the client, in wire form.
    pub(super) fields: BytesMut,
    pub(super) framing: Framing,
    /// For how long the connection may be kept after the body; `None` when it ends with it.
    pub(super) keep: Option<Duration>,
    /// Of a 101.
    pub(super) switched: Option<Box<Switched>>,
}

/// How the end of an answer's body is known (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// A head as it came, for a moment.
#[derive(Debug)]
pub(in crate::proxy) struct RawHead<'a> {
    status: u16,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    version: u8,
    fields: &'a [httparse::Header<'a>],
}

/// Takes a complete head off the front of `buffer`; `None` when more bytes are needed.
pub(super) fn read(
    buffer: &mut BytesMut,
    rules: AnswerFields<'_>,
) -> Result<Option<AnswerHead>, Malformed> {
    read_head(buffer, |head| head.judge(rules))?.transpose()
}

/// Lets `look` see a complete head, and takes it off the front of `buffer`; `None` when more bytes
/// are needed.
fn read_head<R>(
    buffer: &mut BytesMut,
    look: impl FnOnce(RawHead<'_>) -> R,
) -> Result<Option<R>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut response, buffer, &mut fields);
    let size = match parsed {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) if buffer.len() <= MOST_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Malformed("the head is too large"));
        }
        Err(_) => return Err(Malformed("the status line or a field is broken")),
    };
    let status = response.code.filter(|code| (100..600).contains(code));
    let status = status.ok_or(Malformed("the status is not one of HTTP"))?;
    let version = response.version.unwrap_or_default();
    let seen = look(RawHead { status, version, fields: response.headers });
    buffer.advance(size);
    Ok(Some(seen))
}

impl<'a> RawHead<'a> {
    fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone + use<'a> {
        self.fields.iter().map(|field| (field.name.as_bytes(), field.value))
    }

    pub(in crate::proxy) fn get_all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    pub(in crate::proxy) fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name)
            .flat_map(|list| list.split(|b| *b == b','))
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    fn judge(&self, rules: AnswerFields<'_>) -> Result<AnswerHead, Malformed> {
        let framing = self.framing(rules.is_head)?;
        let mut fields = BytesMut::with_capacity(256);
        let switched = (self.status == 101).then(|| Box::new(Switched::read(self)));
        if self.status >= 200 || switched.is_some() {
            rules.collect(self.fields(), &mut fields);
        }
        let keep = self.keep().filter(|_| framing != Framing::UntilClose);
        Ok(AnswerHead { status: self.status, fields, framing, keep, switched })
    }

    fn framing(&self, is_head: bool) -> Result<Framing, Malformed> {
        let length = self.length()?;
        let mut codings = self.get_all("transfer-encoding");
        let coding = codings.next();
        if coding.is_some() && (length.is_some() || self.version == 0) {
            return Err(Malformed("Transfer-Encoding where it cannot be"));
        }
        if is_head || matches!(self.status, 100..200 | 204 | 304) {
            return Ok(Framing::None);
        }
        match (coding, length) {
            (None, Some(length)) => Ok(Framing::Length(length)),
            (None, None) => Ok(Framing::UntilClose),
            (Some(coding), _) if coding.eq_ignore_ascii_case(b"chunked") => match codings.next() {
                None => Ok(Framing::Chunked),
                Some(_) => Err(Malformed("more than one Transfer-Encoding")),
            },
            (Some(_), _) => Err(Malformed("a Transfer-Encoding other than chunked")),
        }
    }

    /// Several equal lengths are one (RFC 9110 8.6).
    fn length(&self) -> Result<Option<u64>, Malformed> {
        let mut length = None;
        let values = self.get_all("content-length").flat_map(|list| list.split(|b| *b == b','));
        for value in values.map(<[u8]>::trim_ascii) {
            let value = number(value).ok_or(Malformed("Content-Length is not a number"))?;
            if length.replace(value).is_some_and(|other| other != value) {
                return Err(Malformed("two lengths"));
            }
        }
        Ok(length)
    }

    fn keep(&self) -> Option<Duration> {
        let is_kept = !self.has_token("connection", "close")
            && (self.version >= 1 || self.has_token("connection", "keep-alive"));
        if !is_kept {
            return None;
        }
        let hint = self
            .get_all("keep-alive")
            .flat_map(|list| list.split(|b| *b == b','))
            .find_map(|part| number(part.trim_ascii().strip_prefix(b"timeout=")?));
        // A second earlier than the upstream closes, so that no request meets the end.
        let keep = hint.map_or(KEEP, |seconds| Duration::from_secs(seconds.saturating_sub(1)));
        Some(keep.min(KEEP)).filter(|keep| !keep.is_zero())
    }
}

/// A decimal number without sign.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::{Framing, Malformed, read};
    use crate::{CookieNames, proxy::headers::AnswerFields};

    fn head(is_head: bool, text: &str) -> Result<Option<super::AnswerHead>, Malformed> {
        let cookies = CookieNames::default();
        let rules =
            AnswerFields { confinement: None, cookies: &cookies, is_question: false, is_head };
        let mut buffer = BytesMut::from(text.replace('\n', "\r\n").as_str());
        let head = read(&mut buffer, rules)?;
        assert!(head.is_none() || buffer == "rest", "{buffer:?}");
        Ok(head)
    }

    fn check(text: &str, expected: Result<Framing, &'static str>) {
        let head = head(false, &format!("HTTP/1.1 {text}\n\nrest"));
        let framing = head.map(|head| head.unwrap().framing).map_err(|error| error.0);
        assert_eq!(framing, expected, "{text}");
    }

    #[test]
    fn the_end_of_the_body_is_known() {
        check("200 OK\nContent-Length: 5", Ok(Framing::Length(5)));
        check("200\nContent-Length: 5\nContent-Length: 5", Ok(Framing::Length(5)));
        check("200 OK\nContent-Length: 5, 5", Ok(Framing::Length(5)));
        check("200 OK\nTransfer-Encoding: Chunked", Ok(Framing::Chunked));
        check("200 OK", Ok(Framing::UntilClose));
        check("204 No Content", Ok(Framing::None));
        check("304 Not Modified\nContent-Length: 7", Ok(Framing::None));
        check("100 Continue", Ok(Framing::None));
    }

    #[test]
    fn a_body_whose_end_is_in_doubt_is_refused() {
        check("200 OK\nContent-Length: 5\nContent-Length: 6", Err("two lengths"));
        check("200 OK\nContent-Length: +5", Err("Content-Length is not a number"));
        check("200 OK\nContent-Length:", Err("Content-Length is not a number"));
        check(
            "200 OK\nContent-Length: 99999999999999999999",
            Err("Content-Length is not a number"),
        );
        let misplaced = "Transfer-Encoding where it cannot be";
        check("200 OK\nContent-Length: 5\nTransfer-Encoding: chunked", Err(misplaced));
        check(
            "200 OK\nTransfer-Encoding: gzip, chunked",
            Err("a Transfer-Encoding other than chunked"),
        );
        check(
            "200 OK\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked",
            Err("more than one Transfer-Encoding"),
        );
        check("099 What", Err("the status is not one of HTTP"));
        check("700 What", Err("the status is not one of HTTP"));
        check("200 OK\nbro ken: x", Err("the status line or a field is broken"));
        let old = head(false, "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\nrest");
        assert_eq!(old.map_err(|error| error.0).unwrap_err(), misplaced);
    }

    #[test]
    fn heads_come_in_pieces_and_are_bounded() {
        let text = "HTTP/1.1 200 OK\nA: b\n\n";
        for end in 0..text.len() - 1 {
            assert!(head(false, &text[..end]).unwrap().is_none());
        }
        let long = format!("HTTP/1.1 200 OK\nA: {}", "a".repeat(super::MOST_BYTES));
        assert_eq!(head(false, &long).unwrap_err().0, "the head is too large");
        let many = format!("HTTP/1.1 200 OK\n{}\n", "A: b\n".repeat(super::MOST_FIELDS + 1));
        assert_eq!(head(false, &many).unwrap_err().0, "the head is too large");
    }

    #[test]
    fn the_answer_to_head_keeps_its_length() {
        let head = head(true, "HTTP/1.1 200 OK\nContent-Length: 5\nA: b\n\nrest").unwrap().unwrap();
        assert_eq!(head.framing, Framing::None);
        assert_eq!(head.fields, "Content-Length: 5\r\nA: b\r\n");
    }

    #[test]
    fn connections_are_kept_as_long_as_the_upstream_says() {
        let check = |text: &str, expected: Option<u64>| {
            let head = head(false, &format!("{text}\nContent-Length: 1\n\nrest")).unwrap().unwrap();
            assert_eq!(head.keep.map(|keep| keep.as_secs()), expected, "{text}");
        };
        check("HTTP/1.1 200 OK", Some(60));
        check("HTTP/1.1 200 OK\nConnection: close", None);
        check("HTTP/1.1 200 OK\nConnection: foo, Close", None);
        check("HTTP/1.0 200 OK", None);
        check("HTTP/1.0 200 OK\nConnection: keep-alive", Some(60));
        check("HTTP/1.1 200 OK\nKeep-Alive: timeout=5, max=100", Some(4));
        check("HTTP/1.1 200 OK\nKeep-Alive: max=100, timeout=500", Some(60));
        check("HTTP/1.1 200 OK\nKeep-Alive: timeout=1", None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it_and_pieces_read_as_the_whole(
            parts in prop::collection::vec(prop_oneof![
                Just("HTTP/1.1 200 OK\n"), Just("HTTP/1.0 204 x\n"), Just("HTTP/1.1 "), Just("\n"),
                Just("Content-Length: 5\n"), Just("Transfer-Encoding: chunked\n"), Just("A: b\n"),
                Just("Connection: a\n"), Just(" "), Just(":"), Just("\u{e9}"), Just("\0"), Just("rest"),
            ], 0..9),
            step in 1usize..9,
        ) {
            let bytes = parts.concat().replace('\n', "\r\n").into_bytes();
            let cookies = CookieNames::default();
            let rules = AnswerFields { confinement: None, cookies: &cookies, is_question: false, is_head: false };
            let read_in = |step: usize| {
                let mut buffer = BytesMut::new();
                for piece in bytes.chunks(step) {
                    buffer.extend_from_slice(piece);
                    match read(&mut buffer, rules) {
                        Ok(None) => {}
                        Ok(Some(head)) => return Some(Ok((head.status, head.fields, head.framing))),
                        Err(error) => return Some(Err(error)),
                    }
                }
                None
            };
            // A mistake may show earlier in pieces, never otherwise.
            prop_assert_eq!(read_in(step).map(Result::ok), read_in(usize::MAX).map(Result::ok));
        }
    }
}
