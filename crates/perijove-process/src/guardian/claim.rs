//! The right to hold a server: for each status file there is one guardian at a time.

use std::{
    fs::OpenOptions,
    io,
    os::{
        fd::{FromRawFd as _, OwnedFd, RawFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::{Errno, FdFlags, fcntl_setfd},
};

use super::status::beside;

/// Held by a guardian for as long as it lives, and by its starter until then: a starter that is
/// killed leaves it with the guardian on its way. The kernel takes it back from both, however they
/// end.
#[derive(Debug)]
pub struct Claim(OwnedFd);

/// Takes the right to start a guardian with this status file; `None` while another one runs, or is
/// about to. The folder must be there.
pub fn claim(status: &Path) -> io::Result<Option<Claim>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(beside(status, "lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Claim(file.into()))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Claim {
    /// The same right once more, free when both are dropped.
    pub fn share(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.0
    }

    /// Takes over the claim that came under an agreed number. What the guardian starts must not
    /// have it, too.
    pub(super) fn inherit(number: RawFd) -> io::Result<Self> {
        // SAFETY: the starter passed the claim under this number, and nothing here has used it.
        #[expect(unsafe_code, reason = "an inherited descriptor is known by its number only")]
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
        Ok(Self(descriptor))
    }
}
