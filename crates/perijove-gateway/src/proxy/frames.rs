//! The frames between gateway and native workers (decision 0001): reading and writing them,
//! nothing else.

#[cfg(test)]
mod tests;

use thiserror::Error;

/// The version of the protocol that `HELLO` and `READY` carry.
const VERSION: u8 = 1;
/// Bytes of a frame's header.
pub(super) const HEADER: usize = 12;
/// The longest payload.
pub(super) const LARGEST: usize = 262_144;
/// Bytes of a body that travel with `REQUEST` at most.
pub(super) const MOST_CARRIED: usize = 65_536;
/// How many bytes of an answer's body may come before more are granted.
pub(super) const FIRST_CREDIT: u32 = 262_144;
/// Ids go from 0 to one below this; the claims have one byte for each.
pub(super) const IDS: usize = 4096;
/// Trays on the shelf of a connection.
pub(super) const TRAYS: usize = 32;
/// Bytes that a tray holds.
pub(super) const TRAY: usize = 131_072;
/// Where in the shelf the trays begin; one byte for each stands in front.
pub(super) const FIRST_TRAY: usize = 4096;

const END: u8 = 1;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Hello = 1,
    Request = 2,
    /// Bytes of the request's body.
    BodyToWorker = 3,
    /// So many more bytes of the answer's body may come.
    CreditToWorker = 4,
    Cancel = 5,
    /// Opens a connection that becomes a websocket's.
    Open = 32,
    /// Bytes of the request's body, on a tray.
    TrayToWorker = 6,
    Ready = 16,
    Response = 17,
    /// Bytes of the answer's body.
    Body = 18,
    File = 19,
    /// So many more bytes of the request's body may be sent.
    Credit = 20,
    Reset = 21,
    /// The application is being entered for a websocket.
    Entered = 33,
    /// Bytes of the answer's body, on a tray.
    Tray = 22,
}

impl Kind {
    const FROM_WORKER: [Self; 8] = [
        Self::Ready,
        Self::Response,
        Self::Body,
        Self::File,
        Self::Credit,
        Self::Reset,
        Self::Entered,
        Self::Tray,
    ];
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of payload that follow.
    pub(super) length: usize,
    pub(super) kind: Kind,
    /// The last frame of this request in this direction.
    pub(super) is_last: bool,
    pub(super) id: u16,
}

/// Why bytes are not frames. The connection is closed then.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    #[error("a frame for the impossible id {0}")]
    WrongId(u32),
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    #[error("the worker speaks version {0}")]
    WrongVersion(u8),
}

impl Header {
    /// Reads the header of a worker's frame off the front of `bytes`; `None` when more bytes are
    /// needed.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let [l0, l1, l2, l3, kind, flags, _, _, id0, id1, id2, id3] = *header;
        let kind = Kind::FROM_WORKER
            .into_iter()
            .find(|known| *known as u8 == kind)
            .ok_or(FrameError::UnknownKind(kind))?;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > LARGEST {
            return Err(FrameError::TooLong(length));
        }
        let id = u32::from_le_bytes([id0, id1, id2, id3]);
        match u16::try_from(id) {
            Ok(id) if usize::from(id) < IDS => {
                Ok(Some(Self { length, kind, is_last: flags & END != 0, id }))
            }
            _ => Err(FrameError::WrongId(id)),
        }
    }

    fn bytes(self) -> [u8; HEADER] {
        let [l0, l1, l2, l3] = number(self.length).to_le_bytes();
        let [id0, id1] = self.id.to_le_bytes();
        let flags = if self.is_last { END } else { 0 };
        [l0, l1, l2, l3, self.kind as u8, flags, 0, 0, id0, id1, 0, 0]
    }
}

/// A length as it is sent. Whatever is longer than a frame is refused elsewhere.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Appends a whole frame.
fn write(out: &mut Vec<u8>, kind: Kind, is_last: bool, id: u16, payload: &[u8]) {
    out.extend_from_slice(&Header { length: payload.len(), kind, is_last, id }.bytes());
    out.extend_from_slice(payload);
}

/// Appends the greeting; the claims travel with its first byte.
pub(super) fn write_hello(out: &mut Vec<u8>, secret: &str) {
    let payload = [&[VERSION], secret.as_bytes()].concat();
    write(out, Kind::Hello, false, 0, &payload);
}

/// The frame that opens a connection for a websocket: `request` is the payload of a `REQUEST`.
/// `None` when it does not fit.
pub(super) fn write_open(secret: &str, request: &[u8]) -> Option<Vec<u8>> {
    let mut payload = vec![VERSION, u8::try_from(secret.len()).ok()?];
    payload.extend_from_slice(secret.as_bytes());
    payload.extend_from_slice(request);
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    write(&mut frame, Kind::Open, true, 0, &payload);
    (payload.len() <= LARGEST).then_some(frame)
}

/// Appends bytes of a request's body, at most [`LARGEST`].
pub(super) fn write_body(out: &mut Vec<u8>, id: u16, is_last: bool, bytes: &[u8]) {
    write(out, Kind::BodyToWorker, is_last, id, bytes);
}

/// Appends word of so many bytes of a request's body on a tray.
pub(super) fn write_tray(out: &mut Vec<u8>, id: u16, is_last: bool, tray: u16, length: usize) {
    let [low, high] = tray.to_le_bytes();
    let [l0, l1, l2, l3] = number(length).to_le_bytes();
    write(out, Kind::TrayToWorker, is_last, id, &[low, high, 0, 0, l0, l1, l2, l3]);
}

pub(super) fn write_credit(out: &mut Vec<u8>, id: u16, bytes: u32) {
    write(out, Kind::CreditToWorker, false, id, &bytes.to_le_bytes());
}

pub(super) fn write_cancel(out: &mut Vec<u8>, id: u16) {
    write(out, Kind::Cancel, true, id, &[]);
}

/// How much body a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    None,
    Known(u64),
    Unknown,
}

/// What stands in front of the fields of a `REQUEST`.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestStart<'a> {
    /// 0 for HTTP/1.0, 1 for HTTP/1.1, 2 for HTTP/2.
    pub(super) version: u8,
    pub(super) is_https: bool,
    pub(super) body: BodyLength,
    pub(super) port: u16,
    pub(super) method: &'a [u8],
    /// Where the application is mounted, percent-encoded; usually empty.
    pub(super) mount: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) server: &'a [u8],
    pub(super) client: &'a [u8],
    pub(super) client_port: &'a [u8],
    pub(super) request_id: &'a [u8],
}

/// A `REQUEST` that is being written at the end of a buffer.
#[derive(Debug)]
pub(super) struct RequestWriter<'o> {
    out: &'o mut Vec<u8>,
    id: u16,
    start: usize,
    /// Where the number of fields stands.
    count_at: usize,
    count: u16,
    is_too_long: bool,
}

impl<'o> RequestWriter<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, id: u16, start: &RequestStart<'_>) -> Self {
        let (body, length) = match start.body {
            BodyLength::None => (0, 0),
            BodyLength::Known(length) => (1, length),
            BodyLength::Unknown => (2, 0),
        };
        let at = out.len();
        out.extend_from_slice(&[0; HEADER]);
        out.extend_from_slice(&[start.version, u8::from(start.is_https), body, 0]);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&start.port.to_le_bytes());
        let mut writer = Self { out, id, start: at, count_at: 0, count: 0, is_too_long: false };
        for text in [
            start.method,
            start.mount,
            start.target,
            start.server,
            start.client,
            start.client_port,
            start.request_id,
        ] {
            let length = writer.length(text);
            writer.out.extend_from_slice(&length.to_le_bytes());
            writer.out.extend_from_slice(text);
        }
        writer.count_at = writer.out.len();
        writer.out.extend_from_slice(&[0; 2]);
        writer
    }

    fn length(&mut self, text: &[u8]) -> u16 {
        u16::try_from(text.len()).unwrap_or_else(|_| {
            self.is_too_long = true;
            0
        })
    }

    /// Appends a field, its name in lower case.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) {
        let length = self.length(name);
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(&number(value.len()).to_le_bytes());
        let at = self.out.len();
        self.out.extend_from_slice(name);
        self.out.get_mut(at..).unwrap_or_default().make_ascii_lowercase();
        self.out.extend_from_slice(value);
        self.count = self.count.wrapping_add(1);
    }

    /// Completes the frame with the beginning of the body, at most [`MOST_CARRIED`] bytes. False
    /// when the request does not fit into a frame: nothing of it is left then.
    pub(super) fn finish(self, carried: &[u8], is_last: bool) -> bool {
        self.out.extend_from_slice(carried);
        let length = self.out.len() - self.start - HEADER;
        if self.is_too_long || length > LARGEST {
            self.out.truncate(self.start);
            return false;
        }
        let header = Header { length, kind: Kind::Request, is_last, id: self.id }.bytes();
        for (at, bytes) in [(self.start, &header[..]), (self.count_at, &self.count.to_le_bytes())] {
            if let Some(place) = self.out.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        true
    }
}

/// What a worker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) threads: u16,
    /// Whether bodies may come to it on trays.
    pub(super) takes_trays: bool,
}

const TAKES_TRAYS: u8 = 2;

/// Reads the payload of `READY`. What is behind the bytes known here is for later versions.
pub(super) fn read_ready(payload: &[u8]) -> Result<Ready, FrameError> {
    match payload {
        [VERSION, low, high, rest @ ..] => {
            let takes_trays = rest.first().is_some_and(|flags| flags & TAKES_TRAYS != 0);
            Ok(Ready { threads: u16::from_le_bytes([*low, *high]), takes_trays })
        }
        [version, ..] if *version != VERSION => Err(FrameError::WrongVersion(*version)),
        _ => Err(FrameError::Malformed("READY")),
    }
}

/// Bytes in front of the fields of a `RESPONSE`.
pub(super) const RESPONSE_START: usize = 8;

/// Reads the start of a `RESPONSE`: the status, and how many bytes of fields follow.
pub(super) fn read_response(payload: &[u8]) -> Option<(u16, usize)> {
    let (status, rest) = payload.split_first_chunk::<2>()?;
    let fields = rest.get(2..)?.first_chunk::<4>()?;
    Some((u16::from_le_bytes(*status), u32::from_le_bytes(*fields) as usize))
}

/// Reads the payload of `FILE`: offset and length.
pub(super) fn read_file(payload: &[u8]) -> Result<(u64, u64), FrameError> {
    let numbers = payload.split_first_chunk::<8>().and_then(|(offset, rest)| {
        let length: [u8; 8] = rest.try_into().ok()?;
        Some((u64::from_le_bytes(*offset), u64::from_le_bytes(length)))
    });
    numbers.ok_or(FrameError::Malformed("FILE"))
}

/// Reads the payload of `TRAY`: its number, and how many bytes are on it.
pub(super) fn read_tray(payload: &[u8]) -> Result<(u16, usize), FrameError> {
    match *payload {
        [low, high, _, _, l0, l1, l2, l3] => {
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            Ok((u16::from_le_bytes([low, high]), length))
        }
        _ => Err(FrameError::Malformed("TRAY")),
    }
}

/// Reads the payload of `CREDIT`.
pub(super) fn read_credit(payload: &[u8]) -> Result<u32, FrameError> {
    payload.try_into().map(u32::from_le_bytes).map_err(|_| FrameError::Malformed("CREDIT"))
}
