//! The head of a request: read strictly, kept as the bytes that came.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

/// The head of a request. Parts are slices of the bytes that came (HTTP/1), or of the same form
/// made from what came (HTTP/2), so that every later step works on one form.
#[derive(Clone, Debug)]
pub struct Head {
    bytes: Bytes,
    method: Span,
    target: Span,
    fields: Vec<(Span, Span)>,
    minor_version: u8,
}

/// A range of bytes of the head; heads are far below 4 GiB.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
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

impl Head {
    /// Takes a complete head off the front of `buffer`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When what is there can never become a valid head, or is larger than the limits.
    pub fn parse(buffer: &mut BytesMut, limits: HeadLimits) -> Result<Option<Self>, HeadError> {
        let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") else {
            return if buffer.len() > limits.bytes { Err(HeadError::TooLarge) } else { Ok(None) };
        };
        let bytes = buffer.split_to(end + 4).freeze();
        Self::read(bytes, limits).map(Some)
    }

    /// Reads a complete head.
    fn read(bytes: Bytes, limits: HeadLimits) -> Result<Self, HeadError> {
        let mut fields = vec![httparse::EMPTY_HEADER; limits.fields];
        let mut request = httparse::Request::new(&mut fields);
        request.parse(&bytes).map_err(|_| HeadError::Malformed("request line or fields"))?;
        let base = bytes.as_ptr() as usize;
        let span = |part: &[u8]| {
            let start = (part.as_ptr() as usize - base) as u32;
            Span { start, end: start + part.len() as u32 }
        };
        let method = span(request.method.unwrap_or_default().as_bytes());
        let target = span(request.path.unwrap_or_default().as_bytes());
        let minor_version = request.version.unwrap_or(1);
        let fields =
            request.headers.iter().map(|f| (span(f.name.as_bytes()), span(f.value))).collect();
        Ok(Self { bytes, method, target, fields, minor_version })
    }

    /// A head in HTTP/1 form made from parts, for HTTP/2 and for questions of our own.
    pub fn from_parts(
        method: &str,
        target: &[u8],
        fields: &[(&[u8], &[u8])],
    ) -> Result<Self, HeadError> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(method.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(target);
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in fields {
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        Self::read(bytes.into(), HeadLimits::default())
    }

    fn part(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    pub fn method(&self) -> &str {
        std::str::from_utf8(self.part(self.method)).unwrap_or_default()
    }

    /// The target as it was sent: origin form, absolute form or `*`.
    pub fn target(&self) -> &[u8] {
        self.part(self.target)
    }

    /// The path of the target, percent-encoding as it was sent; `/` for an absolute form without.
    pub fn path(&self) -> &[u8] {
        let target = self.target();
        memchr::memchr(b'?', target).and_then(|at| target.get(..at)).unwrap_or(target)
    }

    /// What follows the first `?` of the target.
    pub fn query(&self) -> Option<&[u8]> {
        let target = self.target();
        memchr::memchr(b'?', target).and_then(|at| target.get(at + 1..))
    }

    /// 0 for HTTP/1.0, 1 for HTTP/1.1, 2 for HTTP/2.
    pub fn version(&self) -> u8 {
        self.minor_version
    }

    /// The fields in order, names as they were sent, values without surrounding white space.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (self.part(*name), self.part(*value)))
    }

    /// The value of the first field of that name, case ignored.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v)
    }
}
