//! What stands in for `linux.rs` on other systems. Compiled there, not tested there.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Condvar, Mutex},
    time::Duration,
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{FdFlags, fcntl_setfd},
    net::RecvFlags,
};

use crate::lock;

/// A timer on which one thread waits and which others arm.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    armed: Mutex<Option<Duration>>,
    changed: Condvar,
}

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    /// Lets [`Timer::wait`] return once, `after` that time.
    pub(crate) fn arm(&self, after: Duration) {
        *lock(&self.armed) = Some(after);
        self.changed.notify_one();
    }

    /// Waits until the timer runs out.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let mut armed = lock(&self.armed);
        loop {
            if let Some(after) = armed.take() {
                drop(armed);
                std::thread::sleep(after);
                return Ok(());
            }
            armed = self.changed.wait(armed).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

pub(crate) const RECEIVED: RecvFlags = RecvFlags::empty();

/// A pipe neither of whose ends blocks.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe()?;
    prepare(&reader)?;
    prepare(&writer)?;
    Ok((reader, writer))
}

/// Accepts a connection that neither blocks nor reaches programs which the application starts.
pub(crate) fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    let socket = rustix::net::accept(listener)?;
    prepare(&socket)?;
    Ok(socket)
}

fn prepare(descriptor: &OwnedFd) -> io::Result<()> {
    fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
    let flags = fcntl_getfl(descriptor)?;
    Ok(fcntl_setfl(descriptor, flags | OFlags::NONBLOCK)?)
}
