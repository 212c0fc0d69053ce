//! Who comes in. A thread of its own accepts connections and hears who they are, so that a gateway
//! is greeted at once even while all other threads are inside the application.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    Server,
    link::{Guest, Secret},
};
use crate::{forked::Kept, platform};

/// Connections that have not said `HELLO`, and how long they may take.
const GUESTS: usize = 64;
const GREETING_TIME: Duration = Duration::from_secs(5);
/// How long to wait when a connection cannot be accepted, for want of descriptors for example.
const PAUSE: Duration = Duration::from_millis(50);

/// The listener, and those that have yet to say who they are.
#[derive(Debug)]
pub(crate) struct Door {
    listener: Kept,
    /// Says that the worker drains.
    closing: OwnedFd,
    secret: Secret,
    threads: u16,
    guests: Vec<Guest>,
}

impl Door {
    pub(super) fn new(
        listener: OwnedFd,
        closing: OwnedFd,
        secret: Secret,
        threads: u16,
    ) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&listener, true)?;
        rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC)?;
        Ok(Self { listener: Kept::new(listener), closing, secret, threads, guests: Vec::new() })
    }

    /// Lets connections in until the worker drains; then nobody listens any more.
    pub(crate) fn attend(mut self, server: &Server) {
        while !server.is_draining() {
            match self.wait() {
                Ok(ready) => self.hear(server, &ready),
                // A signal: the main thread deals with it.
                Err(Errno::INTR) => {}
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Waits until something has come. What did, for the listener and each guest.
    fn wait(&self) -> rustix::io::Result<Vec<bool>> {
        let mut watched = vec![
            PollFd::new(&self.closing, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        watched.extend(self.guests.iter().map(|guest| PollFd::new(&guest.socket, PollFlags::IN)));
        let limit = (!self.guests.is_empty()).then(|| Timespec::try_from(GREETING_TIME).ok());
        poll(&mut watched, limit.flatten().as_ref())?;
        Ok(watched.iter().skip(1).map(|watched| !watched.revents().is_empty()).collect())
    }

    fn hear(&mut self, server: &Server, ready: &[bool]) {
        let (has_callers, heard) = ready.split_first().unwrap_or((&false, &[]));
        for (mut guest, is_ready) in std::mem::take(&mut self.guests).into_iter().zip(heard) {
            if !is_ready {
                if guest.since.elapsed() < GREETING_TIME {
                    self.guests.push(guest);
                }
                continue;
            }
            match guest.hear(&self.secret) {
                Ok(None) => self.guests.push(guest),
                Ok(Some(shared)) => server.let_in(guest.welcome(shared, self.threads)),
                Err(reason) => complain(reason),
            }
        }
        if *has_callers {
            self.accept();
        }
    }

    fn accept(&mut self) {
        loop {
            match platform::accept(&self.listener) {
                Ok(socket) if self.guests.len() < GUESTS => {
                    self.guests.push(Guest::new(Kept::new(socket), Instant::now()));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return std::thread::sleep(PAUSE),
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "a worker's log is its standard error")]
fn complain(reason: &str) {
    eprintln!("perijove: a connection to the worker was refused: {reason}");
}
