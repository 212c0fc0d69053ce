//! The claims of a link: a page shared with the worker that says, for each id, whether its request
//! was entered (1) or recalled (2).

use std::{
    io,
    os::fd::OwnedFd,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU8, Ordering},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::proxy::frames::IDS;

const WAITING: u8 = 0;
const RECALLED: u8 = 2;

#[derive(Debug)]
pub(super) struct Claims {
    first: NonNull<AtomicU8>,
}

#[expect(unsafe_code, reason = "a mapping may be used from every thread")]
// SAFETY: the mapping is only reached through atomic operations and lives until drop.
unsafe impl Send for Claims {}
#[expect(unsafe_code, reason = "a mapping may be used from every thread")]
// SAFETY: as for Send.
unsafe impl Sync for Claims {}

impl Claims {
    /// Maps the beginning of the file that is shared with the worker.
    pub(super) fn map(file: &OwnedFd) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: a new mapping, which nothing else in this process refers to. The file cannot
        // shrink below it.
        let start = unsafe { mmap(ptr::null_mut(), IDS, protection, MapFlags::SHARED, file, 0) }?;
        let first = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { first })
    }

    /// Says that a request waits.
    pub(super) fn wait(&self, id: u16) {
        if let Some(claim) = self.claim(id) {
            claim.store(WAITING, Ordering::Release);
        }
    }

    /// Whether a request still waits.
    pub(super) fn is_waiting(&self, id: u16) -> bool {
        self.claim(id).is_some_and(|claim| claim.load(Ordering::Acquire) == WAITING)
    }

    /// Takes a request back; false when the worker has entered it.
    pub(super) fn recall(&self, id: u16) -> bool {
        self.claim(id).is_some_and(|claim| {
            let swapped =
                claim.compare_exchange(WAITING, RECALLED, Ordering::AcqRel, Ordering::Acquire);
            swapped.is_ok()
        })
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

#[cfg(test)]
mod tests {
    use super::Claims;
    use crate::proxy::frames_client::shelf::shared_file;

    #[test]
    fn a_claim_is_recalled_once_and_only_before_it_is_entered() {
        let claims = Claims::map(&shared_file().unwrap()).unwrap();
        claims.wait(4095);
        assert!(claims.is_waiting(4095));
        assert!(claims.recall(4095));
        assert!(!claims.is_waiting(4095));
        assert!(!claims.recall(4095));
        claims.claim(0).unwrap().store(1, std::sync::atomic::Ordering::Release);
        assert!(!claims.recall(0));
        assert!(!claims.recall(4096));
    }
}
