//! The shelf of a connection: memory shared with the gateway, on which long pieces of bodies change
//! hands without going through the socket.
//!
//! A piece lies on a tray. Whoever has one to pass on takes a free tray, copies the piece to it and
//! sends a frame with the tray's number; the tray is free again when the other side has done with
//! it. When all are taken, bodies go through the socket, as they do when they are short.

use std::{
    io,
    os::fd::OwnedFd,
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use rustix::{
    fs::fstat,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use crate::{
    forked,
    frames::{FIRST_TRAY, IDS, TRAY, TRAYS},
};

const SIZE: usize = FIRST_TRAY + TRAYS * TRAY;

const FREE: u8 = 0;
const TAKEN: u8 = 1;

#[derive(Debug)]
pub(crate) struct Shelf {
    start: NonNull<u8>,
}

#[expect(unsafe_code, reason = "a mapping may be used from every thread")]
// SAFETY: who may touch a tray is settled by atomic operations; the mapping lives until drop.
unsafe impl Send for Shelf {}
#[expect(unsafe_code, reason = "a mapping may be used from every thread")]
// SAFETY: as for Send.
unsafe impl Sync for Shelf {}

impl Shelf {
    /// Maps what lies behind the claims; `None` when the gateway brought no shelf.
    pub(crate) fn map(file: &OwnedFd) -> io::Result<Option<Self>> {
        let size = usize::try_from(fstat(file)?.st_size).unwrap_or_default();
        if size < IDS + SIZE {
            return Ok(None);
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let offset = IDS as u64;
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: a new mapping, which nothing else in this process refers to.
        let start =
            unsafe { mmap(ptr::null_mut(), SIZE, protection, MapFlags::SHARED, file, offset) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some(Self { start }))
    }

    /// A free tray for a piece of that length, to be filled.
    pub(crate) fn take(self: &Arc<Self>, length: usize) -> Option<Tray> {
        if length > TRAY {
            return None;
        }
        let number = (0..TRAYS).find(|number| {
            let state = self.state(*number);
            // A look first: a swap takes the line away from the other side.
            state.load(Ordering::Relaxed) == FREE
                && state.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
        })?;
        Some(Tray { shelf: self.clone(), number, length, is_ours: true })
    }

    /// Takes up what the gateway says lies on a tray; `None` when that cannot be.
    pub(crate) fn take_up(self: &Arc<Self>, number: u16, length: usize) -> Option<Tray> {
        let number = usize::from(number);
        let is_there =
            number < TRAYS && length <= TRAY && self.state(number).load(Ordering::Acquire) == TAKEN;
        is_there.then(|| Tray { shelf: self.clone(), number, length, is_ours: true })
    }

    fn state(&self, number: usize) -> &AtomicU8 {
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: the mapping begins with TRAYS bytes, and the number is below that.
        let state = unsafe { self.start.add(number.min(TRAYS - 1)) }.cast();
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: any byte is a valid AtomicU8, and the mapping lives as long as self.
        unsafe {
            state.as_ref()
        }
    }

    fn at(&self, number: usize) -> NonNull<u8> {
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: the mapping has room for TRAYS trays.
        unsafe {
            self.start.add(FIRST_TRAY + number.min(TRAYS - 1) * TRAY)
        }
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: this is what mmap returned, and trays hold the shelf.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), SIZE) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours could not be unmapped");
    }
}

/// A piece on a tray, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Tray {
    shelf: Arc<Shelf>,
    number: usize,
    length: usize,
    is_ours: bool,
}

impl Tray {
    /// Copies a piece to it, of which no more is taken than it was asked for.
    pub(crate) fn fill(&mut self, piece: &[u8]) {
        self.length = self.length.min(piece.len());
        let start = self.shelf.at(self.number);
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: the tray is ours alone and has room for so many bytes, which lie elsewhere.
        unsafe {
            start.copy_from_nonoverlapping(NonNull::from(piece).cast(), self.length);
        }
    }

    /// The number and the length that go into a frame: from then on it is the gateway's to free.
    pub(crate) fn hand_over(mut self) -> (u16, usize) {
        self.is_ours = false;
        (u16::try_from(self.number).unwrap_or(u16::MAX), self.length)
    }
}

impl AsRef<[u8]> for Tray {
    fn as_ref(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: the mapping has so many bytes there and lives as long as self; the gateway leaves
        // a tray alone that it has handed over.
        unsafe {
            std::slice::from_raw_parts(self.shelf.at(self.number).as_ptr(), self.length)
        }
    }
}

impl Drop for Tray {
    fn drop(&mut self) {
        // In a process that the application forked, it is still the parent's.
        if self.is_ours && !forked::is_child() {
            self.shelf.state(self.number).store(FREE, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::fd::OwnedFd, sync::Arc};

    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    use super::{IDS, SIZE, Shelf, TRAY, TRAYS};

    fn file(size: usize) -> OwnedFd {
        let file = memfd_create("shelf", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, size as u64).unwrap();
        file
    }

    /// Two mappings of one file, as gateway and worker have them.
    fn sides() -> (Arc<Shelf>, Arc<Shelf>) {
        let file = file(IDS + SIZE);
        let map = || Arc::new(Shelf::map(&file).unwrap().unwrap());
        (map(), map())
    }

    #[test]
    fn a_gateway_that_brings_claims_only_has_no_shelf() {
        assert!(Shelf::map(&file(IDS)).unwrap().is_none());
        assert!(Shelf::map(&file(IDS + SIZE - 1)).unwrap().is_none());
    }

    #[test]
    fn what_is_laid_on_one_side_is_taken_up_on_the_other() {
        let (ours, theirs) = sides();
        let piece: Vec<u8> = (0..TRAY).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut tray = ours.take(TRAY).unwrap();
        tray.fill(&piece);
        let (number, length) = tray.hand_over();
        let tray = theirs.take_up(number, length).unwrap();
        assert!(tray.as_ref() == piece);
        drop(tray);
        assert!(theirs.take_up(number, length).is_none(), "it is free again");
        assert!(ours.take(TRAY + 1).is_none());
    }

    #[test]
    fn no_tray_is_taken_twice() {
        let (ours, theirs) = sides();
        let side = |number| if number % 2 == 0 { &ours } else { &theirs };
        let mut taken: Vec<_> = (0..TRAYS).map(|number| side(number).take(1).unwrap()).collect();
        assert!(ours.take(1).is_none());
        taken.pop();
        assert!(ours.take(1).is_some());
        assert!(theirs.take_up(u16::MAX, 1).is_none());
        assert!(theirs.take_up(0, TRAY + 1).is_none());
    }
}
