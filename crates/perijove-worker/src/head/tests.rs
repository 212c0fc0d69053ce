//! Heads of answers: what passes, what is refused, what is left out.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(headers: &[(&str, &str)], expected: &[u8]) {
    let mut head = Head::new("200 OK").unwrap();
    for (name, value) in headers {
        head.add(name, value).unwrap();
    }
    assert_eq!(head.fields, expected, "{}", String::from_utf8_lossy(&head.fields));
}

#[track_caller]
fn check_refused(name: &str, value: &str, expected: HeadError) {
    assert_eq!(Head::new("200 OK").unwrap().add(name, value), Err(expected));
}

#[test]
fn fields_are_written_as_they_are_sent() {
    check(&[], b"");
    check(&[("X", "y"), ("x", "z")], b"X: y\r\nx: z\r\n");
    check(&[("X", " \ty z\t ")], b"X: y z\r\n");
    check(&[("X", "")], b"X: \r\n");
    check(&[("X", "a\tb")], b"X: a\tb\r\n");
    check(&[("X", "caf\u{e9}")], b"X: caf\xe9\r\n");
    check(&[("Content-Length", "5"), ("content-length", "5")], b"Content-Length: 5\r\n");
}

#[test]
fn what_is_about_the_connection_is_left_out() {
    for name in OF_THE_CONNECTION {
        check(&[(name, "x"), (&name.to_uppercase(), "x")], b"");
    }
    check(&[("Upgraded", "x"), ("Tea", "x")], b"Upgraded: x\r\nTea: x\r\n");
}

#[test]
fn what_cannot_be_sent_is_refused() {
    for name in ["", "a b", "a:", "a\r\n", "\u{e9}", "a\0"] {
        check_refused(name, "x", HeadError::Name(name.to_owned()));
    }
    for character in ['\r', '\n', '\0', '\x7f', '\u{1}', '\u{100}', '\u{79c0}'] {
        let value = format!("a{character}b");
        check_refused("X", &value, HeadError::Value { name: "X".to_owned(), character });
        let latin = format!("\u{e9}{character}b");
        check_refused("X", &latin, HeadError::Value { name: "X".to_owned(), character });
    }
    for value in ["", "-1", "+1", "1,1", "0x1", "1 1", "99999999999999999999"] {
        check_refused("Content-Length", value, HeadError::Length(value.to_owned()));
    }
    let mut head = Head::new("200 OK").unwrap();
    head.set_length(3);
    assert_eq!(head.add("Content-Length", "4"), Err(HeadError::Lengths(3, 4)));
}

#[test]
fn statuses() {
    for (text, status) in [("200 OK", 200), ("204", 204), ("404 ", 404), ("599 caf\u{e9}", 599)] {
        assert_eq!(Head::new(text).map(|head| head.status), Ok(status));
    }
    for text in [
        "",
        "20",
        "2000 OK",
        "abc",
        "100 Continue",
        "199 x",
        "600 x",
        "999 x",
        "200\tOK",
        "200 a\r\nb",
        "+20 x",
        "\u{661}\u{661}\u{661}",
    ] {
        assert_eq!(Head::new(text), Err(HeadError::Status(text.to_owned())), "{text}");
    }
}

#[test]
fn a_length_is_told_once() {
    let mut head = Head::new("200 OK").unwrap();
    head.set_length(7);
    head.set_length(8);
    assert_eq!((head.length, &head.fields[..]), (Some(7), &b"Content-Length: 7\r\n"[..]));
}

proptest! {
    /// Nothing that an application says ends a field early or begins another.
    #[test]
    fn no_field_breaks_out(name in ".{0,12}", value in ".{0,24}") {
        let mut head = Head::new("200 OK").unwrap();
        if head.add(&name, &value).is_ok() && !head.fields.is_empty() {
            let (line, end) = head.fields.split_at(head.fields.len() - 2);
            prop_assert_eq!(end, b"\r\n");
            prop_assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            prop_assert!(line.starts_with(name.as_bytes()));
        }
    }
}

#[test]
fn headers_that_no_frame_could_carry_are_refused() {
    let mut head = Head::new("200 OK").unwrap();
    let value = "a".repeat(1000);
    let added = (0..1000).map(|at| head.add(&format!("X-{at}"), &value)).find(Result::is_err);
    assert_eq!(added, Some(Err(HeadError::TooLong)));
    assert!(head.fields.len() <= MOST && head.fields.ends_with(b"a\r\n"));
    let mut head = Head::of_status(200).unwrap();
    assert_eq!(head.add_bytes(b"x", &vec![b'a'; MOST]), Err(HeadError::TooLong));
}
