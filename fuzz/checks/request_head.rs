//! What must hold for any bytes that a client sends; used by the fuzzer and by an ordinary test.

use bytes::BytesMut;
use perijove_gateway::{Chunk, ChunkReader, Framing, Head, HeadLimits, HeadReader};

/// Nothing panics, pieces are read as the whole is, what is taken is clean, another parser reads
/// it alike, and made again from its parts it is the same.
pub(super) fn check(data: &[u8]) {
    let step = 1 + data.len() % 7;
    let (whole, pieces) = (read(data, usize::MAX), read(data, step));
    match (whole, pieces) {
        (Some((head, body)), Some((other, other_body))) => {
            assert_eq!(summary(&head), summary(&other));
            assert_eq!(body, other_body);
            check_parts(&head);
            check_witness(data, &head);
        }
        (None, None) => {}
        _ => panic!("in steps of {step} it is read in another way"),
    }
}

/// The head and what its body comes to; `None` for what is refused or not complete.
fn read(data: &[u8], step: usize) -> Option<(Head, Option<Vec<u8>>)> {
    let (mut reader, mut buffer) = (HeadReader::new(), BytesMut::new());
    let mut pieces = data.chunks(step);
    let head = loop {
        match reader.read(&mut buffer, HeadLimits::default()) {
            Ok(Some(head)) => break head,
            Ok(None) => buffer.extend_from_slice(pieces.next()?),
            Err(_) => return None,
        }
    };
    if head.framing() != Framing::Chunked {
        return Some((head, None));
    }
    let (mut chunks, mut body) = (ChunkReader::new(1 << 20), Vec::new());
    loop {
        match chunks.read(&mut buffer) {
            Ok(Chunk::Data(data)) => {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
            Ok(Chunk::End) => break,
            Ok(Chunk::More) => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => return Some((head, None)),
            },
            Err(_) => return Some((head, None)),
        }
    }
    assert!(body.len() <= 1 << 20);
    Some((head, Some(body)))
}

fn summary(head: &Head) -> impl PartialEq + std::fmt::Debug {
    let fields: Vec<_> =
        head.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let target = (head.target().to_vec(), head.path().to_vec(), head.query().map(<[u8]>::to_vec));
    let host = head.host().map(str::to_owned);
    (head.method().to_owned(), target, head.version(), host, head.framing(), fields)
}

fn check_parts(head: &Head) {
    let is_control = |b: &u8| b.is_ascii_control() && *b != b'\t';
    assert!(!head.method().is_empty() && !head.target().is_empty());
    assert!(!head.target().iter().any(|b| is_control(b) || matches!(b, b' ' | b'\t' | b'#')));
    assert!(head.target().starts_with(b"/") || head.target() == b"*");
    assert!(head.version() == 0 || head.host().is_some());
    for (name, value) in head.fields() {
        assert!(!name.is_empty() && !name.iter().any(|b| b" \t:".contains(b) || is_control(b)));
        assert!(!value.iter().any(is_control));
        assert_eq!(value.trim_ascii(), value);
    }
    if head.version() == 1 {
        let fields: Vec<_> = head.fields().collect();
        let again = Head::from_parts(head.method(), head.target(), &fields);
        let again = again.expect("its parts are valid");
        // An absolute form was reduced to the origin form; Host names the same host.
        assert_eq!(again.target(), head.target());
        assert_eq!(again.framing(), head.framing());
        assert_eq!(again.fields().collect::<Vec<_>>(), fields);
    }
}

/// What we take, httparse takes as well and finds the same in it. It wants UTF-8 in targets, and
/// skips more empty lines than one.
fn check_witness(data: &[u8], head: &Head) {
    let ascii: Vec<u8> = data.iter().map(|b| if b.is_ascii() { *b } else { b'x' }).collect();
    let mut fields = vec![httparse::EMPTY_HEADER; 256];
    let mut witness = httparse::Request::new(&mut fields);
    let status = witness.parse(&ascii).expect("another parser takes it too");
    assert!(status.is_complete());
    assert_eq!(witness.method, Some(head.method()));
    assert_eq!(witness.version, Some(head.version()));
    assert_eq!(witness.headers.len(), head.fields().count());
    for (theirs, (name, value)) in witness.headers.iter().zip(head.fields()) {
        assert_eq!(theirs.name.as_bytes(), name);
        assert_eq!(theirs.value.trim_ascii().len(), value.len());
    }
}
