//! What an application's forked processes must not share with the worker: its connections.
//!
//! A process that the application forks has copies of all descriptors. A connection ends only when
//! the last copy is closed, so that such a process would keep the gateway waiting for a worker that
//! is gone. In the child the copies are replaced by something harmless: the objects that own them
//! do not know.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
};

use pyo3::{prelude::*, types::PyDict};

/// Descriptors that are replaced in children. With more than these, the rest stays open there.
const MOST: usize = 256;
const NONE: RawFd = -1;

static KEPT: [AtomicI32; MOST] = [const { AtomicI32::new(NONE) }; MOST];
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// True in a process that was forked from a worker.
pub(crate) fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}

/// A descriptor that forked processes do not have.
#[derive(Debug)]
pub(crate) struct Kept {
    descriptor: OwnedFd,
    place: Option<&'static AtomicI32>,
}

impl Kept {
    pub(crate) fn new(descriptor: OwnedFd) -> Self {
        let number = descriptor.as_raw_fd();
        let place = KEPT.iter().find(|place| {
            place.compare_exchange(NONE, number, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        });
        Self { descriptor, place }
    }
}

impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Before it is closed: the number may be another's at once.
        if let Some(place) = self.place {
            place.store(NONE, Ordering::Release);
        }
    }
}

/// Has Python call [`in_child`] in every process that is forked.
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    let after = PyDict::new(py);
    after.set_item("after_in_child", wrap_pyfunction!(in_child, py)?)?;
    py.import("os")?.call_method("register_at_fork", (), Some(&after)).map(drop)
}

/// To be called in a forked process before anything else. Takes no lock: the threads that held
/// one are not there any more.
#[pyfunction]
fn in_child() {
    IS_CHILD.store(true, Ordering::Relaxed);
    let Ok(nothing) = nothing() else { return };
    for place in &KEPT {
        let number = place.load(Ordering::Acquire);
        if number != NONE {
            replace(number, &nothing);
        }
    }
}

/// Ends a forked process that came back from the application: the rest is the parent's to do, and
/// locks may be held for ever by threads that are not there.
pub(crate) fn end_child(py: Python<'_>, has_failed: bool) {
    if is_child() {
        let status = i32::from(has_failed);
        let ended = py.import("os").and_then(|os| os.call_method1("_exit", (status,)));
        debug_assert!(ended.is_err(), "it has not ended");
    }
}

/// What reads as ended and cannot be written to.
fn nothing() -> std::io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags, open};
    Ok(open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

fn replace(number: RawFd, nothing: &OwnedFd) {
    use std::os::fd::FromRawFd as _;
    #[expect(unsafe_code, reason = "the owner of the descriptor keeps it")]
    // SAFETY: the number is that of a descriptor that is open as long as it is in the table.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    let mut owned = std::mem::ManuallyDrop::new(owned);
    // Where this fails, the child has what it had without us.
    let _ = rustix::io::dup2(nothing, &mut owned);
}
