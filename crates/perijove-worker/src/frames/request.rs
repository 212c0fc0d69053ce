//! The payload of `REQUEST`: read once, kept as the bytes that came.

use super::FrameError;

/// How much body a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    None,
    Known(u64),
    /// Until the gateway says that it ended (chunked, or HTTP/2 without a length).
    Unknown,
}

/// A range of the payload.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: usize,
    end: usize,
}

/// A request, as the gateway sent it. Parts are slices of the payload.
#[derive(Debug)]
pub struct Request {
    payload: Vec<u8>,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1, 2 for HTTP/2.
    pub version: u8,
    pub is_https: bool,
    pub body: BodyLength,
    /// Port of the server.
    pub port: u16,
    method: Span,
    mount: Span,
    target: Span,
    server: Span,
    client: Span,
    client_port: Span,
    id: Span,
    fields: Span,
}

impl Request {
    /// Reads the payload of a `REQUEST`.
    ///
    /// # Errors
    /// When lengths lead beyond the payload, or a number means nothing.
    pub fn read(payload: Vec<u8>) -> Result<Self, FrameError> {
        Self::parse(payload).ok_or(FrameError::Malformed("request"))
    }

    fn parse(payload: Vec<u8>) -> Option<Self> {
        let mut cursor = Cursor { bytes: &payload, at: 0 };
        let [version @ 0..=2, scheme @ 0..=1, body, _] = *cursor.array::<4>()? else {
            return None;
        };
        let length = u64::from_le_bytes(*cursor.array()?);
        let body = match body {
            0 => BodyLength::None,
            1 => BodyLength::Known(length),
            2 => BodyLength::Unknown,
            _ => return None,
        };
        let port = cursor.u16()?;
        let mut texts = [Span::default(); 7];
        for text in &mut texts {
            *text = cursor.text()?;
        }
        let count = cursor.u16()?;
        let start = cursor.at;
        for _ in 0..count {
            cursor.field()?;
        }
        let fields = Span { start, end: cursor.at };
        let [method, mount, target, server, client, client_port, id] = texts;
        Some(Self {
            version,
            is_https: scheme == 1,
            body,
            port,
            method,
            mount,
            target,
            server,
            client,
            client_port,
            id,
            fields,
            payload,
        })
    }

    fn part(&self, span: Span) -> &[u8] {
        self.payload.get(span.start..span.end).unwrap_or_default()
    }

    pub fn method(&self) -> &[u8] {
        self.part(self.method)
    }

    /// Where the application is mounted, percent-encoded as it was sent; usually empty.
    pub fn mount(&self) -> &[u8] {
        self.part(self.mount)
    }

    /// Path and query as they were sent, mount point included.
    pub fn target(&self) -> &[u8] {
        self.part(self.target)
    }

    pub fn server(&self) -> &[u8] {
        self.part(self.server)
    }

    /// The client's address; empty when it is unknown.
    pub fn client(&self) -> &[u8] {
        self.part(self.client)
    }

    /// The client's port in decimal digits; may be empty.
    pub fn client_port(&self) -> &[u8] {
        self.part(self.client_port)
    }

    pub fn request_id(&self) -> &[u8] {
        self.part(self.id)
    }

    /// The fields in order, names in lower case.
    pub fn fields(&self) -> FieldIter<'_> {
        FieldIter { cursor: Cursor { bytes: self.part(self.fields), at: 0 } }
    }

    /// The value of the first field of that name (lower case).
    pub fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    /// The beginning of the body that came with the request.
    pub fn body_start(&self) -> &[u8] {
        self.payload.get(self.fields.end..).unwrap_or_default()
    }

    /// Gives away the payload and says where in it the body begins.
    pub fn take_payload(&mut self) -> (Vec<u8>, usize) {
        (std::mem::take(&mut self.payload), self.fields.end)
    }
}

/// Walks over the fields of a request.
#[derive(Debug)]
pub struct FieldIter<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.field()
    }
}

#[derive(Debug)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let part = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(part)
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        self.take(N)?.first_chunk()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_le_bytes(*bytes))
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// Bytes behind a u16 with their length.
    fn text(&mut self) -> Option<Span> {
        let length = self.u16()?;
        let start = self.at;
        self.take(usize::from(length))?;
        Some(Span { start, end: self.at })
    }

    fn field(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let name = usize::from(self.u16()?);
        let value = usize::try_from(self.u32()?).ok()?;
        Some((self.take(name)?, self.take(value)?))
    }
}
