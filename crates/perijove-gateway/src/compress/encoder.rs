//! The three ways to code a body.

use std::{
    cell::RefCell,
    io::{self, Write},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use zstd::zstd_safe::CParameter;

use crate::{BodyError, coding::Coding};

/// How far back Brotli looks, as a power of two: what it keeps for each body.
const BROTLI_WINDOW: u32 = 18;
/// The same for zstd, where a body comes piece by piece.
const ZSTD_WINDOW: u32 = 17;

/// How much is done for a shorter body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// It is sent once.
    Low,
    /// It is kept, and sent often.
    High,
}

/// Codes a body piece by piece.
pub(super) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// None for the identity.
    pub(super) fn new(coding: Coding, effort: Effort) -> Option<Self> {
        let is_low = effort == Effort::Low;
        Some(match coding {
            Coding::Identity => return None,
            Coding::Gzip => {
                let level = Compression::new(if is_low { 4 } else { 6 });
                Self::Gzip(GzEncoder::new(Vec::new(), level))
            }
            Coding::Brotli => {
                let quality = if is_low { 4 } else { 5 };
                let writer =
                    brotli::CompressorWriter::new(Vec::new(), 4096, quality, BROTLI_WINDOW);
                Self::Brotli(Box::new(writer))
            }
            Coding::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), zstd_level(effort)).ok()?;
                encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW)).ok()?;
                Self::Zstd(encoder)
            }
        })
    }

    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(piece),
            Self::Brotli(encoder) => encoder.write_all(piece),
            Self::Zstd(encoder) => encoder.write_all(piece),
        }
    }

    /// Has all that was written come out.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }

    /// What has come out.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }

    /// The rest of what comes out.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

fn zstd_level(effort: Effort) -> i32 {
    if effort == Effort::Low { 3 } else { 9 }
}

/// A body that is coded to be kept: all that comes out is gathered.
pub(crate) struct Kept(Encoder);

impl Kept {
    /// None for the identity.
    pub(crate) fn begin(coding: Coding) -> Option<Self> {
        Encoder::new(coding, Effort::High).map(Self)
    }

    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        self.0.write(piece).map_err(BodyError::Io)
    }

    pub(crate) fn finish(self) -> Result<Bytes, BodyError> {
        self.0.finish().map(Bytes::from).map_err(BodyError::Io)
    }
}

thread_local! {
    /// What zstd works with for whole bodies, made once for each thread.
    static ZSTD: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

/// A body that is there as a whole, coded; `None` when it would be no shorter.
pub(crate) fn whole(bytes: &[u8], coding: Coding, effort: Effort) -> Option<Bytes> {
    let coded = if (coding, effort) == (Coding::Zstd, Effort::Low) {
        zstd_whole(bytes)?
    } else {
        let mut encoder = Encoder::new(coding, effort)?;
        encoder.write(bytes).ok()?;
        encoder.finish().ok()?
    };
    (coded.len() < bytes.len()).then(|| coded.into())
}

fn zstd_whole(bytes: &[u8]) -> Option<Vec<u8>> {
    ZSTD.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = zstd::bulk::Compressor::new(zstd_level(Effort::Low)).ok();
        }
        kept.as_mut()?.compress(bytes).ok()
    })
}
