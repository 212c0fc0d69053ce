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
/// Trays on the shelf of a connection.
pub const TRAYS: usize = 32;
/// Bytes that a tray holds.
pub const TRAY: usize = 131_072;
/// Where in the shelf the trays begin; one byte for each stands in front.
pub const FIRST_TRAY: usize = 4096;
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
    /// Opens a connection that becomes a websocket's.
    Open,
    /// The application is being entered for a websocket.
    Entered,
    /// Bytes of the request's body, on a tray.
    TrayIn,
    Ready,
    Response,
    /// Bytes of the answer's body.
    BodyOut,
    File,
    /// More bytes of the request's body may be sent.
    CreditOut,
    Reset,
    /// Bytes of the answer's body, on a tray.
    TrayOut,
}

impl Kind {
    const ALL: [(u8, Self); 15] = [
        (1, Self::Hello),
        (2, Self::Request),
        (3, Self::BodyIn),
        (4, Self::CreditIn),
        (5, Self::Cancel),
        (32, Self::Open),
        (33, Self::Entered),
        (6, Self::TrayIn),
        (16, Self::Ready),
        (17, Self::Response),
        (18, Self::BodyOut),
        (19, Self::File),
        (20, Self::CreditOut),
        (21, Self::Reset),
        (22, Self::TrayOut),
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
        let (length, rest) = number(header);
        let (kind, flags) = (rest.first().copied().unwrap_or(0), rest.get(1).copied().unwrap_or(0));
        let (id, _) = number(rest.get(4..).unwrap_or_default());
        let kind = Kind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        let length = match usize::try_from(length) {
            Ok(length) if length <= LARGEST => length,
            _ => return Err(FrameError::TooLong(length)),
        };
        let id = match u16::try_from(id) {
            Ok(id) if usize::from(id) < IDS => id,
            _ => return Err(FrameError::WrongId(id)),
        };
        Ok(Some(Self { length, kind, is_last: flags & END != 0, id }))
    }

    /// The header as it is sent.
    pub fn bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let (front, id) = bytes.split_at_mut(8);
        let (length, rest) = front.split_at_mut(4);
        length.copy_from_slice(&number_bytes(self.length));
        rest.copy_from_slice(&[self.kind.byte(), if self.is_last { END } else { 0 }, 0, 0]);
        id.copy_from_slice(&u32::from(self.id).to_le_bytes());
        bytes
    }
}

/// Splits a number off the front; 0 when there is none.
fn number(bytes: &[u8]) -> (u32, &[u8]) {
    match bytes.split_first_chunk() {
        Some((number, rest)) => (u32::from_le_bytes(*number), rest),
        None => (0, bytes),
    }
}

/// A length as it is sent; those of frames are far below the limit.
fn number_bytes(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// Turns a header that was written, but not yet sent, into one of a last frame.
pub fn mark_last(header: &mut [u8]) {
    if let Some(flags) = header.get_mut(5) {
        *flags |= END;
    }
}

/// Announces `more` bytes at the end of a frame that was written, but not yet sent. False when
/// `frame` is more than that frame, would be too long, or has its body elsewhere.
pub fn extend(frame: &mut [u8], more: usize, is_last: bool) -> bool {
    let Ok(Some(mut header)) = Header::read(frame) else { return false };
    if !matches!(header.kind, Kind::Response | Kind::BodyOut) {
        return false;
    }
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
    buffer.extend_from_slice(&number_bytes(fields.len()));
    buffer.extend_from_slice(fields);
}

/// A flag of `READY`: the application is ASGI, which takes websockets.
pub const IS_ASGI: u8 = 1;
/// A flag of `READY`: bodies of requests may come on trays.
pub const TAKES_TRAYS: u8 = 2;

/// The payload of `READY`: how many requests are worked on at once, and flags.
pub fn ready(threads: u16, flags: u8) -> Vec<u8> {
    let [low, high] = threads.to_le_bytes();
    let mut payload = vec![VERSION, low, high];
    // Without flags it is as it was before there were any.
    payload.extend((flags != 0).then_some(flags));
    payload
}

/// The payload of `TRAY`.
pub fn tray(number: u16, length: usize) -> [u8; 8] {
    let [low, high] = number.to_le_bytes();
    let [l0, l1, l2, l3] = number_bytes(length);
    [low, high, 0, 0, l0, l1, l2, l3]
}

/// Reads the payload of `TRAY`: its number, and how many bytes are on it.
pub fn read_tray(payload: &[u8]) -> Result<(u16, usize), FrameError> {
    match *payload {
        [low, high, _, _, l0, l1, l2, l3] => {
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            Ok((u16::from_le_bytes([low, high]), length))
        }
        _ => Err(FrameError::Malformed("a tray without its number")),
    }
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

/// Reads the payload of `OPEN`: the version, the secret, and the payload of a `REQUEST`.
pub fn read_open(payload: &[u8]) -> Result<(u8, &[u8], &[u8]), FrameError> {
    let cut = FrameError::Malformed("opening that is cut off");
    let ([version, length], rest) = payload.split_first_chunk().ok_or(cut)?;
    let (secret, request) = rest.split_at_checked(usize::from(*length)).ok_or(cut)?;
    Ok((*version, secret, request))
}

#[cfg(test)]
mod tests;
