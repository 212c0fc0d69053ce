//! What is compressed and what is not, and that it comes out as it went in.

use std::{
    collections::VecDeque,
    io::Read,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use proptest::prelude::*;

use super::{apply, is_compressible};
use crate::{Body, BodyError, Head, Response, Source};

fn head(method: &str, accepted: &str) -> Head {
    let fields: [(&[u8], &[u8]); 2] = [(b"Host", b"h"), (b"Accept-Encoding", accepted.as_bytes())];
    Head::from_parts(method, b"/", &fields).unwrap()
}

fn text(length: usize) -> Vec<u8> {
    b"a text that says the same again and again, ".iter().copied().cycle().take(length).collect()
}

/// Pieces that come one by one; none is a moment in which nothing comes.
struct Pieces(VecDeque<Option<Result<Bytes, BodyError>>>);

impl Source for Pieces {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(None) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(piece) => Poll::Ready(piece),
        }
    }
}

fn decode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    match coding {
        "gzip" => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut decoded).unwrap()),
        "br" => drop(brotli::Decompressor::new(bytes, 4096).read_to_end(&mut decoded).unwrap()),
        "zstd" => drop(zstd::Decoder::new(bytes).unwrap().read_to_end(&mut decoded).unwrap()),
        "" => decoded.extend_from_slice(bytes),
        other => panic!("{other}"),
    }
    decoded
}

/// All of a body, and each piece by itself.
fn read(body: Body) -> (Vec<u8>, Vec<usize>) {
    match body {
        Body::Empty => (Vec::new(), Vec::new()),
        Body::Full(bytes) => (bytes.to_vec(), vec![bytes.len()]),
        Body::Stream(mut source) => {
            let (mut all, mut pieces) = (Vec::new(), Vec::new());
            let mut context = Context::from_waker(Waker::noop());
            loop {
                match source.poll_chunk(&mut context) {
                    Poll::Ready(None) => return (all, pieces),
                    Poll::Ready(Some(piece)) => {
                        let piece = piece.unwrap();
                        assert!(!piece.is_empty());
                        all.extend_from_slice(&piece);
                        pieces.push(piece.len());
                    }
                    Poll::Pending => pieces.push(0),
                }
            }
        }
        other => panic!("{other:?}"),
    }
}

fn field(answer: &Response, name: &str) -> String {
    String::from_utf8(answer.fields.get(name).unwrap_or_default().to_vec()).unwrap()
}

/// Which coding an answer of 2000 bytes gets.
#[track_caller]
fn check(accepted: &str, status: u16, fields: &[(&str, &str)], expected: &str) -> Response {
    let mut answer = Response::new(status, "text/html; charset=utf-8", text(2000));
    for (name, value) in fields {
        answer.fields.set(name, value);
    }
    apply(&mut answer, &head("GET", accepted));
    assert_eq!(field(&answer, "content-encoding"), expected, "{accepted} {status} {fields:?}");
    answer
}

#[test]
fn clients_get_what_they_can_read() {
    check("gzip, deflate, br, zstd", 200, &[], "zstd");
    check("gzip, deflate, br", 200, &[], "gzip");
    check("br", 200, &[], "br");
    check("br, gzip;q=0.5", 200, &[], "br");
    check("gzip", 404, &[], "gzip");
    check("deflate", 200, &[], "");
    check("", 200, &[], "");
    check("identity", 200, &[], "");
    check("gzip;q=0", 200, &[], "");
    check("*", 200, &[], "zstd");
}

#[test]
fn some_answers_are_left_alone() {
    for fields in [
        ("Content-Encoding", "br"),
        ("Cache-Control", "public, No-Transform"),
        ("Content-Type", "image/png"),
        ("Content-Type", "text/event-stream"),
        ("Content-Range", "bytes 0-1/2"),
        ("Content-MD5", "x"),
        ("Repr-Digest", "sha-256=:x:"),
    ] {
        let answer = check("gzip", 200, &[fields], if fields.1 == "br" { "br" } else { "" });
        assert_eq!(field(&answer, "vary"), "", "{fields:?}");
    }
    check("gzip", 206, &[], "");
    check("gzip", 304, &[], "");
    check("gzip", 200, &[("Content-Encoding", "identity")], "identity");
    let short = |length| {
        let mut answer = Response::new(200, "text/plain", text(length));
        apply(&mut answer, &head("GET", "gzip"));
        field(&answer, "content-encoding")
    };
    assert_eq!((short(1023).as_str(), short(1024).as_str()), ("", "gzip"));
    let mut random = Response::new(200, "text/plain", noise(2000));
    apply(&mut random, &head("GET", "gzip, br, zstd"));
    assert_eq!(field(&random, "content-encoding"), "");
    assert_eq!(read(random.body).0, noise(2000));
}

/// Bytes that do not shrink.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn what_is_said_of_the_body_holds_for_the_coded_one() {
    let fields = [("ETag", "\"a\""), ("Accept-Ranges", "bytes"), ("X", "y")];
    let coded = check("gzip", 200, &fields, "gzip");
    assert_eq!(field(&coded, "etag"), "W/\"a\"");
    assert_eq!(field(&coded, "accept-ranges"), "");
    assert_eq!(field(&coded, "vary"), "Accept-Encoding");
    assert_eq!(field(&coded, "x"), "y");
    let plain = check("", 200, &fields, "");
    assert_eq!(field(&plain, "etag"), "\"a\"");
    assert_eq!(field(&plain, "vary"), "Accept-Encoding");
    let count = |vary: &str| {
        let answer = check("gzip", 200, &[("Vary", vary)], "gzip");
        answer.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"vary")).count()
    };
    assert_eq!((count("Cookie"), count("Cookie, accept-encoding"), count("*")), (2, 1, 1));
    assert_eq!(field(&check("gzip", 200, &[("ETag", "W/\"a\"")], "gzip"), "etag"), "W/\"a\"");
}

#[test]
fn an_answer_to_head_says_what_get_would_bring() {
    let answer = |length: &str| {
        let mut answer = Response::new(200, "text/html", Bytes::new());
        answer.body = Body::Empty;
        answer.fields.push("Content-Length", length);
        apply(&mut answer, &head("HEAD", "gzip"));
        (field(&answer, "content-encoding"), field(&answer, "content-length"))
    };
    assert_eq!(answer("2000"), ("gzip".to_owned(), String::new()));
    assert_eq!(answer("20"), (String::new(), "20".to_owned()));
    let mut whole = Response::new(200, "text/html", text(2000));
    apply(&mut whole, &head("HEAD", "gzip"));
    assert!(matches!(whole.body, Body::Empty) && field(&whole, "content-encoding") == "gzip");
}

#[test]
fn what_waits_is_sent_on_and_what_is_long_gives_way() {
    for accepted in ["gzip", "br", "zstd"] {
        let line = || Some(Ok(Bytes::from_static(b"a line of a log\n")));
        let pieces = Pieces([line(), None, line(), line(), None, None, line()].into());
        let mut answer = Response::new(200, "text/plain", "");
        answer.body = Body::Stream(Box::new(pieces));
        apply(&mut answer, &head("GET", accepted));
        let (all, sizes) = read(answer.body);
        // Something comes out before each moment in which nothing comes in, once.
        let moments: Vec<bool> = sizes.iter().map(|size| *size > 0).collect();
        assert!(
            moments.starts_with(&[true, false, true, false, false, true])
                || moments.starts_with(&[true, true, false]),
            "{accepted} {sizes:?}"
        );
        assert_eq!(decode(accepted, &all), b"a line of a log\n".repeat(4), "{accepted}");

        let long = text(1_000_000);
        let mut answer = Response::new(200, "text/plain", long.clone());
        apply(&mut answer, &head("GET", accepted));
        let (all, sizes) = read(answer.body);
        assert!(sizes.iter().filter(|size| **size == 0).count() >= 14, "{sizes:?}");
        assert!(decode(accepted, &all) == long && all.len() < 100_000, "{accepted}");
    }
}

#[test]
fn large_files_are_sent_as_they_are() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let check = |method: &str, length, expected: &str| {
        let mut answer = Response::new(200, "text/plain", "");
        let file = std::sync::Arc::new(file.try_clone().unwrap());
        answer.body = Body::File(crate::FileBody { file, offset: 0, length });
        apply(&mut answer, &head(method, "gzip"));
        assert_eq!(field(&answer, "content-encoding"), expected, "{method} {length}");
    };
    check("GET", 8 << 20, "gzip");
    check("GET", (8 << 20) + 1, "");
    check("HEAD", 8 << 20, "gzip");
    check("HEAD", (8 << 20) + 1, "");
}

#[test]
fn a_body_that_breaks_off_is_told_so() {
    let pieces = Pieces([Some(Ok(text(10).into())), Some(Err(BodyError::CutOff))].into());
    let mut answer = Response::new(200, "text/plain", "");
    answer.body = Body::Stream(Box::new(pieces));
    apply(&mut answer, &head("GET", "gzip"));
    let Body::Stream(mut source) = answer.body else { panic!("a stream") };
    let mut context = Context::from_waker(Waker::noop());
    let mut next = || source.poll_chunk(&mut context);
    assert!(matches!(next(), Poll::Ready(Some(Err(BodyError::CutOff)))));
    assert!(matches!(next(), Poll::Ready(None)));
}

#[test]
fn too_many_at_once_are_sent_as_they_are() {
    let stream = || {
        let mut answer = Response::new(200, "text/plain", "");
        answer.body = Body::Stream(Box::new(Pieces(VecDeque::new())));
        apply(&mut answer, &head("GET", "gzip"));
        (field(&answer, "content-encoding"), answer)
    };
    let mut held: Vec<_> = (0..256).map(|_| stream()).collect();
    assert!(held.iter().all(|(coding, _)| coding == "gzip"));
    assert_eq!(stream().0, "");
    held.pop();
    assert_eq!(stream().0, "gzip");
}

#[test]
fn texts_are_told_from_what_is_compressed_already() {
    let check = |media_type: &str, expected| {
        assert_eq!(is_compressible(media_type.as_bytes()), expected, "{media_type}");
    };
    check("text/html; charset=utf-8", true);
    check("TEXT/CSS", true);
    check("application/json", true);
    check("application/problem+json; charset=utf-8", true);
    check("image/svg+xml", true);
    check("application/xhtml+xml", true);
    check("application/wasm", true);
    check("text/event-stream", false);
    check("application/octet-stream", false);
    check("application/pdf", false);
    check("application/zip", false);
    check("image/jpeg", false);
    check("font/woff2", false);
    check("video/mp4", false);
    check("text", false);
    check("", false);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_goes_in_comes_out(
        sizes in prop::collection::vec((0..3_usize, 1..20_000_usize), 0..12),
        coding in prop::sample::select(&["gzip", "br", "zstd"][..]),
    ) {
        let mut whole = Vec::new();
        let mut pieces = VecDeque::new();
        for (kind, size) in sizes {
            let piece = match kind { 0 => text(size), 1 => noise(size), _ => { pieces.push_back(None); continue } };
            whole.extend_from_slice(&piece);
            pieces.push_back(Some(Ok(piece.into())));
        }
        let mut answer = Response::new(200, "text/plain", "");
        answer.body = Body::Stream(Box::new(Pieces(pieces)));
        apply(&mut answer, &head("GET", coding));
        prop_assert!(decode(coding, &read(answer.body).0) == whole);
    }
}
