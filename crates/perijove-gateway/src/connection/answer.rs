//! The head of an answer, and how the end of its body is told.

use crate::{Head, Response, clock, decimal::push_decimal};

use super::Door;

/// How the client knows where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// There is no body, whatever the answer holds.
    Nothing,
    Sized(u64),
    Chunked,
    /// By the end of the connection.
    Close,
}

impl Wire {
    /// What an answer needs (RFC 9112 6.3).
    pub(super) fn of(answer: &Response, head: Option<&Head>) -> Self {
        let is_head = head.is_some_and(|head| head.method() == "HEAD");
        match (answer.status, answer.body.length()) {
            (204 | 304 | 100..=199, _) => Self::Nothing,
            _ if is_head => Self::Nothing,
            (_, Some(length)) => Self::Sized(length),
            (_, None) if head.is_some_and(|head| head.version() == 0) => Self::Close,
            (_, None) => Self::Chunked,
        }
    }
}

/// Appends the head of an answer. `is_last`: the connection is closed behind it.
pub(super) fn push_head(
    out: &mut Vec<u8>,
    answer: &Response,
    head: Option<&Head>,
    door: &Door,
    (wire, is_last): (Wire, bool),
) {
    push_status(out, answer.status);
    out.extend_from_slice(answer.fields.as_bytes());
    out.extend_from_slice(b"Date: ");
    clock::push_date(out);
    out.extend_from_slice(b"\r\n");
    match wire {
        Wire::Sized(length) => push_length(out, length),
        Wire::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Wire::Nothing => push_length_of_absent(out, answer),
        Wire::Close => {}
    }
    if is_last {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if head.is_some_and(|head| head.version() == 0) {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    push_strict_transport(out, door);
    out.extend_from_slice(b"\r\n");
}

/// The head of an answer to HEAD tells what GET would bring, where it is known.
fn push_length_of_absent(out: &mut Vec<u8>, answer: &Response) {
    if matches!(answer.status, 204 | 304) || answer.fields.contains("content-length") {
        return;
    }
    if let Some(length) = answer.body.length().filter(|length| *length > 0) {
        push_length(out, length);
    }
}

fn push_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    push_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_strict_transport(out: &mut Vec<u8>, door: &Door) {
    if let Some(policy) = door.strict_transport.as_deref().filter(|_| door.tls.is_some()) {
        out.extend_from_slice(b"Strict-Transport-Security: ");
        out.extend_from_slice(policy.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

pub(super) fn push_status(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, u64::from(status));
    out.push(b' ');
    let reason = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
    out.extend_from_slice(reason.unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends the size line of a chunk.
pub(super) fn push_chunk_size(out: &mut Vec<u8>, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let nibble = (size >> (4 * place)) & 0xf;
        out.push(b"0123456789abcdef".get(nibble).copied().unwrap_or(b'0'));
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Body;

    #[test]
    fn numbers_are_written() {
        let check = |number: u64, decimal: &str, hexadecimal: &str| {
            let mut out = Vec::new();
            push_decimal(&mut out, number);
            assert_eq!(out, decimal.as_bytes());
            out.clear();
            push_chunk_size(&mut out, usize::try_from(number).unwrap());
            assert_eq!(out, format!("{hexadecimal}\r\n").as_bytes());
        };
        check(0, "0", "0");
        check(9, "9", "9");
        check(10, "10", "a");
        check(16, "16", "10");
        check(65_536, "65536", "10000");
        check(u64::from(u32::MAX), "4294967295", "ffffffff");
    }

    #[test]
    fn the_end_of_a_body_is_told_as_the_client_understands() {
        let check = |method: &str, version: u8, status: u16, body: Body, expected: Wire| {
            let head = Head::from_parts(method, b"/", &[(b"Host", b"h")]).unwrap();
            let head = head.with_version(version);
            let answer = Response { status, fields: crate::FieldBlock::new(), body };
            assert_eq!(Wire::of(&answer, Some(&head)), expected, "{method} {version} {status}");
        };
        check("GET", 1, 200, Body::Empty, Wire::Sized(0));
        check("GET", 1, 200, Body::Full("four".into()), Wire::Sized(4));
        check("HEAD", 1, 200, Body::Full("four".into()), Wire::Nothing);
        check("GET", 1, 204, Body::Empty, Wire::Nothing);
        check("GET", 1, 304, Body::Full("four".into()), Wire::Nothing);
        check("GET", 1, 200, endless(), Wire::Chunked);
        check("GET", 0, 200, endless(), Wire::Close);
        check("POST", 0, 404, Body::Empty, Wire::Sized(0));
    }

    fn endless() -> Body {
        struct Endless;
        impl crate::Source for Endless {
            fn poll_chunk(
                &mut self,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<bytes::Bytes, crate::BodyError>>> {
                std::task::Poll::Pending
            }
        }
        Body::Stream(Box::new(Endless))
    }
}
