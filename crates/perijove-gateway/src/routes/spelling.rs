//! The ways in which a path can be read.

/// The segments of a path; an empty last one is a slash at the end.
pub(super) type Reading = Vec<Vec<u8>>;

/// Whether there is one way only: no percent-encoding, no backslash, no empty segment, no segment
/// that begins with a dot.
pub(super) fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    path.iter().all(|byte| {
        let is_odd = match byte {
            b'%' | b'\\' => true,
            b'/' | b'.' => before == b'/',
            _ => false,
        };
        before = *byte;
        !is_odd
    })
}

/// Every way in which what stands behind us may read a path that is not plain.
///
/// All take the percent-encoding off. Some take an encoded slash, or a backslash, for a slash; some
/// resolve dots; some merge slashes.
pub(super) fn readings(path: &[u8]) -> impl Iterator<Item = Reading> {
    let strict: Reading = path.split(|b| *b == b'/').skip(1).map(decode).collect();
    let lax: Reading = {
        let decoded = decode(path);
        decoded.split(|b| matches!(b, b'/' | b'\\')).skip(1).map(<[u8]>::to_vec).collect()
    };
    let resolve = |reading: &Reading| {
        let merged = merge(reading.clone());
        [resolve(reading.clone()), resolve(merged.clone()), merged, reading.clone()]
    };
    [resolve(&strict), resolve(&lax)].into_iter().flatten()
}

/// Takes the percent-encoding off, once. What is no encoding stays.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let encoded = match (byte, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        rest = if encoded.is_some() { after.get(2..).unwrap_or_default() } else { after };
        decoded.push(encoded.map_or(*byte, |(high, low)| high << 4 | low));
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Drops empty segments but the last.
fn merge(mut reading: Reading) -> Reading {
    let last = reading.pop();
    reading.retain(|segment| !segment.is_empty());
    reading.extend(last);
    reading
}

/// Resolves dot segments (RFC 3986 5.2.4).
fn resolve(reading: Reading) -> Reading {
    let count = reading.len();
    let mut resolved = Reading::with_capacity(count);
    for (at, segment) in reading.into_iter().enumerate() {
        let is_last = at + 1 == count;
        match segment.as_slice() {
            b"." => {}
            b".." => {
                resolved.pop();
            }
            _ => {
                resolved.push(segment);
                continue;
            }
        }
        if is_last {
            resolved.push(Vec::new());
        }
    }
    resolved
}
