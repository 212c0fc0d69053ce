//! Signals as bytes of a pipe, so that one call waits for them and for everything else.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::io::{ioctl_fionbio, read, write};
use signal_hook_registry::register;

/// What came since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Came {
    /// How often the end was asked for.
    pub(super) terminate: u32,
}

/// SIGTERM, and SIGCHLD, which only wakes; SIGHUP and SIGINT are ignored.
#[derive(Debug)]
pub(super) struct Signals(OwnedFd);

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        let (reading, writing) = io::pipe()?;
        for end in [reading.as_fd(), writing.as_fd()] {
            ioctl_fionbio(end, true)?;
        }
        let caught = [
            (libc::SIGTERM, b't'),
            (libc::SIGCHLD, b'c'),
            (libc::SIGHUP, b'-'),
            (libc::SIGINT, b'-'),
        ];
        for (signal, byte) in caught {
            let writing = writing.try_clone()?;
            let action = move || {
                // A full pipe wakes as well as one more byte.
                write(&writing, &[byte]).ok();
            };
            // SAFETY: the action makes one system call, write(2), which signal handlers may.
            #[expect(unsafe_code, reason = "a signal handler must be async-signal-safe")]
            unsafe {
                register(signal, action)?;
            }
        }
        Ok(Self(reading.into()))
    }

    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    pub(super) fn take(&self) -> Came {
        let mut came = Came::default();
        let mut bytes = [0; 64];
        while let Ok(length @ 1..) = read(&self.0, &mut bytes) {
            let asked = bytes.iter().take(length).filter(|byte| **byte == b't').count();
            came.terminate += u32::try_from(asked).unwrap_or(u32::MAX);
        }
        came
    }
}
