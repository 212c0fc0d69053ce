//! Static files.

mod answer;
mod beneath;
mod cache;
mod encoding;
mod entry;
mod missing;
mod multipart;
mod path;
mod range;
#[cfg(test)]
mod tests;
mod types;
mod validators;

use std::{borrow::Cow, fmt::Write as _, io, path::PathBuf, time::SystemTime};

use rustix::io::Errno;

use crate::{Body, FieldBlock, Head, Request, Response, clock};

use beneath::Folder;
use cache::Cache;
use entry::{Found, Place};
use missing::Missing;

/// A folder of static files, below a path prefix.
///
/// Hidden files are not there (but `.well-known`), and neither is anything outside the folder,
/// wherever links lead. A file `x.br`, `x.zst` or `x.gz` beside `x` is sent instead of it to
/// clients that can read it. A folder is its `index.html`.
///
/// Files of at most 128 KiB are kept in memory and compared with the disk at most once a second.
#[derive(Debug)]
pub struct Files {
    /// Decoded, without a slash at its end.
    prefix: Vec<u8>,
    folder: Folder,
    maximum_age: Option<u32>,
    cache: Cache,
    missing: Missing,
    wall_clock: fn() -> SystemTime,
}

/// How files of a folder are served.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// Seconds that clients may keep a file without asking again (`Cache-Control: max-age`). With
    /// `None`, nothing is said, and clients judge by the file's age.
    pub maximum_age: Option<u32>,
    /// Bytes of memory for small files of this folder.
    pub cache_bytes: usize,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self { maximum_age: None, cache_bytes: 64 << 20 }
    }
}

impl Files {
    /// Serves what lies below `folder`; `prefix` is cut off a request's path first. The folder
    /// need not be there yet.
    pub fn new(prefix: &str, folder: PathBuf, settings: FileSettings) -> Self {
        Self {
            prefix: prefix.trim_end_matches('/').into(),
            folder: Folder::new(folder),
            maximum_age: settings.maximum_age,
            cache: Cache::new(settings.cache_bytes),
            missing: Missing::default(),
            wall_clock: SystemTime::now,
        }
    }

    /// The answer for a file that is there; `None` when there is none and the next target is to
    /// be asked. A file that is there and asked for by another method than GET and HEAD is 405.
    ///
    /// The answer to HEAD carries the body of the one to GET: the connection sends its length.
    pub fn serve(&self, request: &Request) -> Option<Response> {
        self.serve_at(&request.head, clock::now())
    }

    /// [`Files::serve`] by a clock that is given, in milliseconds.
    fn serve_at(&self, head: &Head, now: u64) -> Option<Response> {
        let path = path::clean(head.path(), &self.prefix)?;
        let place = Place { folder: &self.folder, path: &path, now, wall_clock: self.wall_clock };
        // A file that changes between the look at it and its opening is looked at again.
        let mut result = self.try_serve(head, place);
        for _ in 0..3 {
            match &result {
                Err(error) if is_stale(error) => {
                    self.cache.remove(&path);
                    result = self.try_serve(head, place);
                }
                _ => break,
            }
        }
        match result {
            Ok(answer) => answer,
            Err(error) if is_missing(&error) => {
                self.cache.remove(&path);
                self.missing.note(&path, now, |name| self.folder.open(name, now).is_ok());
                None
            }
            Err(error) => {
                tracing::warn!(path = %path.escape_ascii(), %error, "a file could not be read");
                Some(plain(503, "Retry-After", "1"))
            }
        }
    }

    fn try_serve(&self, head: &Head, place: Place<'_>) -> io::Result<Option<Response>> {
        let is_read = matches!(head.method(), "GET" | "HEAD");
        match self.find(place)? {
            Found::File(entry) if is_read => answer::answer(&entry, place, head).map(Some),
            Found::File(_) => Ok(Some(plain(405, "Allow", "GET, HEAD"))),
            Found::Folder if is_read && self.has_index(place) => Ok(Some(add_slash(head))),
            Found::Folder | Found::Nothing => Ok(None),
        }
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
        let found = entry::load(place, self.maximum_age)?;
        if let Found::File(entry) = &found {
            self.cache.insert(place.path, entry.clone());
        }
        Ok(found)
    }

    /// Whether a folder that was asked for without the slash at its end would be answered with it.
    fn has_index(&self, place: Place<'_>) -> bool {
        let path = [place.path, b"/"].concat();
        !place.path.ends_with(b"/")
            && self
                .find(Place { path: &path, ..place })
                .is_ok_and(|found| matches!(found, Found::File(_)))
    }
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
