//! What only Linux offers: a timer that is armed without waking anybody, `accept4`.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::{
    net::{SocketFlags, accept_with},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

/// A timer on which one thread waits and which others arm.
///
/// A `timerfd`, because arming it costs one system call and wakes nobody, while a futex would wake
/// the waiting thread twice for every request.
#[derive(Debug)]
pub(crate) struct Timer {
    descriptor: OwnedFd,
}

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        Ok(Self { descriptor })
    }

    /// Lets [`Timer::wait`] return once, `after` that time.
    pub(crate) fn arm(&self, after: Duration) {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec::try_from(after).unwrap_or(none);
        let timer = Itimerspec { it_interval: none, it_value: value };
        let armed = timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &timer);
        debug_assert!(armed.is_ok(), "a timer of ours could not be armed");
    }

    /// Waits until the timer runs out.
    ///
    /// # Errors
    /// When the timer cannot be read any more.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let mut count = [0_u8; 8];
        rustix::io::retry_on_intr(|| rustix::io::read(&self.descriptor, &mut count))?;
        Ok(())
    }
}

/// Accepts a connection that neither blocks nor reaches programs which the application starts.
pub(crate) fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
}
