//! The receiving side of all connections, which only the leading thread touches.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{Pending, Server, link::Link};
use crate::{connection::Connection, lock};

/// The connections, and what interrupts the wait for them.
#[derive(Debug)]
pub(super) struct Reading {
    woken: OwnedFd,
    links: Vec<Link>,
}

/// What a look at all descriptors found.
struct Ready {
    woken: bool,
    links: Vec<PollFlags>,
}

impl Reading {
    pub(super) fn new(woken: OwnedFd) -> Self {
        Self { woken, links: Vec::new() }
    }

    /// Waits for something to come, reads it, and gives the requests among it.
    pub(super) fn turn(&mut self, server: &Server, within: Duration) -> Vec<Pending> {
        let Some(ready) = self.poll(within) else { return Vec::new() };
        let mut arrived = Vec::new();
        self.read_links(server, &ready.links, &mut arrived);
        if ready.woken {
            self.drain_pipe();
            self.take_newcomers(server);
        }
        arrived
    }

    /// Takes in those whom the door has greeted.
    fn take_newcomers(&mut self, server: &Server) {
        let newcomers = std::mem::take(&mut *lock(&server.newcomers));
        if !newcomers.is_empty() {
            self.links.extend(newcomers);
            self.publish(server);
        }
    }

    fn poll(&self, within: Duration) -> Option<Ready> {
        let mut watched = Vec::with_capacity(1 + self.links.len());
        watched.push(PollFd::new(&self.woken, PollFlags::IN));
        for link in &self.links {
            let room =
                if link.connection.is_blocked() { PollFlags::OUT } else { PollFlags::empty() };
            watched.push(PollFd::from_borrowed_fd(link.connection.as_fd(), PollFlags::IN | room));
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
        Some(Ready { woken, links: found.collect() })
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
}
