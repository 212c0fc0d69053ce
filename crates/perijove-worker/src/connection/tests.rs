//! Bytes into frames and frames into bytes, over real sockets that take and give little at a time.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

use proptest::prelude::*;
use rustix::fs::{MemfdFlags, memfd_create};

use super::*;
use crate::frames::{self, HEADER, Header};

/// Reads frames from bytes that arrive in parts of these sizes.
fn arrive(frames: &[(u16, usize)], parts: &[usize]) -> Vec<(u16, Vec<u8>)> {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut bytes = Vec::new();
    for (id, length) in frames {
        frames::write(&mut bytes, Kind::BodyIn, false, *id, &payload(*id, *length));
    }
    let mut incoming = Incoming::new();
    let mut read = Vec::new();
    let mut parts = parts.iter().copied().chain(std::iter::repeat(60_000));
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let part = parts.next().unwrap_or(1).clamp(1, rest.len());
        let written = ours.write(&rest[..part]).unwrap();
        rest = &rest[written..];
        loop {
            let more = incoming.read(&theirs).unwrap();
            while let Some((header, payload)) = incoming.next().unwrap() {
                assert_eq!(payload.len(), header.length);
                read.push((header.id, payload.into_owned()));
            }
            if !more {
                break;
            }
        }
    }
    read
}

fn payload(id: u16, length: usize) -> Vec<u8> {
    let byte = |at: usize| u8::try_from((at * 7 + usize::from(id)) % 251).unwrap();
    (0..length).map(byte).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn frames_arrive_whole_however_they_are_cut(
        frames in proptest::collection::vec((0_u16..100, prop_oneof![0..50_usize, 16_000..17_000_usize, 60_000..140_000_usize]), 0..8),
        parts in proptest::collection::vec(1_usize..70_000, 0..20),
    ) {
        let expected: Vec<_> = frames.iter().map(|(id, length)| (*id, payload(*id, *length))).collect();
        prop_assert!(arrive(&frames, &parts) == expected);
    }
}

#[test]
fn the_end_of_the_other_side_is_told() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut incoming = Incoming::new();
    assert!(!incoming.read(&theirs).unwrap());
    drop(ours);
    assert_eq!(incoming.read(&theirs).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

/// A sending end whose other side is to be read.
fn sending() -> (Connection, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let claims = memfd_create("claims", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&claims, frames::IDS as u64).unwrap();
    (Connection::new(Kept::new(ours.into()), Claims::map(&claims).unwrap(), None), theirs)
}

#[test]
fn what_is_put_in_line_is_sent_at_the_flush() {
    let (connection, mut theirs) = sending();
    theirs.set_nonblocking(true).unwrap();
    connection.reset(3, "why");
    assert!(theirs.read(&mut [0; 100]).is_err());
    assert!(!connection.flush());
    let mut received = [0; 100];
    let count = theirs.read(&mut received).unwrap();
    let header = Header { length: 3, kind: Kind::Reset, is_last: true, id: 3 };
    assert_eq!(received[..count], [&header.bytes()[..], b"why"].concat());
}

#[test]
fn a_frame_grows_and_ends_until_it_is_sent() {
    let (connection, mut theirs) = sending();
    let at = connection.put(|to| {
        let at = to.position();
        to.frame(Kind::BodyOut, false, 1, b"one");
        at
    });
    assert!(connection.put(|to| to.extend(at, b" two", false)));
    assert!(connection.put(|to| to.mark_last(at)));
    connection.flush();
    assert!(!connection.put(|to| to.extend(at, b"late", false)));
    assert!(!connection.put(|to| to.mark_last(at)));
    let mut received = [0; HEADER + 7];
    theirs.read_exact(&mut received).unwrap();
    let header = Header { length: 7, kind: Kind::BodyOut, is_last: true, id: 1 };
    assert_eq!(received, *[&header.bytes()[..], b"one two"].concat());
}

#[test]
fn only_the_last_frame_in_line_grows() {
    let (connection, _theirs) = sending();
    connection.put(|to| {
        let at = to.position();
        to.frame(Kind::BodyOut, false, 1, b"one");
        to.frame(Kind::BodyOut, false, 2, b"other");
        assert!(!to.extend(at, b" two", false));
        assert!(to.mark_last(at));
    });
}

#[test]
fn long_bodies_pass_a_socket_that_takes_little() {
    let (connection, mut theirs) = sending();
    let body = payload(5, 3_000_000);
    let reader = std::thread::spawn(move || {
        let mut received = vec![0; 3 + 4 + 3_000_000 + 2 * HEADER];
        theirs.read_exact(&mut received).unwrap();
        received
    });
    connection.reset(1, "one");
    connection.send(b"head", &body);
    connection.reset(2, "");
    while connection.backlog() > 0 {
        connection.push();
    }
    let received = reader.join().unwrap();
    let start = HEADER + 3;
    assert_eq!(&received[HEADER..start + 4], b"onehead");
    assert!(received[start + 4..start + 4 + body.len()] == body);
}

#[test]
fn descriptors_travel_with_their_frames() {
    let (connection, theirs) = sending();
    for id in 0..3 {
        let file = memfd_create("file", MemfdFlags::CLOEXEC).unwrap();
        File::from(file.try_clone().unwrap()).write_all(&[b'a' + id]).unwrap();
        connection.put(|to| {
            to.frame(Kind::BodyOut, false, id.into(), b"before");
            to.file(true, id.into(), file, 0, 1);
        });
    }
    assert!(!connection.flush());
    let (mut seen, mut rest) = (Vec::new(), Vec::new());
    while seen.len() < 3 {
        let mut bytes = [0; 4096];
        let (count, descriptor) = receive_greeting(&theirs, &mut bytes).unwrap();
        rest.extend_from_slice(&bytes[..count]);
        if let Some(file) = descriptor {
            let mut byte = [0];
            rustix::io::pread(&file, &mut byte, 0).unwrap();
            seen.push(byte[0]);
        }
    }
    assert_eq!(seen, b"abc");
}

#[test]
fn a_gateway_that_is_gone_is_noticed() {
    let (connection, theirs) = sending();
    drop(theirs);
    connection.reset(1, "x");
    connection.flush();
    assert!(connection.is_gone());
}

#[test]
fn a_claim_is_taken_once() {
    let file = memfd_create("claims", MemfdFlags::CLOEXEC).unwrap();
    assert!(Claims::map(&file).is_err(), "an empty file");
    rustix::fs::ftruncate(&file, frames::IDS as u64).unwrap();
    let claims = Claims::map(&file).unwrap();
    rustix::io::pwrite(&file, &[2], 9).unwrap();
    let taken = [8, 8, 9, 4095, 4096].map(|id| claims.enter(id));
    assert_eq!(taken, [true, false, false, true, false]);
    let mut bytes = [0; 2];
    rustix::io::pread(&file, &mut bytes, 8).unwrap();
    assert_eq!(bytes, [1, 2]);
}
