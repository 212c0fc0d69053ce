//! Heads and chunked bodies against golden data, against each other, and against other parsers.

use std::{fmt::Write as _, fs, path::Path};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

#[path = "../../../../fuzz/checks/request_head.rs"]
mod fuzz;

use super::{Chunk, ChunkReader, Framing, Head, HeadError, HeadLimits, HeadReader};

/// What a request is read as, in words; `step` bytes arrive at a time.
fn read(request: &[u8], step: usize) -> String {
    let (mut reader, mut buffer) = (HeadReader::new(), BytesMut::new());
    let mut pieces = request.chunks(step.max(1));
    let head = loop {
        match reader.read(&mut buffer, HeadLimits::default()) {
            Ok(Some(head)) => break head,
            Ok(None) => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => return "incomplete\n".to_owned(),
            },
            Err(HeadError::TooLarge) => return "431\n".to_owned(),
            Err(HeadError::Malformed(what)) => return format!("400 {what}\n"),
        }
    };
    let (mut text, mut body) = (describe(&head), Vec::new());
    let mut more = |buffer: &mut BytesMut| {
        pieces.next().map(|piece| buffer.extend_from_slice(piece)).is_some()
    };
    match head.framing() {
        Framing::None => {}
        Framing::Length(length) => {
            while (buffer.len() as u64) < length && more(&mut buffer) {}
            body.extend_from_slice(
                &buffer.split_to(usize::try_from(length).unwrap().min(buffer.len())),
            );
        }
        Framing::Chunked => {
            let mut chunks = ChunkReader::new(1000);
            loop {
                match chunks.read(&mut buffer) {
                    Ok(Chunk::Data(data)) => body.extend_from_slice(&data),
                    Ok(Chunk::More) if more(&mut buffer) => {}
                    Ok(Chunk::More) => return "incomplete\n".to_owned(),
                    Ok(Chunk::End) => break,
                    Err(error) => return format!("400 {error}\n"),
                }
            }
        }
    }
    while more(&mut buffer) {}
    if head.framing() != Framing::None {
        writeln!(text, "body: {}", body.escape_ascii()).unwrap();
    }
    if !buffer.is_empty() {
        writeln!(text, "then: {}", buffer.escape_ascii()).unwrap();
    }
    text
}

fn describe(head: &Head) -> String {
    let mut text = String::new();
    let yes = |is: bool| if is { "yes" } else { "no" };
    writeln!(text, "method: {}", head.method()).unwrap();
    writeln!(text, "target: {}", head.target().escape_ascii()).unwrap();
    writeln!(text, "path: {}", head.path().escape_ascii()).unwrap();
    if let Some(query) = head.query() {
        writeln!(text, "query: {}", query.escape_ascii()).unwrap();
    }
    writeln!(text, "version: {}", head.version()).unwrap();
    writeln!(text, "host: {}", head.host().unwrap_or("none")).unwrap();
    writeln!(text, "framing: {:?}", head.framing()).unwrap();
    writeln!(text, "keep-alive: {}", yes(head.keep_alive())).unwrap();
    if let Some(protocol) = head.upgrade() {
        writeln!(text, "upgrade: {}", protocol.escape_ascii()).unwrap();
    }
    if head.expects_continue() {
        text.push_str("expects: 100-continue\n");
    }
    if head.is_conditional() {
        text.push_str("conditional: yes\n");
    }
    for (name, value) in head.fields() {
        writeln!(text, "field: {}: {}", name.escape_ascii(), value.escape_ascii()).unwrap();
    }
    text
}

/// Every `*.http` file of a folder is read as the `*.txt` file beside it says, however it arrives.
fn check_folder(name: &str, at_least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/requests").join(name);
    let (mut count, mut wrong) = (0, String::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "http") {
            continue;
        }
        let request = fs::read(&path).unwrap();
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        for step in [usize::MAX, 1, 2, 7, 100] {
            let found = read(&request, step);
            if found != expected {
                let name = path.display();
                writeln!(wrong, "{name} in steps of {step}:\n{found}expected:\n{expected}")
                    .unwrap();
                break;
            }
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= at_least, "only {count} requests in {name}");
}

#[test]
fn valid_requests_are_read_as_the_files_say() {
    check_folder("valid", 30);
}

#[test]
fn invalid_requests_are_refused_as_the_files_say() {
    check_folder("invalid", 40);
}

#[test]
fn what_the_fuzzer_checks_holds_for_its_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/request_head");
    let seeds = fs::read_dir(folder).unwrap();
    assert!(seeds.map(|seed| fuzz::check(&fs::read(seed.unwrap().path()).unwrap())).count() > 100);
}

fn limited(request: &str, bytes: usize, fields: usize) -> Result<bool, HeadError> {
    let limits = HeadLimits { bytes, fields };
    Head::parse(&mut BytesMut::from(request), limits).map(|head| head.is_some())
}

#[test]
fn limits_hold_for_bytes_and_for_fields() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n";
    assert_eq!(limited(head, head.len(), 2), Ok(true));
    assert_eq!(limited(head, head.len() - 1, 2), Err(HeadError::TooLarge));
    assert_eq!(limited(head, head.len(), 1), Err(HeadError::TooLarge));
    let endless = format!("GET /{}", "a".repeat(100));
    assert_eq!(limited(&endless, 100, 2), Err(HeadError::TooLarge));
    assert_eq!(limited(&endless, 200, 2), Ok(false));
}

#[test]
fn what_cannot_become_right_is_refused_before_the_head_is_complete() {
    for start in ["GET / HTTP/1.1\n", "\x16\x03\x01\x02", "GET / HTTP/1.1\r\nA: b\0", "G\r\r"] {
        assert!(limited(start, 1000, 10).is_err(), "{start:?}");
    }
    assert_eq!(limited("GET / HTTP/1.1\r", 1000, 10), Ok(false));
}

#[test]
fn parts_cannot_hold_lines() {
    let host: (&[u8], &[u8]) = (b"host", b"a");
    assert!(Head::from_parts("GET", b"/", &[host]).is_ok());
    assert!(Head::from_parts("GET", b"/\r\nA: b", &[host]).is_err());
    assert!(Head::from_parts("GET / HTTP/1.1\r\nA: ", b"/", &[host]).is_err());
    assert!(Head::from_parts("GET", b"/", &[host, (b"a", b"b\r\nc: d")]).is_err());
    assert!(Head::from_parts("GET", b"/", &[host, (b"", b"")]).is_err());
    assert!(Head::from_parts("GET", b"/", &[]).is_err());
    let head = Head::from_parts("GET", b"/", &[host]).unwrap().with_version(2);
    assert_eq!(head.version(), 2);
    assert!(head.keep_alive());
}

#[test]
fn debug_prints_no_secret() {
    let fields: [(&[u8], &[u8]); 2] = [(b"host", b"a"), (b"cookie", b"secret")];
    let head = Head::from_parts("GET", b"/?token=secret", &fields).unwrap();
    assert!(!format!("{head:?}").contains("secret"));
}

#[test]
fn a_body_stops_at_its_limit() {
    let chunks = |limit, body: &'static str| {
        let (mut reader, mut buffer) = (ChunkReader::new(limit), BytesMut::from(body));
        loop {
            match reader.read(&mut buffer) {
                Ok(Chunk::Data(_)) => {}
                Ok(end) => return Ok(end),
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    assert_eq!(chunks(6, "3\r\nabc\r\n3\r\nabc\r\n0\r\n\r\n"), Ok(Chunk::End));
    assert!(chunks(5, "3\r\nabc\r\n3\r\nabc\r\n0\r\n\r\n").unwrap_err().contains("longer than"));
    assert!(chunks(5, "ffffffffffffffff\r\n").unwrap_err().contains("longer than"));
    assert_eq!(chunks(5, "3\r\nab"), Ok(Chunk::More));
}

fn field() -> impl Strategy<Value = (String, Vec<u8>)> {
    // `x-` in front: none of the fields that have a meaning of their own.
    let name = "x-[a-zA-Z0-9!#$%&'*+.^_`|~-]{0,12}";
    let value = prop::collection::vec(prop_oneof![Just(b'\t'), 0x20u8..0x7f, 0x80u8..], 0..40);
    (name, value.prop_map(|value| value.trim_ascii().to_vec()))
}

/// What requests and attacks are made of.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b":",
    b"GET / HTTP/1.1\r\n",
    b"Host: a\r\n",
    b"http://a",
    b"*",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 3\r\n",
    b"\x80",
    b"\0",
    b"0\r\n",
    b"a;",
    b"abc",
];

proptest! {
    #[test]
    fn fields_come_out_as_they_went_in(
        fields in prop::collection::vec(field(), 0..30),
        target in prop::collection::vec(prop_oneof![0x24u8..0x7f, 0x80u8..], 0..40),
    ) {
        let target = [b"/".as_slice(), &target].concat();
        let mut parts: Vec<(&[u8], &[u8])> = vec![(b"Host", b"a.example:8000")];
        parts.extend(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())));
        let head = Head::from_parts("PUT", &target, &parts).unwrap();
        prop_assert_eq!(head.target(), &target);
        prop_assert_eq!(head.fields().collect::<Vec<_>>(), parts);
        let mut rebuilt = head.path().to_vec();
        if let Some(query) = head.query() {
            rebuilt.push(b'?');
            rebuilt.extend_from_slice(query);
        }
        prop_assert_eq!(rebuilt, target);
    }

    /// httparse is the witness: what we take, it takes too, and finds the same fields.
    #[test]
    fn what_is_taken_is_read_alike_by_another_parser(
        noise in prop::collection::vec((0usize..200, prop_oneof![
            Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'\t'), Just(0), any::<u8>()
        ]), 0..4),
        is_inserted in any::<bool>(),
    ) {
        let mut request = b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-One: two\r\nX-Three:four \r\n\r\n".to_vec();
        for (at, byte) in noise {
            let at = at % request.len();
            if is_inserted { request.insert(at, byte) } else { request[at] = byte }
        }
        let mut buffer = BytesMut::from(request.as_slice());
        if let Ok(Some(head)) = Head::parse(&mut buffer, HeadLimits::default()) {
            let length = request.len() - buffer.len();
            let mut fields = [httparse::EMPTY_HEADER; 16];
            let mut witness = httparse::Request::new(&mut fields);
            let ascii: Vec<u8> = request[..length].iter().map(|b| if *b < 0x80 { *b } else { b'x' }).collect();
            let plain = Bytes::from(ascii);
            prop_assert_eq!(witness.parse(&plain), Ok(httparse::Status::Complete(length)));
            prop_assert_eq!(witness.method, Some(head.method()));
            prop_assert_eq!(witness.headers.len(), head.fields().count());
            for (theirs, ours) in witness.headers.iter().zip(head.fields()) {
                prop_assert_eq!(theirs.name.as_bytes(), ours.0);
                prop_assert_eq!(theirs.value.trim_ascii().len(), ours.1.len());
            }
        }
    }

    #[test]
    fn chunks_come_out_as_they_went_in_however_they_are_cut(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..8),
        step in 1usize..40,
    ) {
        let mut wire = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in &chunks {
            wire.extend_from_slice(format!("{:x};a=b\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\nX-Sum: 1\r\n\r\nGET");
        let expected = format!("body: {}\nthen: GET\n", chunks.concat().escape_ascii());
        prop_assert!(read(&wire, step).ends_with(&expected));
    }

    #[test]
    fn nothing_panics_and_pieces_read_as_the_whole(
        request in prop::collection::vec(prop::sample::select(PIECES), 0..12)
            .prop_map(|pieces| pieces.concat()),
        step in 1usize..9,
    ) {
        prop_assert_eq!(read(&request, step), read(&request, usize::MAX));
    }
}
