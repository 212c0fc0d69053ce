//! Fields that come behind an answer's body: who wants them, and which may come there.

use super::{Kind, is_same, kind, tokens};

/// What must be known before the body, or says who may see it (RFC 9110 6.5.1), in lower case.
const BEFORE_THE_BODY: [&[u8]; 18] = [
    b"accept-ranges",
    b"age",
    b"authorization",
    b"cache-control",
    b"clear-site-data",
    b"content-encoding",
    b"content-range",
    b"content-security-policy",
    b"content-type",
    b"etag",
    b"expires",
    b"last-modified",
    b"location",
    b"pragma",
    b"retry-after",
    b"vary",
    b"warning",
    b"www-authenticate",
];

/// Whether a TE field says that trailers are understood (RFC 9110 10.1.4).
pub(in crate::proxy) fn asks_for_trailers(value: &[u8]) -> bool {
    tokens(value).any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

/// Whether a field may come behind the body.
pub(in crate::proxy) fn may_trail(name: &[u8]) -> bool {
    matches!(kind(name), Kind::EndToEnd)
        && !BEFORE_THE_BODY.iter().any(|known| is_same(name, known))
}

#[cfg(test)]
mod tests {
    use super::{asks_for_trailers, may_trail};

    #[test]
    fn trailers_are_asked_for_by_name() {
        let check = |value: &str, expected| {
            assert_eq!(asks_for_trailers(value.as_bytes()), expected, "{value}");
        };
        check("trailers", true);
        check("gzip;q=0.5, Trailers", true);
        check("", false);
        check("gzip", false);
        check("trailers-not", false);
    }

    #[test]
    fn what_matters_before_the_body_does_not_come_behind_it() {
        let check = |name: &str, expected| {
            assert_eq!(may_trail(name.as_bytes()), expected, "{name}");
        };
        check("Checksum", true);
        check("grpc-status", true);
        check("Server-Timing", true);
        check("Content-Type", false);
        check("content_type", false);
        check("Set-Cookie", false);
        check("Content-Length", false);
        check("Transfer-Encoding", false);
        check("Connection", false);
        check("Location", false);
        check("Perijove-Subject", false);
        check("Trailer", false);
    }
}
