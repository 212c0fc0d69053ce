//! Names that hold a hash of the file's content, as build tools write them: such a file never
//! changes under its name.
//!
//! A name that is taken for one and is not would be kept by browsers for a year, so the rule would
//! rather miss some: a hash is told from a word, a date or a number by what it is made of.

/// Kinds of files that only build tools number with a hyphen and a hash.
const BUILT: [&[u8]; 9] =
    [b"css", b"js", b"mjs", b"cjs", b"map", b"wasm", b"woff", b"woff2", b"ttf"];

/// Whether the last name of a path holds a hash:
///
/// * hexadecimal digits between two dots, `name.3f2a9c1b.css`, or before `.min`, `.chunk` and the
///   like (webpack, Parcel, Django's manifest storage), for every kind of file;
/// * the same behind a hyphen, `name-3f2a9c1b.js` (Rollup, Sprockets), for what build tools make;
/// * eight letters and digits behind a hyphen in a folder `assets`, `assets/name-BkT0eZ4s.js`
///   (Vite), for what build tools make.
pub(super) fn is_in(path: &[u8]) -> bool {
    let mut names = path.rsplit(|byte| *byte == b'/');
    let name = names.next().unwrap_or_default();
    let mut parts = name.split(|byte| *byte == b'.');
    let Some(first) = parts.next() else { return false };
    let Some(kind) =
        name.rsplit(|byte| *byte == b'.').next().filter(|kind| kind.len() < name.len())
    else {
        return false;
    };
    let behind: Vec<&[u8]> = parts.collect();
    let Some((_, middle)) = behind.split_last() else { return false };
    if !first.is_empty() && middle.iter().any(|part| is_hexadecimal(part)) {
        return true;
    }
    let Some(at) = memchr::memrchr(b'-', first).filter(|at| *at > 0) else { return false };
    let last = first.get(at + 1..).unwrap_or_default();
    let is_built = BUILT.iter().any(|built| kind.eq_ignore_ascii_case(built));
    // A hash of Vite may itself hold a hyphen or begin with one.
    let eight = first.len().checked_sub(9).and_then(|at| first.get(at..)).unwrap_or_default();
    is_built && (is_hexadecimal(last) || (names.next() == Some(b"assets") && is_mixed(eight)))
}

/// Eight to 64 hexadecimal digits in lower case, letters and numbers: a date has no letters, a word
/// no numbers.
fn is_hexadecimal(part: &[u8]) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (8..=64).contains(&part.len())
        && part.iter().all(is_digit)
        && part.iter().any(u8::is_ascii_digit)
        && part.iter().any(u8::is_ascii_lowercase)
}

/// A hyphen and eight characters of base 64, of all three kinds.
fn is_mixed(part: &[u8]) -> bool {
    let Some(hash) = part.strip_prefix(b"-") else { return false };
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    hash.len() == 8
        && hash.iter().all(is_digit)
        && hash.iter().any(u8::is_ascii_digit)
        && hash.iter().any(u8::is_ascii_lowercase)
        && hash.iter().any(u8::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    #[test]
    fn hashes_are_told_from_words_dates_and_numbers() {
        let check = |path: &str, expected| {
            assert_eq!(super::is_in(path.as_bytes()), expected, "{path}");
        };
        // webpack, Create React App
        check("/app.3f2a9c1b.js", true);
        check("/static/js/main.3f2a9c1b.chunk.js", true);
        check("/main.3f2a9c1b.js.map", true);
        check("/main.5af66c1b17970e2a9b3c.bundle.js", true);
        // Django's ManifestStaticFilesStorage
        check("/admin/css/base.5af66c1b1797.css", true);
        check("/img/logo.5af66c1b1797.png", true);
        check("/js/jquery.min.5af66c1b1797.js", true);
        // Sprockets, Rollup
        check("/app-0f7e1b9a7c3d4e5f6071829304a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d.css", true);
        check("/main-3f2a9c1b.js", true);
        // Vite
        check("/assets/index-BkT0eZ4s.js", true);
        check("/assets/inter-latin-B0x-_9sZ.woff2", true);
        check("/index-BkT0eZ4s.js", false);
        check("/assets/app-settings.js", false);
        check("/assets/report-Q3Final8.pdf", false);
        // words, dates, numbers
        check("/app.js", false);
        check("/jquery-3.7.1.min.js", false);
        check("/data.20240131.json", false);
        check("/facade.deadbeef.css", false);
        check("/effaced-defaced.css", false);
        check("/photo-20240131a.jpg", false);
        check("/media/1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed.png", false);
        check("/3f2a9c1b.js", false);
        check("/.3f2a9c1b.js", false);
        check("/app.3F2A9C1B.js", false);
        check("/app.3f2a9c1.js", false);
        check("/app.3f2a9c1b", false);
        check("/3f2a9c1b/app.js", false);
        check("/", false);
        check("", false);
        check("/-", false);
        check("/-.js", false);
    }
}
