//! A program that is somewhere else than it thinks: the paths of requests to it, and where its
//! answers lead.

use crate::{FieldBlock, Head, error::Fault};

/// From the path that clients see to that of the upstream, and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// What clients see, without a slash at its end.
    here: String,
    /// What the upstream sees, the same.
    there: String,
    /// Hosts with their ports, in lower case, by which the upstream may name itself.
    names: Vec<String>,
}

/// Fields of answers that hold an address.
const ADDRESSES: [&str; 2] = ["Location", "Content-Location"];

impl Relocation {
    /// What clients see below `here` lies below `there` at the upstream, whose own names, each with
    /// a port, are `names`.
    pub fn new(here: &str, there: &str, names: impl IntoIterator<Item = String>) -> Self {
        let bare = |path: &str| path.trim_end_matches('/').to_owned();
        let names = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { here: bare(here), there: bare(there), names }
    }

    /// The same request as the upstream knows it.
    ///
    /// # Errors
    /// When the path is spelled so that nobody can tell what lies behind the part that changes, or
    /// leads out of it.
    pub(crate) fn outward(&self, head: &Head) -> Result<Head, Fault> {
        let target = head.target();
        if self.here == self.there || !target.starts_with(b"/") {
            return Ok(head.clone());
        }
        let rest = behind(target, &self.here)
            .filter(|rest| !leads_up(rest))
            .ok_or_else(|| Fault::client(400, "the path can be read in more than one way"))?;
        let moved = joined(&self.there, rest);
        let fields: Vec<_> = head.fields().collect();
        Ok(Head::from_parts(head.method(), &moved, &fields)?.with_version(head.version()))
    }

    /// Changes the addresses in an answer to those that clients see. `host` is what the client has
    /// named.
    pub(crate) fn inward(&self, fields: &mut FieldBlock, host: &str) {
        for name in ADDRESSES {
            if let Some(moved) = fields.get(name).and_then(|value| self.seen(value, host)) {
                fields.set(name, moved);
            }
        }
    }

    /// An address as clients see it; `None` when it stays as it is.
    fn seen(&self, address: &[u8], host: &str) -> Option<Vec<u8>> {
        let (origin, path) = split(address);
        let is_clients = origin.is_empty() || origin.is(host);
        if !is_clients && !self.names.iter().any(|name| origin.is_named(name)) {
            return None;
        }
        let path = if path.is_empty() { b"/" } else { path };
        let path = joined(&self.here, behind(path, &self.there)?);
        Some(if is_clients { [origin.text, &path].concat() } else { path })
    }
}

/// What of a target stands behind a path, whose letters may be percent-encoded in it.
fn behind<'t>(target: &'t [u8], path: &str) -> Option<&'t [u8]> {
    let mut rest = target;
    let mut path = path.as_bytes();
    while !path.is_empty() {
        let (found, after) = letter(rest)?;
        let (expected, left) = letter(path)?;
        if found != expected {
            return None;
        }
        (rest, path) = (after, left);
    }
    matches!(rest.first(), None | Some(b'/' | b'?' | b'#')).then_some(rest)
}

/// The first letter, percent-encoding taken off.
fn letter(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match text {
        [b'%', high, low, rest @ ..] => Some((digit(*high)? << 4 | digit(*low)?, rest)),
        [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

/// Whether a path may be read as one that leads up and out of the folder it is put into.
fn leads_up(rest: &[u8]) -> bool {
    let path = rest.split(|byte| *byte == b'?').next().unwrap_or_default();
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) =
        letter(rest).or_else(|| rest.split_first().map(|(b, r)| (*b, r)))
    {
        plain.push(byte);
        rest = after;
    }
    // Some programs take what follows a semicolon off each part.
    let parts = plain.split(|byte| matches!(byte, b'/' | b'\\'));
    parts.map(|part| part.split(|byte| *byte == b';').next()).any(|part| part == Some(b".."))
}

/// A path without a slash at its end, and what stands behind it.
fn joined(path: &str, rest: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if path.is_empty() && !rest.starts_with(b"/") { b"/" } else { b"" };
    // Two slashes at the front would be a host.
    let rest = match rest {
        [b'/', b'/' | b'\\', ..] if path.is_empty() => {
            let at = rest.iter().position(|byte| !matches!(byte, b'/' | b'\\'));
            rest.get(at.unwrap_or(rest.len()) - 1..).unwrap_or_default()
        }
        rest => rest,
    };
    [slash, path.as_bytes(), rest].concat()
}

/// Scheme and host of an address; empty when there is none.
struct Origin<'a> {
    text: &'a [u8],
    authority: &'a [u8],
    port: &'static str,
}

fn split(address: &[u8]) -> (Origin<'_>, &[u8]) {
    let begins = |scheme: &str| {
        let front = address.get(..scheme.len());
        front.is_some_and(|front| front.eq_ignore_ascii_case(scheme.as_bytes()))
    };
    let scheme = [("http://", ":80"), ("https://", ":443"), ("//", "")];
    let Some((scheme, port)) = scheme.into_iter().find(|(scheme, _)| begins(scheme)) else {
        return (Origin { text: b"", authority: b"", port: "" }, address);
    };
    let rest = address.get(scheme.len()..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let authority = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
    let (text, path) = address.split_at(scheme.len() + authority.len());
    (Origin { text, authority, port }, path)
}

impl Origin<'_> {
    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn is(&self, host: &str) -> bool {
        self.authority.eq_ignore_ascii_case(host.as_bytes())
    }

    /// Whether it is a host with its port, which may be left out where it is the usual one.
    fn is_named(&self, name: &str) -> bool {
        self.is(name) || name.strip_suffix(self.port).is_some_and(|host| self.is(host))
    }
}

#[cfg(test)]
mod tests {
    use super::Relocation;
    use crate::{FieldBlock, Head};

    fn names() -> [String; 1] {
        ["app.internal:8080".to_owned()]
    }

    #[test]
    fn paths_change_at_their_beginning() {
        let check = |here: &str, there: &str, target: &str, expected: Option<&str>| {
            let head = Head::from_parts("GET", target.as_bytes(), &[(b"Host", b"h")]).unwrap();
            let moved = Relocation::new(here, there, names()).outward(&head.with_version(2));
            let moved = moved.ok().map(|head| {
                assert_eq!((head.version(), head.get("host")), (2, Some(&b"h"[..])));
                String::from_utf8(head.target().to_vec()).unwrap()
            });
            assert_eq!(moved.as_deref(), expected, "{here} {there} {target}");
        };
        check("/app/", "/", "/app/a%2Fb?c=/app/", Some("/a%2Fb?c=/app/"));
        check("/app/", "/", "/app/", Some("/"));
        check("/app", "/", "/app", Some("/"));
        check("/app", "/", "/app?a=b", Some("/?a=b"));
        check("/app", "/base/", "/app/x", Some("/base/x"));
        check("/app", "/base", "/app", Some("/base"));
        check("/", "/base/", "/x?y", Some("/base/x?y"));
        check("/app/", "/app", "/app/..", Some("/app/.."));
        check("/", "/", "//x", Some("//x"));
        check("/caf\u{e9}/", "/", "/caf%C3%a9/x", Some("/x"));
        check("/%61pp/", "/", "/app/x", Some("/x"));
        check("/app/", "/", "/%61pp/x", Some("/x"));
        check("/app/", "/", "/app//x", Some("/x"));
        check("/app/", "/", "//app/x", None);
        check("/app", "/", "/app%2Fx", None);
        for up in ["..", "a/../..", "%2e.", "..%2Fx", "a\\..\\..", "..;a=b/", "%2E%2e/%"] {
            check("/", "/base/", &format!("/{up}"), None);
        }
        check("/", "/base/", "/..a/b..?../..", Some("/base/..a/b..?../.."));
    }

    #[test]
    fn stars_stay_stars() {
        let head = Head::from_parts("OPTIONS", b"*", &[(b"Host", b"h")]).unwrap();
        let moved = Relocation::new("/app/", "/", names()).outward(&head).unwrap();
        assert_eq!(moved.target(), b"*");
    }

    #[test]
    fn answers_lead_where_clients_find_it() {
        let check = |here: &str, there: &str, location: &str, expected: &str| {
            let mut fields = FieldBlock::new();
            fields.push("Location", location);
            Relocation::new(here, there, names()).inward(&mut fields, "site.example");
            let moved = String::from_utf8(fields.get("location").unwrap().to_vec()).unwrap();
            assert_eq!(moved, expected, "{here} {there} {location}");
        };
        check("/app/", "/", "/login?next=/", "/app/login?next=/");
        check("/app/", "/", "/", "/app/");
        check("/app/", "/base/", "/base/x#y", "/app/x#y");
        check("/app/", "/base/", "/base", "/app");
        check("/app/", "/base/", "/elsewhere", "/elsewhere");
        check("/app/", "/", "login", "login");
        check("/app/", "/", "https://site.example/x", "https://site.example/app/x");
        check("/app/", "/", "http://app.internal:8080/x", "/app/x");
        check("/app/", "/", "http://APP.internal:8080", "/app/");
        check("/app/", "/", "http://app.internal/x", "http://app.internal/x");
        check("/app/", "/", "https://login.example/x", "https://login.example/x");
        check("/app/", "/", "//login.example/x", "//login.example/x");
        check("/", "/", "http://app.internal:8080/x", "/x");
        check("/", "/", "http://app.internal:8080//evil.example", "/evil.example");
        check("/", "/base", "/base//evil.example", "/evil.example");
    }
}
