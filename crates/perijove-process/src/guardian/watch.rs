//! Watches a server until it and all that stems from it has ended: one loop around poll(2).
//!
//! ```text
//! Running ──▶ Stopping ──▶ Killing ──▶ (ended)
//!    asked, or time is up     the grace is over, or asked again
//! ```

use std::{os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read, write},
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait},
};

use super::{
    descendants::kill_all,
    log::Log,
    memory::Memory,
    signals::Signals,
    status::{OutOfMemory, Why},
};
use crate::{
    How, Tail,
    output::Lines,
    system::{children, since_boot},
};

/// A sleep of the machine stops the clock of poll(2): look at the other one now and then.
const LONGEST_SLEEP: Duration = Duration::from_secs(300);
/// Between two looks whether memory ran out.
const LOOK_AT_MEMORY: Duration = Duration::from_secs(1);
/// Between two looks at who still runs while all are being killed.
const KILL_AGAIN: Duration = Duration::from_millis(50);
/// When descendants that cannot be killed (waiting for a dead disk) are left behind.
const GIVE_UP: Duration = Duration::from_secs(10);

/// A server that was started.
pub(super) struct Server {
    pub(super) pid: Pid,
    /// What it prints, and who inherited that from it; `None` at its end.
    pub(super) output: Option<OwnedFd>,
    /// What it has still to read.
    pub(super) input: Option<(OwnedFd, Vec<u8>)>,
}

/// Times are since the machine started.
#[derive(Clone, Copy)]
enum Phase {
    Running,
    Stopping { why: Why, kill_at: Duration },
    Killing { why: Why },
}

pub(super) struct Watch {
    server: Server,
    signals: Signals,
    log: Log,
    lines: Lines,
    tail: Tail,
    phase: Phase,
    /// When its time is up.
    time_up: Option<Duration>,
    stop_grace: Duration,
    /// Whether the server is run by another process.
    is_wrapped: bool,
    memory: Option<Memory>,
}

impl Watch {
    pub(super) fn new(
        (server, is_wrapped): (Server, bool),
        signals: Signals,
        log: Log,
        (time_up, stop_grace): (Option<Duration>, Duration),
        memory: Option<Memory>,
    ) -> Self {
        Self {
            server,
            is_wrapped,
            memory,
            signals,
            log,
            lines: Lines::default(),
            tail: Tail::default(),
            phase: Phase::Running,
            time_up,
            stop_grace,
        }
    }

    /// Returns why and how the server ended and what it printed last, once no descendant is left.
    pub(super) fn until_ended(&mut self) -> (Why, How, Tail) {
        let how = self.until_server_ended();
        self.look_at_memory();
        self.until_all_ended();
        self.lines.finish(|line| self.tail.push(line));
        let why = match self.phase {
            Phase::Running => Why::Itself,
            Phase::Stopping { why, .. } | Phase::Killing { why } => why,
        };
        (why, how, std::mem::take(&mut self.tail))
    }

    pub(super) fn out_of_memory(&self) -> Option<OutOfMemory> {
        self.memory.as_ref().and_then(Memory::ran_out)
    }

    /// Has the server killed as soon as it is watched.
    pub(super) fn end_now(&mut self) {
        self.phase = Phase::Stopping { why: Why::Stopped, kill_at: Duration::ZERO };
    }

    fn until_server_ended(&mut self) -> How {
        loop {
            match self.reap() {
                Children::Ended(how) => return how,
                Children::None => return How::Unknown,
                Children::Some => {}
            }
            let sleep = self.act(since_boot());
            let is_looked_at = self.memory.is_some();
            self.wait(if is_looked_at { sleep.min(LOOK_AT_MEMORY) } else { sleep });
            self.look_at_memory();
            for _ in 0..self.signals.take().terminate {
                self.stop(Why::Stopped);
            }
        }
    }

    /// Says in the log that memory ran out.
    fn look_at_memory(&mut self) {
        let Some(line) = self.memory.as_mut().and_then(Memory::look) else { return };
        self.log.write(line.as_bytes());
        self.lines.push(line.as_bytes(), |line| self.tail.push(line));
    }

    /// The process that is asked to end: what wraps a server does not pass signals on.
    fn asked(&self) -> Pid {
        let only = |pid: Pid| children(pid).first().copied();
        // Bubblewrap's own, the first process of the namespace, the server.
        let inner = self.is_wrapped.then(|| only(self.server.pid).and_then(only)).flatten();
        inner.unwrap_or(self.server.pid)
    }

    /// Does what is due, and says how long nothing will be.
    fn act(&mut self, now: Duration) -> Duration {
        if matches!(self.phase, Phase::Running) && self.time_up.is_some_and(|due| due <= now) {
            self.stop(Why::TimedOut);
        }
        if let Phase::Stopping { why, kill_at } = self.phase
            && kill_at <= now
        {
            self.phase = Phase::Killing { why };
        }
        match self.phase {
            Phase::Running => self.time_up.map_or(LONGEST_SLEEP, |due| due.saturating_sub(now)),
            Phase::Stopping { kill_at, .. } => kill_at.saturating_sub(now),
            Phase::Killing { .. } => {
                kill_all();
                KILL_AGAIN
            }
        }
    }

    /// The first time asks the server, which ends what it has started; the second ends everything.
    fn stop(&mut self, why: Why) {
        let kill_at = match self.phase {
            Phase::Running => {
                // Not waited for yet, so the id is still its own.
                kill_process(self.asked(), Signal::TERM).ok();
                since_boot() + self.stop_grace
            }
            Phase::Stopping { .. } => Duration::ZERO,
            Phase::Killing { .. } => return,
        };
        let why = match self.phase {
            Phase::Stopping { why: first, .. } => first,
            Phase::Running | Phase::Killing { .. } => why,
        };
        self.phase = Phase::Stopping { why, kill_at };
    }

    fn until_all_ended(&mut self) {
        let give_up = since_boot() + GIVE_UP;
        while !matches!(self.reap(), Children::None) && since_boot() < give_up {
            kill_all();
            self.wait(KILL_AGAIN);
            self.signals.take();
        }
        self.read_output();
    }

    /// Takes the status of every child that has ended.
    fn reap(&self) -> Children {
        let mut ended = None;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.server.pid => ended = Some(how(status)),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return ended.map_or(Children::Some, Children::Ended),
                Err(_) => return ended.map_or(Children::None, Children::Ended),
            }
        }
    }

    /// Waits for a signal, for output, for room in the input, or for `longest`.
    fn wait(&mut self, longest: Duration) {
        let longest = Timespec::try_from(longest.min(LONGEST_SLEEP)).ok();
        let mut awaited = vec![PollFd::new(self.signals.descriptor(), PollFlags::IN)];
        awaited.extend(self.server.output.iter().map(|output| PollFd::new(output, PollFlags::IN)));
        let input = self.server.input.as_ref();
        awaited.extend(input.map(|(input, _)| PollFd::new(input, PollFlags::OUT)));
        if let Err(error) = poll(&mut awaited, longest.as_ref())
            && error != Errno::INTR
        {
            // Nothing better can be done than not to spin.
            std::thread::sleep(KILL_AGAIN);
        }
        self.write_input();
        self.read_output();
    }

    fn write_input(&mut self) {
        let Some((input, bytes)) = &mut self.server.input else { return };
        match write(&*input, bytes) {
            Ok(written) => drop(bytes.drain(..written)),
            Err(Errno::AGAIN | Errno::INTR) => return,
            // It does not want to read: its own matter.
            Err(_) => bytes.clear(),
        }
        if bytes.is_empty() {
            self.server.input = None;
        }
    }

    fn read_output(&mut self) {
        let Some(output) = &self.server.output else { return };
        let mut piece = [0; 4096];
        // Bounded, so that a server that prints without end is still stopped in time.
        for _ in 0..64 {
            match read(output, &mut piece) {
                Ok(length @ 1..) => {
                    let piece = piece.get(..length).unwrap_or_default();
                    self.log.write(piece);
                    self.lines.push(piece, |line| self.tail.push(line));
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => {
                    self.server.output = None;
                    return;
                }
            }
        }
    }
}

enum Children {
    /// The server has ended.
    Ended(How),
    Some,
    None,
}

fn how(status: WaitStatus) -> How {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => How::Exited(code),
        (None, Some(signal)) => How::Signalled(signal),
        (None, None) => How::Unknown,
    }
}
