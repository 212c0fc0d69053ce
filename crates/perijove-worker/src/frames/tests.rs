//! Frames against the golden data that the gateway is held to as well, and against damage.

use std::{collections::HashMap, fs, path::PathBuf};

use proptest::prelude::*;

use super::*;

/// The bytes of a golden frame.
fn golden(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/frames"));
    read_hex(&fs::read_to_string(folder.join(format!("{name}.hex"))).unwrap())
}

fn read_hex(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digits: Vec<u8> = lines.flat_map(str::bytes).filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Holds what we write for a case to the golden data of that name.
#[track_caller]
fn check_written(name: &str, write: impl FnOnce(&mut Vec<u8>)) {
    let mut written = Vec::new();
    write(&mut written);
    assert_eq!(written, golden(name), "{name}");
}

#[test]
fn what_the_worker_writes_is_what_the_gateway_reads() {
    check_written("ready", |to| write(to, Kind::Ready, false, 0, &ready(4, TAKES_TRAYS)));
    check_written("ready-without-flags", |to| write(to, Kind::Ready, false, 0, &ready(4, 0)));
    check_written("ready-asgi", |to| write(to, Kind::Ready, false, 0, &ready(1000, IS_ASGI)));
    check_written("entered", |to| write(to, Kind::Entered, false, 0, b""));
    check_written("response", |to| {
        let fields = b"Content-Type: text/plain\r\nContent-Length: 13\r\n";
        write_response(to, 7, true, 200, fields, 13);
        to.extend_from_slice(b"Hello, world!");
    });
    check_written("response-streamed", |to| {
        let fields = b"Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nX-Latin: caf\xe9\r\n";
        write_response(to, 4095, false, 404, fields, 0);
    });
    check_written("response-empty", |to| write_response(to, 1, true, 204, b"", 0));
    check_written("body", |to| write(to, Kind::BodyOut, false, 4095, b"first piece"));
    check_written("body-last", |to| {
        let at = to.len();
        write(to, Kind::BodyOut, false, 4095, b"");
        mark_last(&mut to[at..]);
    });
    check_written("file", |to| write(to, Kind::File, true, 12, &file(4096, 10 << 20)));
    check_written("credit-for-request", |to| {
        write(to, Kind::CreditOut, false, 3, &262_144_u32.to_le_bytes());
    });
    check_written("tray", |to| write(to, Kind::TrayOut, true, 12, &tray(2, TRAY)));
    check_written("reset", |to| write(to, Kind::Reset, true, 3, b"cancelled"));
}

#[test]
fn an_opening_carries_secret_and_request() {
    let (opening, request) = (golden("open"), golden("request-get"));
    let header = Header::read(&opening).unwrap().unwrap();
    assert_eq!((header.kind, header.is_last), (Kind::Open, true));
    let payload = &opening[HEADER..];
    assert_eq!(header.length, payload.len());
    assert_eq!(read_open(payload), Ok((VERSION, &b"secret"[..], &request[HEADER..])));
    for cut in [&b""[..], b"\x01", b"\x01\x06secre"] {
        assert!(read_open(cut).is_err(), "{cut:?}");
    }
}

#[test]
fn headers_that_cannot_be() {
    let check = |bytes: &[u8; HEADER], expected| assert_eq!(Header::read(bytes), Err(expected));
    check(&[1, 0, 4, 0, 3, 0, 0, 0, 0, 0, 0, 0], FrameError::TooLong(262_145));
    check(&[0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0], FrameError::UnknownKind(9));
    check(&[0, 0, 0, 0, 3, 0, 0, 0, 0, 16, 0, 0], FrameError::WrongId(4096));
    check(&[0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 1, 0], FrameError::WrongId(65_536));
}

#[test]
fn half_a_header_is_no_header_yet() {
    let whole = golden("body");
    assert_eq!(Header::read(&whole[..HEADER - 1]), Ok(None));
    let header = Header { length: 11, kind: Kind::BodyOut, is_last: false, id: 4095 };
    assert_eq!(Header::read(&whole), Ok(Some(header)));
}

/// A request's payload from its parts.
fn payload(start: [u8; 4], length: u64, texts: [&[u8]; 7], fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = start.to_vec();
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&8080_u16.to_le_bytes());
    for text in texts {
        bytes.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(text);
    }
    bytes.extend_from_slice(&u16::try_from(fields.len()).unwrap().to_le_bytes());
    for (name, value) in fields {
        bytes.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
    }
    bytes
}

const TEXTS: [&[u8]; 7] =
    [b"POST", b"/shop", b"/shop/a%20b?c=d", b"example.org", b"192.0.2.1", b"1234", b"r-17"];

#[test]
fn a_request_is_read() {
    let mut bytes = payload([2, 1, 1, 0], 9, TEXTS, &[(b"host", b"h"), (b"x-empty", b"")]);
    bytes.extend_from_slice(b"beginning");
    let mut request = Request::read(bytes).unwrap();
    assert_eq!((request.version, request.is_https, request.port), (2, true, 8080));
    assert_eq!(request.body, BodyLength::Known(9));
    let texts = [
        request.method(),
        request.mount(),
        request.target(),
        request.server(),
        request.client(),
        request.client_port(),
        request.request_id(),
    ];
    assert_eq!(texts, TEXTS);
    let fields: Vec<_> = request.fields().collect();
    assert_eq!(fields, [(&b"host"[..], &b"h"[..]), (b"x-empty", b"")]);
    assert_eq!(request.field(b"host"), Some(&b"h"[..]));
    assert_eq!(request.field(b"accept"), None);
    assert_eq!(request.body_start(), b"beginning");
    let (bytes, start) = request.take_payload();
    assert_eq!(&bytes[start..], b"beginning");
}

#[test]
fn requests_that_mean_nothing() {
    let check = |start| assert!(Request::read(payload(start, 0, TEXTS, &[])).is_err(), "{start:?}");
    check([3, 0, 0, 0]);
    check([1, 2, 0, 0]);
    check([1, 0, 3, 0]);
}

#[test]
fn every_golden_frame_of_the_gateway_is_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/frames");
    let mut kinds: HashMap<u8, usize> = HashMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = read_hex(&fs::read_to_string(&path).unwrap());
        let header = Header::read(&bytes).unwrap().unwrap();
        assert_eq!(bytes.len(), HEADER + header.length, "{}", path.display());
        assert_eq!(&header.bytes()[..], &bytes[..HEADER], "{}", path.display());
        *kinds.entry(bytes[4]).or_default() += 1;
        let payload = &bytes[HEADER..];
        match header.kind {
            Kind::Request => drop(Request::read(payload.to_vec()).expect("a request")),
            Kind::CreditIn => drop(read_credit(payload).expect("credit")),
            Kind::Hello => drop(read_hello(payload).expect("a greeting")),
            _ => {}
        }
    }
    assert!(kinds.len() >= 6, "the golden frames were not found: {kinds:?}");
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _header = Header::read(&bytes);
        let _hello = read_hello(&bytes);
        let _credit = read_credit(&bytes);
        if let Ok(request) = Request::read(bytes) {
            let fields = request.fields().count();
            prop_assert!(fields <= 200);
        }
    }

    #[test]
    fn a_request_cut_anywhere_is_an_error(cut in 0_usize..100) {
        let whole = payload([1, 0, 0, 0], 0, TEXTS, &[(b"host", b"h"), (b"accept", b"*/*")]);
        prop_assume!(cut < whole.len());
        prop_assert!(Request::read(whole[..cut].to_vec()).is_err());
    }

    #[test]
    fn headers_come_back(length in 0_usize..=LARGEST, id in 0_u16..4096, is_last: bool) {
        let header = Header { length, kind: Kind::Request, is_last, id };
        prop_assert_eq!(Header::read(&header.bytes()), Ok(Some(header)));
    }
}
