//! What only Linux offers: a timer that is armed without waking anybody, pipes and sockets
//! that never reach a child.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    net::{RecvFlags, SocketFlags, accept_with},
    pipe::{PipeFlags, pipe_with},
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

/// Descriptors that are received do not reach programs which the application starts.
pub(crate) const RECEIVED: RecvFlags = RecvFlags::CMSG_CLOEXEC;

/// A pipe neither of whose ends blocks.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

/// Accepts a connection that neither blocks nor reaches programs which the application starts.
pub(crate) fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    Ok(accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
}
