//! The same told again every second: over itself on a terminal, one below the other elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};

use super::super::ignore_broken_pipe;
use crate::{Failure, Kind};

const SECOND: Duration = Duration::from_secs(1);
/// What Ctrl-C and Ctrl-D send where keys come one by one.
const ENOUGH: [u8; 4] = [b'q', b'Q', 3, 4];

/// Shows what `tell` says, until somebody has enough or it can no longer be said.
pub(super) fn until_enough(
    tell: impl Fn() -> Result<String, Failure>,
) -> Result<ExitCode, Failure> {
    let keys = Keys::listen();
    let is_drawn = io::stdout().is_terminal();
    loop {
        let text = tell()?;
        let shown = if is_drawn { drawn(&text) } else { format!("{text}\n") };
        let mut output = io::stdout().lock();
        if let Err(error) = output.write_all(shown.as_bytes()).and_then(|()| output.flush()) {
            return ignore_broken_pipe(error);
        }
        drop(output);
        match &keys {
            Some(_) => {
                if Keys::has_enough().map_err(|error| Failure::new(Kind::Other, error))? {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            None => std::thread::sleep(SECOND),
        }
    }
}

/// Over what stands there, line by line, so that nothing flickers.
fn drawn(text: &str) -> String {
    let lines = text.trim_end_matches('\n').replace('\n', "\x1b[K\r\n");
    format!("\x1b[H{lines}\x1b[K\r\n\x1b[Kq: enough\x1b[J")
}

/// A terminal whose keys come one by one, until this is dropped.
struct Keys {
    before: Termios,
}

impl Keys {
    /// None where nobody types.
    fn listen() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok().filter(|_| io::stdout().is_terminal())?;
        let mut one_by_one = before.clone();
        one_by_one.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(io::stdin(), OptionalActions::Now, &one_by_one).ok()?;
        Some(Self { before })
    }

    /// Waits a second for a key that means enough; so does the end of the input.
    fn has_enough() -> io::Result<bool> {
        let stdin = io::stdin();
        let mut wait = [PollFd::new(&stdin, PollFlags::IN)];
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        if poll(&mut wait, Some(&second))? == 0 {
            return Ok(false);
        }
        let mut key = [0];
        let count = rustix::io::read(&stdin, &mut key)?;
        Ok(count == 0 || ENOUGH.contains(&key[0]))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        tcsetattr(io::stdin(), OptionalActions::Now, &self.before).ok();
        // Behind what was drawn.
        io::stdout().lock().write_all(b"\r\n").ok();
    }
}

#[cfg(test)]
mod tests {
    use super::drawn;

    #[test]
    fn what_is_drawn_covers_what_was_there() {
        assert_eq!(drawn("a\nb\n"), "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[Kq: enough\x1b[J");
    }
}
