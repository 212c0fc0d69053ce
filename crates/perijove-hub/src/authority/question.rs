//! How a request is put to the site as a question: a GET of the same target, without a body.

use perijove_gateway::{Client, Head};

/// Fields that are left out, so that no 304, no check against forgery and no reader of bodies
/// stumbles over a question.
const LEFT_OUT: [&str; 9] = [
    "accept-encoding",
    "connection",
    "expect",
    "keep-alive",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const LEFT_OUT_BEGINNINGS: [&str; 4] = ["content-", "if-", "perijove-", "sec-websocket-"];

/// Whether the site sees this field of a request.
pub(super) fn is_shown(name: &[u8]) -> bool {
    // The site may see `_` as `-`.
    let name: Vec<u8> =
        name.iter().map(|b| if *b == b'_' { b'-' } else { b.to_ascii_lowercase() }).collect();
    !LEFT_OUT.iter().any(|out| out.as_bytes() == name)
        && !LEFT_OUT_BEGINNINGS.iter().any(|out| name.starts_with(out.as_bytes()))
}

/// The question; `None` when it would be larger than a head may be.
pub(super) fn put(head: &Head, client: &Client) -> Option<Head> {
    let mut fields: Vec<(&[u8], &[u8])> =
        head.fields().filter(|(name, _)| is_shown(name)).collect();
    // HTTP/1.0 may come without.
    if head.get("host").is_none() {
        fields.push((b"Host", client.host.as_bytes()));
    }
    fields.push((b"Perijove-Question", b"notebook"));
    fields.push((b"Perijove-Method", head.method().as_bytes()));
    Head::from_parts("GET", head.target(), &fields).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_get_without_conditions() {
        let asked: Vec<(&[u8], &[u8])> = vec![
            (b"Host", b"site.example"),
            (b"Cookie", b"session=1"),
            (b"Authorization", b"Basic x"),
            (b"Accept", b"*/*"),
            (b"Accept-Encoding", b"br"),
            (b"If-None-Match", b"\"x\""),
            (b"Range", b"bytes=0-1"),
            (b"Content-Length", b"3"),
            (b"Content-Type", b"application/json"),
            (b"Expect", b"100-continue"),
            (b"Connection", b"Upgrade"),
            (b"Upgrade", b"websocket"),
            (b"Sec-WebSocket-Key", b"x"),
            (b"Perijove-Method", b"GET"),
            (b"Perijove_Question", b"notebook"),
            (b"X-Forwarded-For", b"10.0.0.1"),
        ];
        let head = Head::from_parts("PUT", b"/notebook/ada/api/contents/a?x=1", &asked).unwrap();
        let client = super::super::tests::client();
        let question = put(&head, &client).unwrap();
        assert_eq!(question.method(), "GET");
        assert_eq!(question.target(), b"/notebook/ada/api/contents/a?x=1");
        let fields: Vec<_> = question
            .fields()
            .map(|(name, value)| {
                format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            })
            .collect();
        let expected = [
            "Host=site.example",
            "Cookie=session=1",
            "Authorization=Basic x",
            "Accept=*/*",
            "X-Forwarded-For=10.0.0.1",
            "Perijove-Question=notebook",
            "Perijove-Method=PUT",
        ];
        assert_eq!(fields, expected);
    }
}
