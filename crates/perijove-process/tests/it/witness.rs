//! A pipe that a process and all that stems from it hold: tells what they say, and when the last
//! of them has ended.

use std::{
    os::fd::{OwnedFd, RawFd},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::unix::pipe,
    time::timeout,
};

/// More than a loaded machine needs.
pub(crate) const LONG: Duration = Duration::from_secs(25);

pub(crate) struct Witness(BufReader<pipe::Receiver>);

impl Witness {
    /// The witness, and the descriptor to pass on.
    pub(crate) fn new(number: RawFd) -> (Self, (OwnedFd, RawFd)) {
        let (sender, receiver) = pipe::pipe().unwrap();
        (Self(BufReader::new(receiver)), (sender.into_blocking_fd().unwrap(), number))
    }

    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(LONG, self.0.read_line(&mut line)).await.expect("a line in time").unwrap();
        line.trim_end().to_owned()
    }

    /// Waits until nobody holds the other end.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = String::new();
        timeout(LONG, self.0.read_to_string(&mut rest)).await.expect("the end in time").unwrap();
        rest
    }
}

/// The same for tests without a runtime.
pub(crate) struct PlainWitness(std::io::BufReader<std::io::PipeReader>);

impl Witness {
    pub(crate) fn new_outside(number: RawFd) -> (PlainWitness, (OwnedFd, RawFd)) {
        let (receiver, sender) = std::io::pipe().unwrap();
        (PlainWitness(std::io::BufReader::new(receiver)), (sender.into(), number))
    }
}

impl PlainWitness {
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut self.0, &mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn rest(&mut self) -> String {
        std::io::read_to_string(&mut self.0).unwrap()
    }
}
