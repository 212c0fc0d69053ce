//! Which header fields pass through, which end here, and which are ours to say.

mod answer;
mod forwarded;
mod onward;
#[cfg(test)]
mod tests;
mod trailers;

pub(super) use answer::AnswerFields;
pub(super) use forwarded::push_forwarded;
pub(super) use onward::{HostName, Onward};
pub(super) use trailers::{asks_for_trailers, may_trail};

/// What is done with a field of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    EndToEnd,
    /// About one connection (RFC 9110 7.6.1), or about framing, which is each connection's own.
    HopByHop,
    /// About where a request came from: said by us, believed from nobody here.
    Provenance,
    /// Between the gateway and who stands behind it.
    Ours,
    /// Which trace a request belongs to (W3C Trace Context).
    Trace,
    Host,
    Cookie,
    SetCookie,
    /// Of answers: the connection writes them.
    DateOrServer,
    ContentLength,
}

/// Sorts a name. `_` counts as `-`: an application that reads both as one must not be told by a
/// client what only we may say.
fn kind(name: &[u8]) -> Kind {
    use Kind::{
        ContentLength, Cookie, DateOrServer, EndToEnd, HopByHop, Host, Provenance, SetCookie, Trace,
    };
    let is = |known: &[u8]| is_same(name, known);
    match name.len() {
        2 if is(b"te") => HopByHop,
        4 if is(b"host") => Host,
        4 if is(b"date") => DateOrServer,
        5 if is(b"proxy") => HopByHop,
        6 if is(b"cookie") => Cookie,
        6 if is(b"expect") => HopByHop,
        6 if is(b"server") => DateOrServer,
        7 if is(b"trailer") || is(b"upgrade") => HopByHop,
        9 if is(b"forwarded") || is(b"x-real-ip") => Provenance,
        10 if is(b"connection") || is(b"keep-alive") => HopByHop,
        10 if is(b"set-cookie") => SetCookie,
        10 if is(b"tracestate") => Trace,
        11 if is(b"traceparent") => Trace,
        12 if is(b"x-request-id") => Provenance,
        14 if is(b"content-length") => ContentLength,
        14 if is(b"http2-settings") => HopByHop,
        16 if is(b"proxy-connection") => HopByHop,
        17 if is(b"transfer-encoding") => HopByHop,
        18 if is(b"proxy-authenticate") => HopByHop,
        19 if is(b"proxy-authorization") => HopByHop,
        _ if begins(name, b"x-forwarded-") => Provenance,
        _ if begins(name, b"perijove-") => Kind::Ours,
        _ => EndToEnd,
    }
}

/// Whether a name is `known` (in lower case), with `_` read as `-`.
fn is_same(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len() && name.iter().zip(known).all(|(b, k)| normal(*b) == *k)
}

fn begins(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|start| is_same(start, prefix))
}

fn normal(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

/// Whether a Connection field's list names a field that we would let pass otherwise.
fn names_a_field(list: &[u8]) -> bool {
    tokens(list).any(|token| {
        !token.is_empty() && !token.eq_ignore_ascii_case(b"close") && kind(token) != Kind::HopByHop
    })
}

/// Whether a Connection field's list holds a name.
fn list_names(list: &[u8], name: &[u8]) -> bool {
    tokens(list).any(|token| token.eq_ignore_ascii_case(name))
}

fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|b| *b == b',').map(<[u8]>::trim_ascii)
}
