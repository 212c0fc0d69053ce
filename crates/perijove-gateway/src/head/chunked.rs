//! Chunked bodies, taken apart as strictly as heads (RFC 9112 7.1).

use bytes::{Buf, Bytes, BytesMut};

use super::draft::{has_control, split_field};
use crate::{BodyError, FieldBlock};

/// Bytes of one size line beyond the size, and of one trailer line.
const LINE: usize = 4096;
/// Bytes of all extensions and trailers of one body.
const ASIDES: usize = 16 << 10;
/// Trailer fields of one body.
const TRAILERS: usize = 64;

/// Takes the chunks of one body apart, as the bytes come.
///
/// Extensions are skipped. Trailers are checked, and dropped unless somebody wants them: nobody
/// behind the gateway expects fields that arrive after the guard has judged.
#[derive(Debug)]
pub struct ChunkReader {
    state: State,
    /// Bytes of the body so far.
    total: u64,
    limit: u64,
    asides: usize,
    trailers: usize,
    /// Those that came, where they are wanted.
    kept: Option<FieldBlock>,
}

/// Where in the framing the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a size.
    Size {
        digits: u8,
        size: u64,
    },
    /// In what follows the size: extensions.
    Extension {
        size: u64,
    },
    /// Before the line feed of a size line.
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// Before the carriage return behind a chunk's data.
    DataEnd,
    /// Before the line feed behind a chunk's data.
    DataLineFeed,
    /// In the lines behind the last chunk.
    Trailers {
        scanned: usize,
    },
    Done,
}

/// What came of a look at the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Some of the body, never empty.
    Data(Bytes),
    /// More bytes are needed.
    More,
    /// The body is over; what is left in the buffer belongs to the next request.
    End,
}

impl ChunkReader {
    /// For a body of at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        let state = State::Size { digits: 0, size: 0 };
        Self { state, total: 0, limit, asides: 0, trailers: 0, kept: None }
    }

    /// Keeps the trailers for [`ChunkReader::take_trailers`].
    #[must_use]
    pub(crate) fn keeping_trailers(mut self) -> Self {
        self.kept = Some(FieldBlock::new());
        self
    }

    /// The trailers that came, once the body is over; `None` when there are none, or nobody wanted
    /// them.
    pub(crate) fn take_trailers(&mut self) -> Option<FieldBlock> {
        self.kept.take().filter(|kept| !kept.as_bytes().is_empty())
    }

    /// Takes the next piece of the body off the front of `buffer`, without copying it.
    ///
    /// # Errors
    /// When the framing is malformed, or as soon as a size goes beyond the limit. The connection
    /// is to be closed then.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<Chunk, BodyError> {
        loop {
            match self.state {
                State::Done => return Ok(Chunk::End),
                State::Data { left } => {
                    if buffer.is_empty() {
                        return Ok(Chunk::More);
                    }
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
                    return Ok(Chunk::Data(buffer.split_to(taken).freeze()));
                }
                State::Trailers { scanned } => {
                    if !self.trailer(buffer, scanned)? {
                        return Ok(Chunk::More);
                    }
                }
                _ => {
                    let Some(byte) = buffer.first().copied() else { return Ok(Chunk::More) };
                    buffer.advance(1);
                    self.state = self.step(byte)?;
                }
            }
        }
    }

    /// Whether the whole body was read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// What a byte of the framing leads to.
    fn step(&mut self, byte: u8) -> Result<State, BodyError> {
        match (self.state, byte) {
            (State::Size { digits: 1.., size } | State::Extension { size }, b'\r') => {
                Ok(State::SizeEnd { size })
            }
            (State::Size { digits: 1.., size }, b';') => Ok(State::Extension { size }),
            (State::Size { digits, size }, _) => self.digit(digits, size, byte),
            (State::Extension { size }, b'\t' | b' '..=b'~' | 0x80..) => {
                self.aside(1)?;
                Ok(State::Extension { size })
            }
            (State::SizeEnd { size: 0 }, b'\n') => Ok(State::Trailers { scanned: 0 }),
            (State::SizeEnd { size }, b'\n') => {
                self.total += size;
                Ok(State::Data { left: size })
            }
            (State::DataEnd, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Size { digits: 0, size: 0 }),
            (State::Extension { .. }, _) => Err(malformed("a chunk's extension")),
            (State::SizeEnd { .. }, _) => Err(malformed("a chunk's size line has a wrong end")),
            _ => Err(malformed("a chunk is longer than its size")),
        }
    }

    /// One more digit of a size; the limit holds for the size as soon as it is named.
    fn digit(&mut self, digits: u8, size: u64, byte: u8) -> Result<State, BodyError> {
        let value = char::from(byte).to_digit(16).ok_or(malformed("a chunk's size"))?;
        // 16 digits fit in 64 bits; more could only be leading zeros, which nobody needs.
        if digits >= 16 {
            return Err(malformed("a chunk's size has too many digits"));
        }
        let size = size << 4 | u64::from(value);
        if size > self.limit.saturating_sub(self.total) {
            return Err(BodyError::TooLong { limit: self.limit });
        }
        Ok(State::Size { digits: digits + 1, size })
    }

    /// Reads one line behind the last chunk; false when more bytes are needed.
    fn trailer(&mut self, buffer: &mut BytesMut, scanned: usize) -> Result<bool, BodyError> {
        let rest = buffer.get(scanned..).unwrap_or_default();
        let Some(at) = memchr::memchr(b'\n', rest) else {
            if buffer.len() > LINE {
                return Err(malformed("a trailer is too long"));
            }
            self.state = State::Trailers { scanned: buffer.len() };
            return Ok(false);
        };
        let line = buffer.split_to(scanned + at + 1);
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(malformed("a trailer ends with a bare line feed"));
        };
        self.state = State::Trailers { scanned: 0 };
        if line.is_empty() {
            self.state = State::Done;
            return Ok(true);
        }
        if has_control(line) {
            return Err(malformed("a control character in a trailer"));
        }
        let (name, value) = split_field(line).map_err(malformed)?;
        if let Some(kept) = &mut self.kept
            && let Ok(name) = std::str::from_utf8(name)
        {
            kept.push(name, value.of(line));
        }
        self.trailers += 1;
        if self.trailers > TRAILERS {
            return Err(malformed("too many trailers"));
        }
        self.aside(line.len()).map(|()| true)
    }

    fn aside(&mut self, bytes: usize) -> Result<(), BodyError> {
        self.asides += bytes;
        if self.asides > ASIDES {
            return Err(malformed("too many bytes of extensions and trailers"));
        }
        Ok(())
    }
}

fn malformed(what: &'static str) -> BodyError {
    BodyError::Malformed { what }
}
