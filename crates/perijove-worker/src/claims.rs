//! The claims of a connection: a page shared with the gateway that says, for each id, whether its
//! request was entered (1) or called back (2).

use std::{
    io,
    os::fd::OwnedFd,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU8, Ordering},
};

use rustix::{
    fs::fstat,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use crate::frames::IDS;

const WAITING: u8 = 0;
const ENTERED: u8 = 1;

/// The mapped claims of one connection.
#[derive(Debug)]
pub(crate) struct Claims {
    first: NonNull<AtomicU8>,
}

#[expect(unsafe_code, reason = "a mapping may be used from every thread")]
// SAFETY: the mapping is only reached through atomic operations and lives until drop.
unsafe impl Send for Claims {}
#[expect(unsafe_code, reason = "a mapping may be used from every thread")]
// SAFETY: as for Send.
unsafe impl Sync for Claims {}

impl Claims {
    /// Maps the memory file that came with `HELLO`.
    ///
    /// # Errors
    /// When the file is too small, or cannot be mapped.
    pub(crate) fn map(file: &OwnedFd) -> io::Result<Self> {
        let size = usize::try_from(fstat(file)?.st_size).unwrap_or_default();
        if size < IDS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the claims are too small"));
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: a new mapping, which nothing else in this process refers to.
        let start = unsafe { mmap(ptr::null_mut(), IDS, protection, MapFlags::SHARED, file, 0) }?;
        let first = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { first })
    }

    /// Claims a request before the application is entered; false when it was called back.
    pub(crate) fn enter(&self, id: u16) -> bool {
        let Some(claim) = self.claim(id) else { return false };
        claim.compare_exchange(WAITING, ENTERED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn claim(&self, id: u16) -> Option<&AtomicU8> {
        if usize::from(id) >= IDS {
            return None;
        }
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: the mapping has IDS bytes, and the id is below that.
        let claim = unsafe { self.first.add(usize::from(id)) };
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: any byte is a valid AtomicU8, and the mapping lives as long as self.
        Some(unsafe { claim.as_ref() })
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: this is what mmap returned, and no reference outlives self.
        let unmapped = unsafe { munmap(self.first.as_ptr().cast(), IDS) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours could not be unmapped");
    }
}
