//! The media type of a file, by the end of its name.

/// Media types by the ends of names, which count before those that are known anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaTypes(Vec<(Vec<u8>, String)>);

impl MediaTypes {
    /// Each an ending, with or without its dot, and a type, which must be one that can stand in a
    /// header field.
    pub fn new(types: impl IntoIterator<Item = (String, String)>) -> Self {
        let ending = |name: &str| format!(".{}", name.trim_start_matches('.')).to_ascii_lowercase();
        let types = types.into_iter().map(|(name, of)| (ending(&name).into_bytes(), of));
        Self(types.collect())
    }

    /// The media type for a file's name.
    pub(super) fn of(&self, name: &[u8]) -> &str {
        let ends = |ending: &[u8]| {
            let at = name.len().checked_sub(ending.len()).and_then(|at| name.get(at..));
            at.is_some_and(|end| end.eq_ignore_ascii_case(ending))
        };
        let own = self.0.iter().find(|(ending, _)| ends(ending));
        own.map_or_else(|| media_type(name), |(_, of)| of)
    }
}

/// The media type for a file's name; unknown ones are bytes, which browsers offer to save.
pub(crate) fn media_type(name: &[u8]) -> &'static str {
    const UNKNOWN: &str = "application/octet-stream";
    let Some(dot) = memchr::memrchr(b'.', name) else { return UNKNOWN };
    let extension = name.get(dot + 1..).unwrap_or_default().to_ascii_lowercase();
    let Ok(extension) = std::str::from_utf8(&extension) else { return UNKNOWN };
    let found = TYPES.binary_search_by_key(&extension, |(known, _)| known);
    found.ok().and_then(|at| TYPES.get(at)).map_or(UNKNOWN, |(_, media_type)| media_type)
}

/// Sorted by name. Text is UTF-8, as everything on the web is by now.
const TYPES: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("apng", "image/apng"),
    ("atom", "application/atom+xml"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("br", "application/x-brotli"),
    ("bz2", "application/x-bzip2"),
    ("cjs", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("eot", "application/vnd.ms-fontobject"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("geojson", "application/geo+json"),
    ("gif", "image/gif"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json"),
    ("gz", "application/gzip"),
    ("heic", "image/heic"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("ipynb", "application/x-ipynb+json"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonld", "application/ld+json"),
    ("jxl", "image/jxl"),
    ("log", "text/plain; charset=utf-8"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mid", "audio/midi"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("parquet", "application/vnd.apache.parquet"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("ps", "application/postscript"),
    ("py", "text/x-python; charset=utf-8"),
    ("rss", "application/rss+xml"),
    ("rtf", "application/rtf"),
    ("sh", "text/x-shellscript; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("svgz", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("toml", "application/toml"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "text/xml; charset=utf-8"),
    ("xz", "application/x-xz"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ending_decides_whatever_its_case() {
        let check = |name: &str, expected| assert_eq!(media_type(name.as_bytes()), expected);
        check("index.html", "text/html; charset=utf-8");
        check("/a/B.CSS", "text/css; charset=utf-8");
        check("archive.tar.gz", "application/gzip");
        check("app.js", "text/javascript; charset=utf-8");
        check("README", "application/octet-stream");
        check("a.", "application/octet-stream");
        check("a.unheard-of", "application/octet-stream");
    }

    #[test]
    fn own_types_come_first() {
        let own = [("js", "text/x-own"), (".TAR.gz", "application/x-tgz"), ("x", "a/x")];
        let own = MediaTypes::new(own.map(|(name, of)| (name.to_owned(), of.to_owned())));
        let check = |name: &str, expected| assert_eq!(own.of(name.as_bytes()), expected);
        check("/a/app.JS", "text/x-own");
        check("a.tar.gz", "application/x-tgz");
        check("a.gz", "application/gzip");
        check("a.x", "a/x");
        check("ax", "application/octet-stream");
        check("x", "application/octet-stream");
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0));
    }
}
