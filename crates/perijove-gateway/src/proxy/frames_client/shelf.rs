//! The shelf of a link: memory shared with the worker, on which long pieces of bodies change hands
//! without going through the socket.
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
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

#[cfg(target_os = "linux")]
use crate::linux::{forget_memory, memory_file};
#[cfg(not(target_os = "linux"))]
use crate::portable::{forget_memory, memory_file};
use crate::proxy::frames::{FIRST_TRAY, IDS, TRAY, TRAYS};

const SIZE: usize = FIRST_TRAY + TRAYS * TRAY;

const FREE: u8 = 0;
const TAKEN: u8 = 1;

/// What is shared with a worker: the claims, then the shelf.
pub(super) fn shared_file() -> io::Result<OwnedFd> {
    memory_file((IDS + SIZE) as u64)
}

#[derive(Debug)]
pub(super) struct Shelf {
    start: NonNull<u8>,
    /// Trays that may hold memory, as bits.
    used: AtomicU32,
}

#[expect(unsafe_code, reason = "a mapping may be used from every thread")]
// SAFETY: who may touch a tray is settled by atomic operations; the mapping lives until drop.
unsafe impl Send for Shelf {}
#[expect(unsafe_code, reason = "a mapping may be used from every thread")]
// SAFETY: as for Send.
unsafe impl Sync for Shelf {}

impl Shelf {
    /// Maps what lies behind the claims.
    pub(super) fn map(file: &OwnedFd) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let offset = IDS as u64;
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: a new mapping, which nothing else in this process refers to. The file cannot
        // shrink below it.
        let start =
            unsafe { mmap(ptr::null_mut(), SIZE, protection, MapFlags::SHARED, file, offset) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { start, used: AtomicU32::new(0) })
    }

    /// Copies a piece, at most [`TRAY`] bytes, to a free tray.
    pub(super) fn lay(self: &Arc<Self>, piece: &[u8]) -> Option<Tray> {
        if piece.len() > TRAY {
            return None;
        }
        let number = (0..TRAYS).find(|number| {
            let state = self.state(*number);
            // A look first: a swap takes the line away from the other side.
            state.load(Ordering::Relaxed) == FREE
                && state.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
        })?;
        let tray = self.tray(number, piece.len());
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: the tray is taken and has room for the piece, which lies elsewhere.
        unsafe {
            tray.start().copy_from_nonoverlapping(NonNull::from(piece).cast(), piece.len());
        }
        Some(tray)
    }

    /// Takes up what the worker says lies on a tray; `None` when that cannot be.
    pub(super) fn take_up(self: &Arc<Self>, number: u16, length: usize) -> Option<Tray> {
        let number = usize::from(number);
        let is_there =
            number < TRAYS && length <= TRAY && self.state(number).load(Ordering::Acquire) == TAKEN;
        is_there.then(|| self.tray(number, length))
    }

    /// Whether trays may hold memory although nothing lies on them.
    pub(super) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed) != 0
    }

    /// Gives the memory of free trays back to the system.
    pub(super) fn clear(&self) {
        let used = self.used.swap(0, Ordering::Relaxed);
        for number in (0..TRAYS).filter(|number| used & (1 << number) != 0) {
            let state = self.state(number);
            let taken = state.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed);
            if taken.is_ok() {
                // Where this fails, it keeps its memory.
                drop(forget_memory(self.at(number), TRAY));
                state.store(FREE, Ordering::Release);
            } else {
                self.used.fetch_or(1 << number, Ordering::Relaxed);
            }
        }
    }

    fn tray(self: &Arc<Self>, number: usize, length: usize) -> Tray {
        self.used.fetch_or(1 << number, Ordering::Relaxed);
        Tray { shelf: self.clone(), number, length, is_ours: true }
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
///
/// The worker could change the bytes under our hands. They are a body's: nothing here is decided
/// by what they are, they are only copied on.
#[derive(Debug)]
pub(super) struct Tray {
    shelf: Arc<Shelf>,
    number: usize,
    length: usize,
    is_ours: bool,
}

impl Tray {
    /// The number that goes into a frame: from then on the tray is the worker's to free.
    pub(super) fn hand_over(mut self) -> (u16, usize) {
        self.is_ours = false;
        (u16::try_from(self.number).unwrap_or(u16::MAX), self.length)
    }

    fn start(&self) -> NonNull<u8> {
        self.shelf.at(self.number)
    }
}

impl AsRef<[u8]> for Tray {
    fn as_ref(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "memory shared between processes has no safe interface")]
        // SAFETY: the mapping has so many bytes there and lives as long as self; the worker leaves
        // a tray alone that it has handed over.
        unsafe {
            std::slice::from_raw_parts(self.start().as_ptr(), self.length)
        }
    }
}

impl Drop for Tray {
    fn drop(&mut self) {
        if self.is_ours {
            self.shelf.state(self.number).store(FREE, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Shelf, TRAY, TRAYS, shared_file};

    /// Two mappings of one file, as gateway and worker have them.
    fn sides() -> (Arc<Shelf>, Arc<Shelf>) {
        let file = shared_file().unwrap();
        (Arc::new(Shelf::map(&file).unwrap()), Arc::new(Shelf::map(&file).unwrap()))
    }

    #[test]
    fn what_is_laid_on_one_side_is_taken_up_on_the_other() {
        let (ours, theirs) = sides();
        let piece: Vec<u8> = (0..TRAY).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let (number, length) = ours.lay(&piece).unwrap().hand_over();
        let tray = theirs.take_up(number, length).unwrap();
        assert!(tray.as_ref() == piece);
        drop(tray);
        assert!(theirs.take_up(number, length).is_none(), "it is free again");
    }

    #[test]
    fn no_tray_is_taken_twice() {
        let (ours, theirs) = sides();
        let mut laid = Vec::new();
        for number in 0..TRAYS {
            let side = if number % 2 == 0 { &ours } else { &theirs };
            laid.push(side.lay(number.to_string().as_bytes()).unwrap());
        }
        assert!(ours.lay(b"more").is_none());
        assert!(theirs.lay(b"more").is_none());
        for (number, tray) in laid.iter().enumerate() {
            assert_eq!(tray.as_ref(), number.to_string().as_bytes());
        }
        laid.pop();
        assert!(ours.lay(b"more").is_some());
    }

    #[test]
    fn what_cannot_be_is_not_taken_up() {
        let (ours, theirs) = sides();
        let (number, _) = ours.lay(b"piece").unwrap().hand_over();
        assert!(theirs.take_up(number, TRAY + 1).is_none());
        assert!(theirs.take_up(number + 1, 1).is_none());
        assert!(theirs.take_up(u16::MAX, 1).is_none());
        assert!(ours.lay(&vec![0; TRAY + 1]).is_none());
    }

    #[test]
    fn memory_is_given_back_unless_something_lies_there() {
        let (ours, theirs) = sides();
        let kept = ours.lay(b"kept").unwrap();
        let (number, _) = ours.lay(b"gone").unwrap().hand_over();
        drop(theirs.take_up(number, 4));
        ours.clear();
        assert_eq!(kept.as_ref(), b"kept");
        assert!(ours.is_used());
        let (again, _) = theirs.lay(b"").unwrap().hand_over();
        assert_eq!(again, number);
        let cleared = ours.take_up(again, 4).unwrap();
        if cfg!(target_os = "linux") {
            assert_eq!(cleared.as_ref(), [0; 4]);
        }
        drop((kept, cleared));
        ours.clear();
        assert!(!ours.is_used());
    }
}
