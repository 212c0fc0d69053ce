//! Static files.

mod answer;
mod beneath;
mod cache;
mod caching;
mod entry;
mod fingerprint;
mod listing;
mod missing;
mod multipart;
mod path;
mod press;
mod range;
mod settings;
#[cfg(test)]
mod tests;
mod types;
mod validators;

use std::{
    borrow::Cow,
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::io::Errno;

use crate::{Body, FieldBlock, Head, Request, Response, clock};

use beneath::Folder;
use cache::Cache;
use caching::Caching;
use entry::{Found, Place};
use missing::Missing;

pub use cache::FileMemory;
pub use caching::CacheRule;
pub use settings::FileSettings;
pub use types::MediaTypes;
pub(crate) use types::media_type;

/// A folder of static files, or one file, below a path prefix.
///
/// Hidden files are not there (but `.well-known`), and neither is anything outside the folder,
/// wherever links lead. A file `x.br`, `x.zst` or `x.gz` beside `x` is sent instead of it to
/// clients that can read it.
///
/// Files of at most 128 KiB are kept in memory and compared with the disk at most once a second. So are
/// the compressed forms of texts of up to 8 MiB, each made once.
#[derive(Debug)]
pub struct Files {
    /// Decoded, without a slash at its end.
    prefix: Vec<u8>,
    folder: Folder,
    /// Of a single file: a slash and its name.
    only: Option<Vec<u8>>,
    /// What a folder is when it is asked for itself; the first that is there.
    index: Vec<Vec<u8>>,
    is_listed: bool,
    /// A slash and the name of what answers where there is no file.
    fallback: Option<Vec<u8>>,
    caching: Caching,
    types: MediaTypes,
    /// Texts are compressed when they are read, and kept so.
    compresses: bool,
    cache: Cache,
    missing: Missing,
    wall_clock: fn() -> SystemTime,
}

impl Files {
    /// Serves what lies below `folder`; `prefix` is cut off a request's path first. The folder
    /// need not be there yet.
    pub fn new(prefix: &str, folder: PathBuf, settings: FileSettings) -> Self {
        let below = |name: String| format!("/{}", name.trim_start_matches('/')).into_bytes();
        Self {
            prefix: prefix.trim_end_matches('/').into(),
            folder: Folder::new(folder),
            only: None,
            index: settings.index.into_iter().map(String::into_bytes).collect(),
            is_listed: settings.is_listed,
            fallback: settings.fallback.map(below),
            caching: Caching {
                rules: settings.cache_rules,
                knows_fingerprints: settings.knows_fingerprints,
            },
            types: settings.types,
            compresses: settings.compresses,
            cache: settings.memory.shelf(),
            missing: Missing::default(),
            wall_clock: SystemTime::now,
        }
    }

    /// Serves one file at one path. Its name may begin with a dot; a link must lead to something
    /// beside or below it.
    pub fn single(path: &str, file: &Path, settings: FileSettings) -> Self {
        use std::os::unix::ffi::OsStrExt;
        let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
        let name = file.file_name().unwrap_or_default().as_bytes();
        let only = Some([b"/", name].concat());
        Self { only, fallback: None, ..Self::new(path, folder, settings) }
    }

    /// The answer for a file that is there; `None` when there is none and the next target is to
    /// be asked. A file that is there and asked for by another method than GET and HEAD is 405.
    ///
    /// The answer to HEAD carries the body of the one to GET: the connection sends its length.
    pub fn serve(&self, request: &Request) -> Option<Response> {
        self.serve_at(&request.head, clock::now())
    }

    /// The same for a head alone.
    pub(crate) fn answer_to(&self, head: &Head) -> Option<Response> {
        self.serve_at(head, clock::now())
    }

    /// Whether a path lies below the prefix, and could name a file.
    pub(crate) fn is_for(&self, head: &Head) -> bool {
        path::clean(head.path(), &self.prefix).is_some()
    }

    /// [`Files::serve`] by a clock that is given, in milliseconds.
    fn serve_at(&self, head: &Head, now: u64) -> Option<Response> {
        let path = path::clean(head.path(), &self.prefix)?;
        if let Some(only) = &self.only {
            return if path.is_empty() { self.serve_path(head, only, now) } else { None };
        }
        self.serve_path(head, &path, now).or_else(|| self.fall_back(head, now))
    }

    /// The answer of what lies at a decoded path below the folder.
    fn serve_path(&self, head: &Head, path: &[u8], now: u64) -> Option<Response> {
        let (folder, cache, wall_clock) = (&self.folder, &self.cache, self.wall_clock);
        let place = Place { folder, cache, path, now, wall_clock };
        match self.try_serve(head, place) {
            Ok(answer) => answer,
            Err(error) if is_missing(&error) => {
                self.missing.note(path, now, |name| self.is_there(name, now));
                None
            }
            Err(error) => {
                tracing::warn!(path = %path.escape_ascii(), %error, "a file could not be read");
                Some(plain(503, "Retry-After", "1"))
            }
        }
    }

    /// To those who go to a page that is not there, the page that is to answer for it.
    fn fall_back(&self, head: &Head, now: u64) -> Option<Response> {
        let fallback = self.fallback.as_ref()?;
        let is_page = matches!(head.method(), "GET" | "HEAD")
            && head
                .get_all("accept")
                .any(|list| memchr::memmem::find(list, b"text/html").is_some());
        let mut answer = is_page.then(|| self.serve_path(head, fallback, now))??;
        if matches!(answer.status, 200 | 206 | 304) && !answer.fields.contains("cache-control") {
            // It stands at many addresses, and names the scripts of one version.
            answer.fields.push("Cache-Control", "no-cache");
        }
        Some(answer)
    }

    fn try_serve(&self, head: &Head, place: Place<'_>) -> io::Result<Option<Response>> {
        let is_read = matches!(head.method(), "GET" | "HEAD");
        if place.path.ends_with(b"/") {
            return self.try_folder(head, place);
        }
        match self.try_file(head, place)? {
            Tried::Answer(answer) => Ok(Some(answer)),
            Tried::Folder if is_read && self.has_page(place) => Ok(Some(add_slash(head))),
            Tried::Folder | Tried::Nothing => Ok(None),
        }
    }

    /// A folder that was asked for by its name and a slash.
    fn try_folder(&self, head: &Head, place: Place<'_>) -> io::Result<Option<Response>> {
        if self.missing.is_known(place.path, place.now) {
            return Ok(None);
        }
        for name in &self.index {
            let path = [place.path, name].concat();
            match self.try_file(head, Place { path: &path, ..place }) {
                Ok(Tried::Answer(answer)) => return Ok(Some(answer)),
                Ok(Tried::Folder | Tried::Nothing) => {}
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if !self.is_listed {
            return Err(io::ErrorKind::NotFound.into());
        }
        let listing = listing::answer(&self.folder, (&self.prefix, place.path), place.now)?;
        let is_read = matches!(head.method(), "GET" | "HEAD");
        Ok(Some(if is_read { listing } else { plain(405, "Allow", "GET, HEAD") }))
    }

    fn try_file(&self, head: &Head, place: Place<'_>) -> io::Result<Tried> {
        // A file that changes between the look at it and its opening is looked at again.
        for _ in 0..3 {
            match self.try_file_once(head, place) {
                Err(error) if is_stale(&error) => self.cache.remove(place.path),
                Err(error) => {
                    self.cache.remove(place.path);
                    return Err(error);
                }
                tried => return tried,
            }
        }
        self.try_file_once(head, place)
    }

    fn try_file_once(&self, head: &Head, place: Place<'_>) -> io::Result<Tried> {
        Ok(match self.find(place)? {
            Found::File(entry) if matches!(head.method(), "GET" | "HEAD") => {
                Tried::Answer(answer::answer(&entry, place, head)?)
            }
            Found::File(_) => Tried::Answer(plain(405, "Allow", "GET, HEAD")),
            Found::Folder => Tried::Folder,
            Found::Nothing => Tried::Nothing,
        })
    }

    /// What is at that path: a file from memory when it was looked at within a second, nothing
    /// without a look when nothing was found there often.
    fn find(&self, place: Place<'_>) -> io::Result<Found> {
        if let Some(entry) = self.cache.get(place.path) {
            if entry.is_checked(place.now) || entry.is_current(place) {
                return Ok(Found::File(entry));
            }
        } else if self.missing.is_known(place.path, place.now) {
            return Ok(Found::Nothing);
        }
        let found = entry::load(place, (&self.caching, &self.types), self.compresses)?;
        if let Found::File(entry) = &found {
            self.cache.insert(place.path, entry.clone());
        }
        Ok(found)
    }

    /// Whether the first name of a path is there; without a name, whether the folder itself would
    /// be answered.
    fn is_there(&self, name: &[u8], now: u64) -> bool {
        let opens = |name: &[u8]| self.folder.open(name, now).is_ok();
        if name.is_empty() {
            self.is_listed || self.index.iter().any(|name| opens(name))
        } else {
            opens(name)
        }
    }

    /// Whether a folder that was asked for without the slash at its end would be answered with it.
    fn has_page(&self, place: Place<'_>) -> bool {
        self.is_listed
            || self.index.iter().any(|name| {
                let path = [place.path, b"/", name].concat();
                matches!(self.find(Place { path: &path, ..place }), Ok(Found::File(_)))
            })
    }
}

/// What a look at a path brought.
enum Tried {
    Answer(Response),
    Folder,
    Nothing,
}

/// What [`Files`] makes of a request's path, for the fuzzer: the name below the folder, or `None`.
#[doc(hidden)]
pub fn clean_path<'a>(path: &'a [u8], prefix: &[u8]) -> Option<Cow<'a, [u8]>> {
    path::clean(path, prefix)
}

/// Whether the file is another one by now; network file systems say so, and so do we.
fn is_stale(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StaleNetworkFileHandle
}

/// Whether an error means that there is nothing to be served, rather than that we cannot.
fn is_missing(error: &io::Error) -> bool {
    let missing = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::ACCESS,
        Errno::PERM,
        Errno::LOOP,
        Errno::MLINK,
        Errno::XDEV,
        Errno::NAMETOOLONG,
        Errno::NXIO,
        Errno::NODEV,
    ];
    match Errno::from_io_error(error) {
        Some(errno) => missing.contains(&errno),
        None => error.kind() == io::ErrorKind::NotFound,
    }
}

/// An answer without a body, and with one field.
fn plain(status: u16, name: &str, value: &str) -> Response {
    let mut fields = FieldBlock::new();
    fields.push(name, value);
    Response { status, fields, body: Body::Empty }
}

/// Sends the client to the same path with a slash at its end, so that relative links work. The
/// path has no doubled slash, which would lead to another host.
fn add_slash(head: &Head) -> Response {
    let mut location = String::with_capacity(head.target().len() + 1);
    let query = head.query().map(|query| [b"?", query].concat()).unwrap_or_default();
    for byte in [head.path(), b"/", &query].into_iter().flatten() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>') {
            location.push(char::from(*byte));
        } else {
            let _ = write!(location, "%{byte:02X}");
        }
    }
    Response::redirect(308, &location)
}
