//! The same told again every second: over itself on a terminal, one below the other elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};

use super::super::ignore_broken_pipe;
use crate::{Failure, Kind};

mod ending;

use ending::Ending;

const SECOND: Duration = Duration::from_secs(1);
/// What Ctrl-C and Ctrl-D send where keys come one by one.
const ENOUGH: [u8; 4] = [b'q', b'Q', 3, 4];

/// Shows what `tell` says, until somebody has enough or it can no longer be said.
pub(super) fn until_enough(
    tell: impl Fn() -> Result<String, Failure>,
) -> Result<ExitCode, Failure> {
    let keys = Keys::listen()?;
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
            Some(keys) => {
                if let Some(code) = keys.enough().map_err(failed)? {
                    return Ok(code);
                }
            }
            None => std::thread::sleep(SECOND),
        }
    }
}

fn failed(error: io::Error) -> Failure {
    Failure::new(Kind::Other, error)
}

/// Over what stands there, line by line, so that nothing flickers.
fn drawn(text: &str) -> String {
    let lines = text.trim_end_matches('\n').replace('\n', "\x1b[K\r\n");
    format!("\x1b[H{lines}\x1b[K\r\n\x1b[Kq: enough\x1b[J")
}

/// A terminal whose keys come one by one, until this is dropped.
struct Keys {
    before: Termios,
    /// Signals that end the program: only then may the terminal be as it was.
    ending: Ending,
}

impl Keys {
    /// None where nobody types.
    fn listen() -> Result<Option<Self>, Failure> {
        let before = tcgetattr(io::stdin()).ok().filter(|_| io::stdout().is_terminal());
        let Some(before) = before else { return Ok(None) };
        let ending = Ending::catch().map_err(failed)?;
        let mut one_by_one = before.clone();
        one_by_one.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        let is_set = tcsetattr(io::stdin(), OptionalActions::Now, &one_by_one).is_ok();
        Ok(is_set.then_some(Self { before, ending }))
    }

    /// Waits a second for a key that means enough, or a signal; so does the end of the input.
    fn enough(&self) -> io::Result<Option<ExitCode>> {
        let stdin = io::stdin();
        let mut wait =
            [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&self.ending.wakes, PollFlags::IN)];
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match poll(&mut wait, Some(&second)) {
            Err(error) if error != Errno::INTR => return Err(error.into()),
            _ => {}
        }
        let [keys, signals] = wait.map(|one| !one.revents().is_empty());
        if signals {
            return Ok(Some(self.ending.code()));
        }
        if !keys {
            return Ok(None);
        }
        let mut key = [0];
        let count = rustix::io::read(&stdin, &mut key)?;
        let is_enough = count == 0 || key.iter().any(|key| ENOUGH.contains(key));
        Ok(is_enough.then_some(ExitCode::SUCCESS))
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
