//! Pipes through which bytes go from socket to socket without coming here, taken only while bytes
//! flow.

use std::{cell::RefCell, io};

#[cfg(target_os = "linux")]
use crate::linux::Pipe;
#[cfg(not(target_os = "linux"))]
use crate::portable::Pipe;

/// Empty pipes that a thread keeps for the next use.
const KEPT: usize = 16;

thread_local! {
    static PIPES: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// An empty pipe.
pub(super) fn take() -> io::Result<Pipe> {
    PIPES.with_borrow_mut(Vec::pop).map_or_else(Pipe::new, Ok)
}

/// Gives an empty pipe back.
pub(super) fn give_back(pipe: Pipe) {
    if pipe.is_empty() {
        PIPES.with_borrow_mut(|pipes| {
            if pipes.len() < KEPT {
                pipes.push(pipe);
            }
        });
    }
}
