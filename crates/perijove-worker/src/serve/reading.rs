//! The receiving side of all connections, which only the leading thread touches.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    Pending, Server,
    link::{Guest, Link, Secret},
};
use crate::{connection::Connection, lock, platform};

/// Connections that have not said `HELLO`, and how long they may take.
const GUESTS: usize = 64;
const GREETING_TIME: Duration = Duration::from_secs(5);

/// Listener, connections, and those that have yet to say who they are.
#[derive(Debug)]
pub(super) struct Reading {
    listener: Option<OwnedFd>,
    woken: OwnedFd,
    secret: Secret,
    threads: u16,
    guests: Vec<Guest>,
    links: Vec<Link>,
}

/// What a look at all descriptors found.
struct Ready {
    woken: bool,
    listener: bool,
    guests: Vec<bool>,
    links: Vec<PollFlags>,
}

impl Reading {
    pub(super) fn new(
        listener: OwnedFd,
        woken: OwnedFd,
        secret: Secret,
        threads: u16,
    ) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&listener, true)?;
        rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC)?;
        let listener = Some(listener);
        Ok(Self { listener, woken, secret, threads, guests: Vec::new(), links: Vec::new() })
    }

    /// Waits for something to come, reads it, and gives the requests among it.
    pub(super) fn turn(&mut self, server: &Server, within: Duration) -> Vec<Pending> {
        if server.is_draining() {
            self.listener = None;
        }
        let within = if self.guests.is_empty() { within } else { within.min(GREETING_TIME) };
        let Some(ready) = self.poll(within) else { return Vec::new() };
        if ready.woken {
            self.drain_pipe();
        }
        let mut arrived = Vec::new();
        self.read_links(server, &ready.links, &mut arrived);
        self.greet(server, &ready.guests);
        if ready.listener {
            self.accept();
        }
        arrived
    }

    fn poll(&self, within: Duration) -> Option<Ready> {
        let mut watched = Vec::with_capacity(2 + self.links.len() + self.guests.len());
        watched.push(PollFd::new(&self.woken, PollFlags::IN));
        for link in &self.links {
            let room =
                if link.connection.is_blocked() { PollFlags::OUT } else { PollFlags::empty() };
            watched.push(PollFd::from_borrowed_fd(link.connection.as_fd(), PollFlags::IN | room));
        }
        for guest in &self.guests {
            watched.push(PollFd::new(&guest.socket, PollFlags::IN));
        }
        if let Some(listener) = &self.listener {
            watched.push(PollFd::new(listener, PollFlags::IN));
        }
        let limit = Timespec::try_from(within).ok();
        match poll(&mut watched, limit.as_ref()) {
            Ok(_) => {}
            // A signal: the main thread deals with it.
            Err(Errno::INTR) => return None,
            Err(_) => {
                std::thread::sleep(Duration::from_millis(10));
                return None;
            }
        }
        let mut found = watched.iter().map(PollFd::revents);
        let woken = found.next().is_some_and(|events| !events.is_empty());
        let links = found.by_ref().take(self.links.len()).collect();
        let guests =
            found.by_ref().take(self.guests.len()).map(|events| !events.is_empty()).collect();
        let listener = found.next().is_some_and(|events| !events.is_empty());
        Some(Ready { woken, listener, guests, links })
    }

    fn drain_pipe(&self) {
        let mut bytes = [0_u8; 64];
        while matches!(rustix::io::read(&self.woken, &mut bytes), Ok(64)) {}
    }

    fn read_links(&mut self, server: &Server, events: &[PollFlags], arrived: &mut Vec<Pending>) {
        let mut has_ended = false;
        for (link, events) in self.links.iter_mut().zip(events) {
            if events.contains(PollFlags::OUT) && !link.connection.push() {
                server.wake_waiting();
            }
            if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                link.read(arrived);
            }
            has_ended |= link.connection.is_gone();
        }
        if has_ended {
            self.links.iter_mut().for_each(Link::end_if_gone);
            self.links.retain(|link| !link.connection.is_gone());
            self.publish(server);
        }
    }

    /// Tells the others which connections there are.
    fn publish(&self, server: &Server) {
        let connections: Vec<Arc<Connection>> =
            self.links.iter().map(|link| link.connection.clone()).collect();
        *lock(&server.connections) = connections;
    }

    /// Hears who the new connections are.
    fn greet(&mut self, server: &Server, ready: &[bool]) {
        if self.guests.is_empty() {
            return;
        }
        let guests = std::mem::take(&mut self.guests);
        let count = self.links.len();
        let ready = ready.iter().copied().chain(std::iter::repeat(false));
        for (mut guest, is_ready) in guests.into_iter().zip(ready) {
            if !is_ready {
                if guest.since.elapsed() < GREETING_TIME {
                    self.guests.push(guest);
                }
                continue;
            }
            match guest.hear(&self.secret) {
                Ok(None) => self.guests.push(guest),
                Ok(Some(claims)) => self.links.push(guest.welcome(claims, self.threads)),
                Err(reason) => complain(reason),
            }
        }
        if self.links.len() != count {
            self.publish(server);
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        while let Ok(socket) = platform::accept(listener) {
            if self.guests.len() < GUESTS {
                self.guests.push(Guest::new(socket, Instant::now()));
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "a worker's log is its standard error")]
fn complain(reason: &str) {
    eprintln!("perijove: a connection to the worker was refused: {reason}");
}
