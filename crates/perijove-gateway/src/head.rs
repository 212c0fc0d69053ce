//! The head of a request: read strictly, kept as the bytes that came.

mod authority;
mod chunked;
mod draft;
mod target;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use bytes::{Buf as _, BytesMut};
use smallvec::SmallVec;
use thiserror::Error;

pub use chunked::{Chunk, ChunkReader};

use draft::Draft;

/// The head of a request. Parts are slices of the bytes that came (HTTP/1), or of the same form
/// made from what came (HTTP/2), so that every later step works on one form.
///
/// It owns a copy of its bytes, so that the buffer of a connection is free as soon as the head is
/// read, and is cheap to clone and to move.
#[derive(Clone)]
pub struct Head {
    parts: Arc<Parts>,
}

struct Parts {
    bytes: Box<[u8]>,
    method: Span,
    /// Origin form, or `*`.
    target: Span,
    /// Where the path of the target ends.
    path_end: u32,
    host: Option<Span>,
    fields: FieldSpans,
    framing: Framing,
    version: u8,
    facts: Facts,
}

/// Names and values. Requests of browsers have 8 to 20 fields; those beyond 16 cost an allocation.
type FieldSpans = SmallVec<[(Span, Span); 16]>;

/// What the fields say about the connection and the answer, noted while they were read.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    is_close: bool,
    is_keep_alive: bool,
    is_upgrade: bool,
    is_continue: bool,
    is_conditional: bool,
}

/// A range of bytes of the head; heads are far below 4 GiB.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        Self { start: offset(start), end: offset(end) }
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Limits of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of request line and fields together.
    pub bytes: usize,
    /// Number of fields.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes: 64 << 10, fields: 128 }
    }
}

/// Bytes of a head that is made of parts.
const MOST_MADE: usize = 16 << 20;

/// How the end of a request's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeadError {
    #[error("the head is larger than is allowed")]
    TooLarge,
    #[error("malformed request: {0}")]
    Malformed(&'static str),
}

/// Reads heads off the front of a connection's buffer; one for each connection.
///
/// It remembers the lines it has read, so that a head which comes byte by byte costs no more than
/// one that comes at once.
#[derive(Debug, Default)]
pub struct HeadReader {
    begun: Option<Box<Draft>>,
    has_skipped: bool,
}

impl HeadReader {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a complete head off the front of `buffer`; `None` when more bytes are needed, which
    /// must be appended to the same buffer.
    ///
    /// One empty line before a request is skipped (RFC 9112 2.2): some clients send one after a
    /// body.
    ///
    /// # Errors
    /// As soon as what is there can never become a valid head, or is larger than the limits. The
    /// connection is to be closed then.
    pub fn read(
        &mut self,
        buffer: &mut BytesMut,
        limits: HeadLimits,
    ) -> Result<Option<Head>, HeadError> {
        if self.begun.is_none() && !self.has_skipped && buffer.starts_with(b"\r\n") {
            buffer.advance(2);
            self.has_skipped = true;
        }
        let mut draft = self.begun.take().map_or_else(Draft::default, |begun| *begun);
        let Some(end) = draft.advance(buffer, limits)? else {
            // A connection that idles between two requests holds nothing, and a lone carriage
            // return may be half of the empty line.
            let has_begun = !matches!(buffer.as_ref(), b"" | b"\r");
            self.begun = has_begun.then(|| Box::new(draft));
            return Ok(None);
        };
        let head = draft.finish(buffer.get(..end).unwrap_or_default())?;
        buffer.advance(end);
        self.has_skipped = false;
        Ok(Some(head))
    }
}

impl Head {
    /// Takes a complete head off the front of `buffer`; `None` when more bytes are needed.
    ///
    /// It starts anew on every call: for connections there is [`HeadReader`].
    ///
    /// # Errors
    /// When what is there can never become a valid head, or is larger than the limits.
    pub fn parse(buffer: &mut BytesMut, limits: HeadLimits) -> Result<Option<Self>, HeadError> {
        HeadReader::new().read(buffer, limits)
    }

    /// A head of HTTP/1.1 made from parts, for HTTP/2 (with [`Head::with_version`]) and for
    /// questions of our own. The fields must include Host.
    ///
    /// # Errors
    /// When the same parts would be refused in HTTP/1.1.
    pub fn from_parts(
        method: &str,
        target: &[u8],
        fields: &[(&[u8], &[u8])],
    ) -> Result<Self, HeadError> {
        let is_broken = |part: &[u8]| part.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
        if is_broken(method.as_bytes())
            || is_broken(target)
            || fields.iter().any(|(name, value)| is_broken(name) || is_broken(value))
        {
            return Err(HeadError::Malformed("a part holds a line end"));
        }
        let size: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut bytes = Vec::with_capacity(method.len() + target.len() + size + 16);
        for part in [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
            bytes.extend_from_slice(part);
        }
        for (name, value) in fields {
            for part in [name, b": ".as_slice(), value, b"\r\n"] {
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(b"\r\n");
        let mut draft = Draft::default();
        // Whoever has the parts has kept to the limits that are set.
        let limits = HeadLimits { bytes: MOST_MADE, fields: usize::MAX };
        match draft.advance(&bytes, limits)? {
            Some(end) if end == bytes.len() => draft.finish(&bytes),
            _ => Err(HeadError::Malformed("a part holds a line end")),
        }
    }

    /// Stands for a head that could not be read, where something must be said of it.
    pub(crate) fn unread() -> Self {
        let parts = Parts {
            bytes: Box::default(),
            method: Span::default(),
            target: Span::default(),
            path_end: 0,
            host: None,
            fields: FieldSpans::new(),
            framing: Framing::None,
            version: 1,
            facts: Facts::default(),
        };
        Self { parts: Arc::new(parts) }
    }

    /// The same head, said to have come by another version: 0 for HTTP/1.0, 1 for HTTP/1.1, 2 for
    /// HTTP/2.
    #[must_use]
    pub fn with_version(mut self, version: u8) -> Self {
        if let Some(parts) = Arc::get_mut(&mut self.parts) {
            parts.version = version;
        }
        self
    }

    fn part(&self, span: Span) -> &[u8] {
        span.of(&self.parts.bytes)
    }

    pub fn method(&self) -> &str {
        std::str::from_utf8(self.part(self.parts.method)).unwrap_or_default()
    }

    /// The target in origin form, that is path and query, byte for byte as it was sent; or `*`.
    /// Of a target in absolute form the scheme and the authority are left out.
    pub fn target(&self) -> &[u8] {
        self.part(self.parts.target)
    }

    /// The path of the target, percent-encoding as it was sent; `/` for an absolute form without.
    pub fn path(&self) -> &[u8] {
        self.part(Span { start: self.parts.target.start, end: self.parts.path_end })
    }

    /// What follows the first `?` of the target.
    pub fn query(&self) -> Option<&[u8]> {
        let end = self.parts.target.end;
        (self.parts.path_end < end).then(|| self.part(Span { start: self.parts.path_end + 1, end }))
    }

    /// 0 for HTTP/1.0, 1 for HTTP/1.1, 2 for HTTP/2.
    pub fn version(&self) -> u8 {
        self.parts.version
    }

    /// The version as it is written: `1.0`, `1.1` or `2.0`.
    pub(crate) fn version_text(&self) -> &'static str {
        match self.version() {
            0 => "1.0",
            1 => "1.1",
            _ => "2.0",
        }
    }

    /// Host, and port if one was named, as they were sent: of the target's authority, else of the
    /// Host field. `None` for HTTP/1.0 without both.
    pub fn host(&self) -> Option<&str> {
        std::str::from_utf8(self.part(self.parts.host?)).ok()
    }

    /// The fields in order, names as they were sent, values without surrounding white space.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.parts.fields.iter().map(|(name, value)| (self.part(*name), self.part(*value)))
    }

    /// The value of the first field of that name, case ignored.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v)
    }

    /// The values of all fields of that name in order, case ignored.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Whether the comma-separated lists in the fields of that name hold a token, case ignored.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name).any(|list| list_has(list, token.as_bytes()))
    }

    /// How the body's end is known. HTTP/2 tells it by other means: there, `None` means that the
    /// length was not named.
    pub fn framing(&self) -> Framing {
        self.parts.framing
    }

    /// Whether the client lets the connection stand for a further request (RFC 9112 9.3).
    pub fn keep_alive(&self) -> bool {
        let facts = self.parts.facts;
        !facts.is_close && (self.parts.version >= 1 || facts.is_keep_alive)
    }

    /// The protocol of the Upgrade field, where there is exactly one, the Connection field names
    /// it and the version is HTTP/1.1.
    pub fn upgrade(&self) -> Option<&[u8]> {
        if !self.parts.facts.is_upgrade || self.parts.version != 1 {
            return None;
        }
        let mut values = self.get_all("upgrade");
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.parts.facts.is_continue && self.parts.version >= 1
    }

    /// Whether there is a Range or any If-… field.
    pub fn is_conditional(&self) -> bool {
        self.parts.facts.is_conditional
    }
}

/// Prints no query and no field: they hold secrets.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method())
            .field("path", &String::from_utf8_lossy(self.path()))
            .field("version", &self.version())
            .field("framing", &self.framing())
            .field("fields", &self.parts.fields.len())
            .finish()
    }
}

/// Whether a comma-separated list holds a token, case ignored.
fn list_has(list: &[u8], token: &[u8]) -> bool {
    list.split(|b| *b == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}
