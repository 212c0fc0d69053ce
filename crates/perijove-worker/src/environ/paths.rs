//! The target of a request, taken apart into `SCRIPT_NAME`, `PATH_INFO` and `QUERY_STRING`.

use std::borrow::Cow;

/// The parts of a target. Script and path are percent-decoded, the query is as it was sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Paths<'a> {
    pub(crate) script: Cow<'a, [u8]>,
    pub(crate) path: Cow<'a, [u8]>,
    pub(crate) query: &'a [u8],
}

impl<'a> Paths<'a> {
    /// Takes a target apart; `mount` is where the application begins, encoded as in the target.
    pub(crate) fn of(target: &'a [u8], mount: &'a [u8]) -> Self {
        let target = without_origin(target);
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(at) => {
                (target.get(..at).unwrap_or_default(), target.get(at + 1..).unwrap_or_default())
            }
            None => (target, &b""[..]),
        };
        // `OPTIONS *` is about no path.
        let path = if path == b"*" { b"" } else { path };
        let below = path.strip_prefix(mount).filter(|below| matches!(below, [] | [b'/', ..]));
        match below {
            Some(below) => Self { script: decode(mount), path: decode(below), query },
            None => Self { script: Cow::Borrowed(b""), path: decode(path), query },
        }
    }
}

/// The path of a target in absolute form (`http://host/path`).
fn without_origin(target: &[u8]) -> &[u8] {
    if target.starts_with(b"/") {
        return target;
    }
    let Some(at) = memchr::memmem::find(target, b"://") else { return target };
    let rest = target.get(at + 3..).unwrap_or_default();
    match memchr::memchr2(b'/', b'?', rest) {
        Some(at) => rest.get(at..).unwrap_or_default(),
        None => b"/",
    }
}

/// Decodes percent-encoding; what is no encoding stays as it is.
fn decode(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'%', bytes) else { return Cow::Borrowed(bytes) };
    let (plain, mut rest) = bytes.split_at(first);
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(plain);
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                decoded.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            _ => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    Cow::Owned(decoded)
}

fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests;
