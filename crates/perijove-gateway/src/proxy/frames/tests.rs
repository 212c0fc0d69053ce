use std::{fs, path::PathBuf};

use proptest::prelude::*;

use super::{
    BodyLength, FrameError, HEADER, Header, Kind, LARGEST, Ready, RequestStart, RequestWriter,
    read_credit, read_file, read_ready, read_response, read_tray, write_body, write_cancel,
    write_credit, write_hello, write_open, write_tray,
};

/// The bytes of a golden frame.
fn golden(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/frames"));
    let text = fs::read_to_string(folder.join(format!("{name}.hex"))).unwrap();
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Holds what we write for a case to the golden data of that name.
#[track_caller]
fn check_written(name: &str, write: impl FnOnce(&mut Vec<u8>)) {
    let mut written = Vec::new();
    write(&mut written);
    assert_eq!(written, golden(name), "{name}");
}

const GET: RequestStart<'static> = RequestStart {
    version: 1,
    is_https: true,
    body: BodyLength::None,
    port: 443,
    method: b"GET",
    mount: b"",
    target: b"/caf%C3%A9?a=b",
    server: b"example.org",
    client: b"192.0.2.1",
    client_port: b"50123",
    request_id: b"r-1",
};

#[test]
fn what_the_gateway_writes_is_what_workers_read() {
    check_written("hello", |out| write_hello(out, "secret"));
    check_written("request-get", |out| {
        let mut request = RequestWriter::new(out, 5, &GET);
        request.field(b"Host", b"example.org");
        request.field(b"X-Latin", b"caf\xe9");
        assert!(request.finish(b"", true));
    });
    check_written("request-post-inline", |out| {
        let start = RequestStart {
            version: 2,
            is_https: false,
            body: BodyLength::Known(11),
            port: 8000,
            method: b"POST",
            mount: b"/shop",
            target: b"/shop/orders",
            client: b"",
            client_port: b"",
            ..GET
        };
        let mut request = RequestWriter::new(out, 4095, &start);
        request.field(b"host", b"example.org:8000");
        request.field(b"Content-Type", b"text/plain");
        request.field(b"X-Empty", b"");
        assert!(request.finish(b"hello", false));
    });
    check_written("request-unknown-length", |out| {
        let start = RequestStart { body: BodyLength::Unknown, method: b"PUT", ..GET };
        assert!(RequestWriter::new(out, 0, &start).finish(b"", false));
    });
    check_written("body-end", |out| write_body(out, 4095, true, b" world"));
    check_written("credit", |out| write_credit(out, 7, 65_536));
    check_written("open", |out| {
        let request = golden("request-get");
        out.extend(write_open("secret", &request[HEADER..]).unwrap());
    });
    check_written("cancel", |out| write_cancel(out, 3));
    check_written("tray-for-request", |out| write_tray(out, 3, true, 31, 102_400));
}

/// Header and payload of a golden frame of a worker.
fn read(name: &str) -> (Header, Vec<u8>) {
    let bytes = golden(name);
    let header = Header::read(&bytes).unwrap().unwrap();
    assert_eq!(header.length, bytes.len() - HEADER, "{name}");
    (header, bytes[HEADER..].to_vec())
}

#[test]
fn what_workers_write_is_read() {
    let check = |name, kind, is_last, id| {
        let (header, payload) = read(name);
        assert_eq!((header.kind, header.is_last, header.id), (kind, is_last, id), "{name}");
        payload
    };
    let ready = |threads, takes_trays| Ok(Ready { threads, takes_trays });
    assert_eq!(read_ready(&check("ready", Kind::Ready, false, 0)), ready(4, true));
    assert_eq!(read_ready(&check("ready-without-flags", Kind::Ready, false, 0)), ready(4, false));
    assert_eq!(read_ready(&check("ready-asgi", Kind::Ready, false, 0)), ready(1000, false));
    assert_eq!(check("entered", Kind::Entered, false, 0), b"");
    let payload = check("response", Kind::Response, true, 7);
    assert_eq!(read_response(&payload), Some((200, 46)));
    assert_eq!(&payload[8 + 46..], b"Hello, world!");
    let payload = check("response-streamed", Kind::Response, false, 4095);
    assert_eq!(read_response(&payload), Some((404, payload.len() - 8)));
    assert_eq!(read_response(&check("response-empty", Kind::Response, true, 1)), Some((204, 0)));
    assert_eq!(check("body", Kind::Body, false, 4095), b"first piece");
    assert_eq!(check("body-last", Kind::Body, true, 4095), b"");
    assert_eq!(read_file(&check("file", Kind::File, true, 12)), Ok((4096, 10 << 20)));
    assert_eq!(read_credit(&check("credit-for-request", Kind::Credit, false, 3)), Ok(262_144));
    assert_eq!(read_tray(&check("tray", Kind::Tray, true, 12)), Ok((2, 131_072)));
    assert_eq!(check("reset", Kind::Reset, true, 3), b"cancelled");
}

#[test]
fn what_is_no_frame_of_a_worker_is_refused() {
    let check = |bytes: &[u8; HEADER], expected| assert_eq!(Header::read(bytes), Err(expected));
    check(&[1, 0, 4, 0, 17, 0, 0, 0, 0, 0, 0, 0], FrameError::TooLong(262_145));
    check(&[0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], FrameError::UnknownKind(2));
    check(&[0, 0, 0, 0, 17, 0, 0, 0, 0, 16, 0, 0], FrameError::WrongId(4096));
    check(&[0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 1, 0], FrameError::WrongId(65_536));
    assert_eq!(read_ready(&[2, 1, 0]), Err(FrameError::WrongVersion(2)));
    assert_eq!(read_ready(&[1, 1]), Err(FrameError::Malformed("READY")));
    assert_eq!(read_file(&[0; 15]), Err(FrameError::Malformed("FILE")));
    assert_eq!(read_tray(&[0; 7]), Err(FrameError::Malformed("TRAY")));
    assert_eq!(read_credit(&[0; 5]), Err(FrameError::Malformed("CREDIT")));
    assert_eq!(read_response(&[0; 7]), None);
}

#[test]
fn a_request_that_fits_no_frame_leaves_nothing() {
    let target = vec![b'a'; 70_000];
    let mut out = b"before".to_vec();
    let start = RequestStart { target: &target, ..GET };
    assert!(!RequestWriter::new(&mut out, 1, &start).finish(b"", true));
    let mut request = RequestWriter::new(&mut out, 1, &GET);
    request.field(b"a", &vec![b'a'; LARGEST]);
    assert!(!request.finish(b"", true));
    assert_eq!(out, b"before");
}

proptest! {
    #[test]
    fn no_bytes_break_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _header = Header::read(&bytes);
        let _ready = read_ready(&bytes);
        let _response = read_response(&bytes);
        let _file = read_file(&bytes);
        let _tray = read_tray(&bytes);
        let _credit = read_credit(&bytes);
    }
}
