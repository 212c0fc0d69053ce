//! From one address to another: to HTTPS, or where a rule says.

use std::{fmt::Write, pin::Pin, sync::Arc};

use crate::{Head, Response, Route, Service, ServiceRequest, Target};

impl Route {
    /// Sends everything to the same place under HTTPS, at a port.
    pub fn to_https(port: u16) -> Self {
        Self::new(Target::Service(Arc::new(ToHttps { port })))
    }
}

#[derive(Debug)]
struct ToHttps {
    port: u16,
}

impl Service for ToHttps {
    fn call(&self, request: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        let location = location(&request.client.host, self.port, request.head.target());
        Box::pin(async move {
            match location {
                Some(location) => Response::redirect(308, &location),
                None => Response::new(400, "text/plain; charset=utf-8", "no host was named\n"),
            }
        })
    }
}

/// 308 keeps method and body; a target that is no path leads to the root.
fn location(host: &str, port: u16, target: &[u8]) -> Option<String> {
    let name = match host.rfind(':') {
        Some(at) if !host.get(at..)?.contains(']') => host.get(..at)?,
        Some(_) | None => host,
    };
    if name.is_empty() {
        return None;
    }
    let mut location = match port {
        443 => format!("https://{name}"),
        port => format!("https://{name}:{port}"),
    };
    push_target(&mut location, if target.starts_with(b"/") { target } else { b"/" });
    Some(location)
}

/// A location is ASCII: other bytes of a target, which browsers may send, are encoded.
fn push_target(location: &mut String, target: &[u8]) {
    for byte in target {
        match byte {
            b'!'..=b'~' => location.push(char::from(*byte)),
            // Writing to a string does not fail.
            _ => drop(write!(location, "%{byte:02X}")),
        }
    }
}

/// Where what lay below one path lies now.
#[derive(Clone, Debug)]
pub struct Moved {
    status: u16,
    /// The route's path, without a slash at its end.
    from: String,
    /// The new address, cut where a part of the request's target is to be put.
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    /// `{path}`: path and query, as they were sent.
    Path,
    /// `{rest}`: the same, without the route's path and the slash behind it.
    Rest,
}

impl Moved {
    /// `to` is an address or a path, in which `{path}` is the path and query of the request and
    /// `{rest}` what of them stands behind `from`. Without either, all lead to the same place.
    pub fn new(status: u16, from: &str, to: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = to;
        while !rest.is_empty() {
            let next = [("{path}", Piece::Path), ("{rest}", Piece::Rest)]
                .into_iter()
                .filter_map(|(name, piece)| Some((rest.find(name)?, name.len(), piece)))
                .min_by_key(|(at, ..)| *at);
            let (at, length, piece) = next.unwrap_or((rest.len(), 0, Piece::Text(String::new())));
            let (text, behind) = rest.split_at(at);
            pieces.push(Piece::Text(text.to_owned()));
            pieces.push(piece);
            rest = behind.get(length..).unwrap_or_default();
        }
        Self { status, from: from.trim_end_matches('/').to_owned(), pieces }
    }

    pub(crate) fn answer(&self, head: &Head) -> Response {
        Response::redirect(self.status, &self.location(head.target()))
    }

    fn location(&self, target: &[u8]) -> String {
        let target = if target.starts_with(b"/") { target } else { b"/" };
        // The route was found by a path that may be written in another way than its own.
        let rest = target.strip_prefix(self.from.as_bytes()).unwrap_or_default();
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let mut location = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => location.push_str(text),
                Piece::Path => push_target(&mut location, target),
                Piece::Rest => {
                    if ends_with_host(&location) {
                        // What a client writes must not become a part of the name.
                        location.push('/');
                    }
                    push_target(&mut location, rest);
                }
            }
        }
        // A path that begins with two slashes, or what browsers take for them, is another host.
        let is_slash = |letter: char| matches!(letter, '/' | '\\');
        if location.starts_with(is_slash) {
            location = format!("/{}", location.trim_start_matches(is_slash));
        }
        location
    }
}

/// Whether a location ends amid or behind the name of a host.
fn ends_with_host(location: &str) -> bool {
    location.split_once("://").is_some_and(|(_, rest)| !rest.contains(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::{Moved, location};

    #[test]
    fn the_same_place_by_https() {
        let check = |host, port, target: &str, expected: &str| {
            assert_eq!(location(host, port, target.as_bytes()).as_deref(), Some(expected));
        };
        check("site.example", 443, "/a?b=c", "https://site.example/a?b=c");
        check("site.example:80", 8443, "/", "https://site.example:8443/");
        check("[::1]:80", 443, "/", "https://[::1]/");
        check("[::1]", 443, "/", "https://[::1]/");
        check("site.example", 443, "*", "https://site.example/");
        check("site.example", 443, "/\u{e9}", "https://site.example/%C3%A9");
        assert_eq!(location("", 443, b"/"), None);
    }

    #[test]
    fn what_has_moved_is_found_where_it_lies_now() {
        let check = |from: &str, to: &str, target: &str, expected: &str| {
            let moved = Moved::new(308, from, to);
            assert_eq!(moved.location(target.as_bytes()), expected, "{from} {to} {target}");
        };
        check("/", "https://example.com{path}", "/a/b?c=d", "https://example.com/a/b?c=d");
        check("/", "https://example.com{path}", "/", "https://example.com/");
        check("/", "https://example.com/", "/a/b?c=d", "https://example.com/");
        check("/old/", "/new/{rest}", "/old/a?b=c", "/new/a?b=c");
        check("/old", "/new/{rest}", "/old", "/new/");
        check("/old", "/new{rest}", "/old?a=b", "/new?a=b");
        check("/old/", "/{rest}?from={path}", "/old/x", "/x?from=/old/x");
        check("/", "https://example.com{path}", "*", "https://example.com/");
        check(
            "/",
            "https://example.com{path}",
            "/\u{e9} \r\n",
            "https://example.com/%C3%A9%20%0D%0A",
        );
        // Nobody is sent to a host that a request names.
        check("/old/", "/{rest}", "/old//evil.example", "/evil.example");
        check("/old/", "/{rest}", "/old/\\evil.example", "/evil.example");
        check("/", "{path}", "//evil.example", "/evil.example");
        let evil = "/old/.evil.example";
        check("/old/", "https://example.com{rest}", evil, "https://example.com/.evil.example");
        check("/old/", "https://example.com{rest}", "/old/?a", "https://example.com/?a");
        check("/ol d/", "/{rest}", "/ol%20d/x", "/");
    }
}
