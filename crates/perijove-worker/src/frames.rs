//! The frames between gateway and worker (decision 0001): reading and writing them, nothing else.
//! Pure functions over bytes; nothing here touches a socket or the interpreter.

mod request;

pub use request::{BodyLength, Request};

/// The version of the protocol that `HELLO` and `READY` carry.
pub const VERSION: u8 = 1;
/// Bytes of a frame's header.
pub const HEADER: usize = 12;
/// The longest payload, in bytes.
pub const LARGEST: usize = 262_144;
/// How many bytes of an answer's body may be sent before the gateway grants more.
pub const FIRST_CREDIT: u64 = 262_144;
/// Ids go from 0 to one below this; the claims have one byte for each.
pub const IDS: usize = 4096;
/// Bytes in front of the fields in the payload of `RESPONSE`.
const RESPONSE_START: usize = 8;

const END: u8 = 1;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hello,
    Request,
    /// Bytes of the request's body.
    BodyIn,
    /// More bytes of the answer's body may be sent.
    CreditIn,
    Cancel,
    Ready,
    Response,
    /// Bytes of the answer's body.
    BodyOut,
    File,
    /// More bytes of the request's body may be sent.
    CreditOut,
    Reset,
}

impl Kind {
    const ALL: [(u8, Self); 11] = [
        (1, Self::Hello),
        (2, Self::Request),
        (3, Self::BodyIn),
        (4, Self::CreditIn),
        (5, Self::Cancel),
        (16, Self::Ready),
        (17, Self::Response),
        (18, Self::BodyOut),
        (19, Self::File),
        (20, Self::CreditOut),
        (21, Self::Reset),
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.iter().find(|(number, _)| *number == byte).map(|(_, kind)| *kind)
    }

    fn byte(self) -> u8 {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or(0, |(number, _)| *number)
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload that follow.
    pub length: usize,
    pub kind: Kind,
    /// The last frame of this request in this direction.
    pub is_last: bool,
    pub id: u16,
}

/// Why the bytes of a connection are not frames. The connection is closed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The payload is longer than [`LARGEST`].
    TooLong(u32),
    UnknownKind(u8),
    /// The id does not fit the claims.
    WrongId(u32),
    /// The payload is not what its kind asks for.
    Malformed(&'static str),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong(length) => write!(f, "a frame of {length} bytes is too long"),
            Self::UnknownKind(kind) => write!(f, "a frame of unknown kind {kind}"),
            Self::WrongId(id) => write!(f, "a frame for the impossible id {id}"),
            Self::Malformed(what) => write!(f, "a malformed frame: {what}"),
        }
    }
}

impl Header {
    /// Reads a header off the front of `bytes`; `None` when more bytes are needed.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let [a, b, c, d, kind, flags, _, _, e, f, g, h] = *header;
        let length = u32::from_le_bytes([a, b, c, d]);
        let id = u32::from_le_bytes([e, f, g, h]);
        let kind = Kind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        if length as usize > LARGEST {
            return Err(FrameError::TooLong(length));
        }
        let id = match u16::try_from(id) {
            Ok(id) if usize::from(id) < IDS => id,
            _ => return Err(FrameError::WrongId(id)),
        };
        Ok(Some(Self { length: length as usize, kind, is_last: flags & END != 0, id }))
    }

    /// The header as it is sent.
    pub fn bytes(self) -> [u8; HEADER] {
        let [a, b, c, d] = (self.length as u32).to_le_bytes();
        let [e, f] = self.id.to_le_bytes();
        let flags = if self.is_last { END } else { 0 };
        [a, b, c, d, self.kind.byte(), flags, 0, 0, e, f, 0, 0]
    }
}

/// Turns a header that was written, but not yet sent, into one of a last frame.
pub fn mark_last(header: &mut [u8]) {
    if let Some(flags) = header.get_mut(5) {
        *flags |= END;
    }
}

/// Announces `more` bytes at the end of a frame that was written, but not yet sent. False when
/// `frame` is more than that frame, or would be too long.
pub fn extend(frame: &mut [u8], more: usize, is_last: bool) -> bool {
    let Ok(Some(mut header)) = Header::read(frame) else { return false };
    let length = header.length + more;
    if frame.len() != HEADER + header.length || length > LARGEST {
        return false;
    }
    header.length = length;
    header.is_last |= is_last;
    if let Some(place) = frame.first_chunk_mut() {
        *place = header.bytes();
    }
    true
}

/// Writes a whole frame whose payload is at hand.
pub fn write(buffer: &mut Vec<u8>, kind: Kind, is_last: bool, id: u16, payload: &[u8]) {
    let header = Header { length: payload.len(), kind, is_last, id };
    buffer.extend_from_slice(&header.bytes());
    buffer.extend_from_slice(payload);
}

/// How many bytes of body fit into a `RESPONSE` beside its fields.
pub fn room_beside(fields: &[u8]) -> usize {
    LARGEST.saturating_sub(RESPONSE_START + fields.len())
}

/// Writes a `RESPONSE` up to its body, of which `body` bytes follow.
pub fn write_response(
    buffer: &mut Vec<u8>,
    id: u16,
    is_last: bool,
    status: u16,
    fields: &[u8],
    body: usize,
) {
    let length = RESPONSE_START + fields.len() + body;
    let header = Header { length, kind: Kind::Response, is_last, id };
    buffer.extend_from_slice(&header.bytes());
    buffer.extend_from_slice(&status.to_le_bytes());
    buffer.extend_from_slice(&[0, 0]);
    buffer.extend_from_slice(&(fields.len() as u32).to_le_bytes());
    buffer.extend_from_slice(fields);
}

/// The payload of `READY`.
pub fn ready(threads: u16) -> [u8; 3] {
    let [low, high] = threads.to_le_bytes();
    [VERSION, low, high]
}

/// The payload of `FILE`.
pub fn file(offset: u64, length: u64) -> [u8; 16] {
    let mut payload = [0; 16];
    let (front, back) = payload.split_at_mut(8);
    front.copy_from_slice(&offset.to_le_bytes());
    back.copy_from_slice(&length.to_le_bytes());
    payload
}

/// Reads the payload of `CREDIT`.
pub fn read_credit(payload: &[u8]) -> Result<u32, FrameError> {
    let bytes = payload.first_chunk().ok_or(FrameError::Malformed("credit without a number"))?;
    Ok(u32::from_le_bytes(*bytes))
}

/// Reads the payload of `HELLO`: the version and the secret.
pub fn read_hello(payload: &[u8]) -> Result<(u8, &[u8]), FrameError> {
    let (version, secret) =
        payload.split_first().ok_or(FrameError::Malformed("greeting without a version"))?;
    Ok((*version, secret))
}

#[cfg(test)]
mod tests;
