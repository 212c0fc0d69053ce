//! Whose turn it is: one thread leads and reads for all, and when it is held up another takes over.
//! Plain state without clocks and system calls; whoever is named in an answer is to be woken.
//!
//! ```text
//!            step: nobody leads                step: a request waits
//!   Parked ───────────────────────▶ Reading ──────────────────────────▶ Inside
//!     ▲                              ▲   ▲                               │ │ │
//!     │ step: another leads          │   └───────── step ────────────────┘ │ │ wait: for body
//!     └──────────────────────────────┼──── tick: inside for a tick ────────┘ ▼ or credit
//!                                    └───────── end of the wait ───────── Waiting (reads meanwhile)
//! ```

use std::collections::VecDeque;

/// Number of a thread.
pub(crate) type Seat = usize;

/// What a thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<T> {
    /// Enter the application with this; start the clock when `arm`.
    Enter { item: T, arm: bool },
    /// Read the connections, then ask again.
    Read,
    /// Sleep until woken.
    Park,
    /// All is done.
    End,
}

/// What the clock found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) wake: Option<Seat>,
    /// Whether the clock is to run on.
    pub(crate) again: bool,
}

/// What a thread that waits amid a request does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Read the connections itself.
    Read,
    /// Sleep until woken. Another thread may have to be woken first.
    Park { wake: Option<Seat> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Reading, or about to.
    Reading,
    /// Inside the application: whoever comes may take the lead after a tick.
    Inside,
    /// Reading for want of somebody else, amid a request.
    Waiting,
}

/// The turn, and the requests in line.
#[derive(Debug)]
pub(crate) struct Turn<T> {
    leader: Option<Seat>,
    /// Where the leader is.
    place: Place,
    queue: VecDeque<T>,
    /// Parked threads, the last one first to be woken: its memory is still warm.
    idle: Vec<Seat>,
    /// Threads that sleep amid a request.
    waiting: Vec<Seat>,
    /// Threads inside the application, waiting ones included.
    inside: usize,
    is_armed: bool,
    /// Counts entries, and the count at the last tick.
    entered: u64,
    seen: u64,
    is_closing: bool,
}

impl<T> Turn<T> {
    pub(crate) fn new() -> Self {
        Self {
            leader: None,
            place: Place::Reading,
            queue: VecDeque::new(),
            idle: Vec::new(),
            waiting: Vec::new(),
            inside: 0,
            is_armed: false,
            entered: 0,
            seen: 0,
            is_closing: false,
        }
    }

    /// Puts requests in line.
    pub(crate) fn push(&mut self, items: impl IntoIterator<Item = T>) {
        self.queue.extend(items);
    }

    /// From now on threads end when nothing is left to do.
    pub(crate) fn close(&mut self) {
        self.is_closing = true;
    }

    /// True when threads end, and nothing is under way.
    pub(crate) fn is_over(&self) -> bool {
        self.is_closing && self.inside == 0 && self.queue.is_empty()
    }

    pub(crate) fn is_leader(&self, seat: Seat) -> bool {
        self.leader == Some(seat)
    }

    /// Parked threads, all of which are to be woken when the end has come.
    pub(crate) fn idle(&self) -> &[Seat] {
        &self.idle
    }

    /// Threads that sleep amid a request.
    pub(crate) fn waiting(&self) -> &[Seat] {
        &self.waiting
    }

    /// What a thread does next; `was_inside` when it comes from the application.
    pub(crate) fn step(&mut self, seat: Seat, was_inside: bool) -> Step<T> {
        self.inside -= usize::from(was_inside);
        self.idle.retain(|other| *other != seat);
        if self.leader.is_none() || self.leader == Some(seat) {
            self.leader = Some(seat);
            self.place = Place::Reading;
            return match self.queue.pop_front() {
                Some(item) => {
                    self.place = Place::Inside;
                    self.enter(item)
                }
                None if self.is_over() => self.leave(),
                None => Step::Read,
            };
        }
        if self.place == Place::Waiting
            && let Some(item) = self.queue.pop_front()
        {
            return self.enter(item);
        }
        if self.is_over() {
            return Step::End;
        }
        self.idle.push(seat);
        Step::Park
    }

    fn enter(&mut self, item: T) -> Step<T> {
        self.inside += 1;
        Step::Enter { item, arm: self.start_clock() }
    }

    fn leave(&mut self) -> Step<T> {
        self.leader = None;
        Step::End
    }

    /// Notes that the application was entered. True when the clock must be started.
    fn start_clock(&mut self) -> bool {
        self.entered += 1;
        if self.is_armed {
            return false;
        }
        self.is_armed = true;
        self.seen = self.entered;
        true
    }

    /// The clock ran out: when nothing was entered since, somebody else takes over.
    pub(crate) fn tick(&mut self) -> Tick {
        let is_held_up = self.entered == self.seen;
        self.seen = self.entered;
        let mut wake = None;
        if is_held_up {
            if self.leader.is_some() && self.place == Place::Inside {
                self.leader = None;
            }
            if self.leader.is_none() {
                wake = self.idle.pop().or_else(|| self.waiting.pop());
            } else if self.place == Place::Waiting && !self.queue.is_empty() {
                wake = self.idle.pop();
            }
        }
        let leads_inside = self.leader.is_some() && self.place == Place::Inside;
        let again = leads_inside || (!self.queue.is_empty() && !self.idle.is_empty());
        self.is_armed = again;
        Tick { wake, again }
    }

    /// A thread amid a request has to wait: it reads itself when nobody else does, unless there
    /// are requests and somebody free to work on them.
    pub(crate) fn wait(&mut self, seat: Seat) -> Wait {
        self.waiting.retain(|other| *other != seat);
        let mut wake = None;
        if self.leader.is_none() || self.leader == Some(seat) {
            let successor = if self.queue.is_empty() { None } else { self.idle.pop() };
            if successor.is_none() {
                self.leader = Some(seat);
                self.place = Place::Waiting;
                return Wait::Read;
            }
            self.leader = None;
            wake = successor;
        }
        self.waiting.push(seat);
        Wait::Park { wake }
    }

    /// The wait is over, and the application goes on. True when the clock must be started.
    pub(crate) fn end_wait(&mut self, seat: Seat) -> bool {
        self.waiting.retain(|other| *other != seat);
        if self.leader != Some(seat) {
            return false;
        }
        self.place = Place::Inside;
        self.start_clock()
    }
}

#[cfg(test)]
mod tests;
