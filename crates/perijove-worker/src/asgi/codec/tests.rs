use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use proptest::prelude::*;

use super::{Came, Codec, Found};

const LIMIT: usize = 1000;

/// A codec, and the client's end of its socket.
fn pair() -> (Codec, UnixStream) {
    let (server, client) = UnixStream::pair().unwrap();
    server.set_nonblocking(true).unwrap();
    client.set_nonblocking(true).unwrap();
    (Codec::new(server.into(), LIMIT), client)
}

/// A client's frame: first byte, payload, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    if let Ok(length @ 0..=125) = u8::try_from(payload.len()) {
        bytes.push(0x80 | length);
    } else {
        bytes.push(0x80 | 0x7e);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    }
    let mask = [1, 2, 3, 4];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn text(text: &str) -> Came {
    Came::Text(text.into())
}

fn closed(code: u16, reason: &str) -> Came {
    Came::Closed { code, reason: reason.to_owned() }
}

/// What the application hears of these bytes, and what the client is sent.
fn check(bytes: &[u8], expected: &[Came], answer: &[u8]) {
    let (mut codec, mut client) = pair();
    client.write_all(bytes).unwrap();
    let mut heard = Vec::new();
    while let Found::Came(came) = codec.next() {
        heard.push(came);
    }
    codec.flush();
    assert_eq!(heard, expected, "{bytes:x?}");
    let mut sent = vec![0; 4096];
    let count = client.read(&mut sent).unwrap_or(0);
    assert_eq!(&sent[..count], answer, "{bytes:x?}");
}

#[test]
fn messages_come_whole_or_in_fragments() {
    check(&frame(0x81, b"hello"), &[text("hello")], b"");
    check(&frame(0x82, b"\0\xff"), &[Came::Binary(vec![0, 0xff].into())], b"");
    check(&frame(0x81, b""), &[text("")], b"");
    let long = "x".repeat(700);
    check(&frame(0x81, long.as_bytes()), &[text(&long)], b"");
    let parts = [frame(0x01, "h\u{e9}".as_bytes()), frame(0x00, b"l"), frame(0x80, b"lo")];
    check(&parts.concat(), &[text("h\u{e9}llo")], b"");
    let cut = "\u{e9}".as_bytes();
    check(&[frame(0x01, &cut[..1]), frame(0x80, &cut[1..])].concat(), &[text("\u{e9}")], b"");
}

#[test]
fn pings_are_answered_even_amid_a_message() {
    check(&frame(0x89, b"now"), &[], b"\x8a\x03now");
    check(&frame(0x8a, b"unasked"), &[], b"");
    let parts = [frame(0x01, b"a"), frame(0x89, b""), frame(0x80, b"b")];
    check(&parts.concat(), &[text("ab")], b"\x8a\0");
}

#[test]
fn a_close_is_answered_with_its_code() {
    check(&frame(0x88, b"\x03\xe8bye"), &[closed(1000, "bye")], b"\x88\x05\x03\xe8bye");
    check(&frame(0x88, b""), &[closed(1005, "")], b"\x88\0");
    check(&frame(0x88, b"\x0f\xa1"), &[closed(4001, "")], b"\x88\x02\x0f\xa1");
}

#[test]
fn what_breaks_the_rules_is_closed() {
    let says = |code: u16, reason: &str| {
        let mut bytes = vec![0x88, u8::try_from(reason.len() + 2).unwrap()];
        bytes.extend(code.to_be_bytes());
        bytes.extend(reason.as_bytes());
        bytes
    };
    let broken = "this is not a websocket's frame";
    for wrong in [
        // Not masked.
        b"\x81\x01a".to_vec(),
        // Reserved bits, reserved opcodes.
        frame(0xc1, b"a"),
        frame(0x83, b"a"),
        frame(0x8b, b"a"),
        // A control frame that is fragmented, or too long.
        frame(0x09, b"a"),
        frame(0x89, &[b'a'; 126]),
        // A continuation of nothing, and a message amid another.
        frame(0x80, b"a"),
        [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
        // A close with half a code.
        frame(0x88, b"\x03"),
    ] {
        check(&wrong, &[closed(1002, broken)], &says(1002, broken));
    }
    let utf8 = "the text is not UTF-8";
    check(&frame(0x81, b"\xff"), &[closed(1007, utf8)], &says(1007, utf8));
    let early = [frame(0x01, b"\xff\xff")].concat();
    check(&early, &[closed(1007, utf8)], &says(1007, utf8));
    let long = "the message is too long";
    check(&frame(0x82, &[0; LIMIT + 1]), &[closed(1009, long)], &says(1009, long));
    let parts = [frame(0x02, &[0; LIMIT]), frame(0x80, &[0])];
    check(&parts.concat(), &[closed(1009, long)], &says(1009, long));
}

#[test]
fn a_peer_that_leaves_has_closed_abnormally() {
    let (mut codec, client) = pair();
    drop(client);
    assert_eq!(codec.next(), Found::Came(closed(1006, "")));
    assert_eq!(codec.next(), Found::Over);
}

#[test]
fn our_close_is_over_when_it_is_answered() {
    let (mut codec, mut client) = pair();
    codec.close(1001, "bye");
    assert_eq!(codec.next(), Found::Nothing);
    // What was under way is for nobody.
    client.write_all(&frame(0x81, b"late")).unwrap();
    client.write_all(&frame(0x88, b"\x03\xe9")).unwrap();
    assert_eq!(codec.next(), Found::Came(closed(1001, "")));
    assert_eq!(codec.next(), Found::Over);
    assert!(codec.send_text("late").is_err());
}

#[test]
fn what_the_peer_does_not_read_waits() {
    let (mut codec, mut client) = pair();
    let message = vec![7; 100_000];
    while !codec.is_full() {
        codec.send_binary(&message).unwrap();
    }
    assert!(codec.flush());
    let mut bytes = vec![0; 1 << 20];
    while codec.flush() {
        let _read = client.read(&mut bytes).unwrap();
    }
    assert!(!codec.is_blocked());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn messages_are_heard_alike_however_they_are_cut(
        parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 1..6),
        cut in 1_usize..40,
    ) {
        let (mut codec, mut client) = pair();
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (is_pinged, payload) in &parts {
            if *is_pinged {
                bytes.extend(frame(0x89, b""));
            }
            bytes.extend(frame(0x82, payload));
            expected.push(Came::Binary(payload.clone().into()));
        }
        let mut heard = Vec::new();
        for piece in bytes.chunks(cut) {
            client.write_all(piece).unwrap();
            while let Found::Came(came) = codec.next() {
                heard.push(came);
            }
        }
        prop_assert!(heard == expected);
    }

    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (mut codec, mut client) = pair();
        client.write_all(&bytes).unwrap();
        drop(client);
        let mut steps = 0;
        while codec.next() != Found::Over {
            steps += 1;
            prop_assert!(steps < 300);
        }
    }
}
