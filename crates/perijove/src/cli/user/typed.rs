//! A password from the terminal, without showing it, or from standard input; never an argument.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
};

use perijove_hub::{Password, User};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use thiserror::Error;

use crate::{Failure, Kind, terminal::harmless};

/// Bytes of a line that are read; longer ones are no password.
const LONGEST: usize = 4096;
/// Ctrl-C and Ctrl-\, which are read as letters while nothing is shown: a signal would leave the
/// terminal silent.
const INTERRUPTS: [u8; 2] = [3, 28];

#[derive(Debug, Error)]
enum TypedError {
    #[error("there is no terminal to ask for the password on")]
    NoTerminal(#[source] io::Error),
    #[error("the password could not be read")]
    Unread(#[source] io::Error),
    #[error("no password was given")]
    Nothing,
    #[error("the two passwords differ")]
    Different,
    #[error("interrupted")]
    Interrupted,
}

/// Asks for a new password, twice where somebody types it.
pub(super) fn password(user: &User, is_piped: bool) -> Result<Password, Failure> {
    let text = if is_piped { line_of(io::stdin()) } else { ask(user) };
    let text = text.map_err(|error| match error {
        TypedError::NoTerminal(_) => {
            Failure::new(Kind::Unavailable, error).hint("`--stdin` reads it from standard input")
        }
        error => Failure::new(Kind::Usage, error),
    })?;
    Ok(Password::new(text))
}

/// One line, read no further than its end: what follows may be another's.
fn line_of(mut input: impl io::Read) -> Result<String, TypedError> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() < LONGEST && input.read(&mut byte).map_err(TypedError::Unread)? == 1 {
        match byte {
            [b'\n'] => break,
            [byte] if INTERRUPTS.contains(&byte) => return Err(TypedError::Interrupted),
            [byte] => line.push(byte),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if line.is_empty() {
        return Err(TypedError::Nothing);
    }
    String::from_utf8(line).map_err(|error| TypedError::Unread(io::Error::other(error)))
}

fn ask(user: &User) -> Result<String, TypedError> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let terminal = terminal.map_err(TypedError::NoTerminal)?;
    let silent = Silent::make(&terminal).map_err(TypedError::NoTerminal)?;
    let first = silent.ask(&format!("password of {}: ", harmless(user.name())))?;
    let second = silent.ask("once more: ")?;
    if first == second { Ok(first) } else { Err(TypedError::Different) }
}

/// A terminal that does not show what is typed, for as long as this lives.
struct Silent<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn make(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ISIG;
        // They end a line: nobody presses Enter after Ctrl-C.
        let ends = [SpecialCodeIndex::VEOL, SpecialCodeIndex::VEOL2].into_iter().zip(INTERRUPTS);
        for (end, code) in ends {
            silent.special_codes[end] = code;
        }
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }

    fn ask(&self, prompt: &str) -> Result<String, TypedError> {
        let mut terminal = self.terminal;
        terminal.write_all(prompt.as_bytes()).map_err(TypedError::Unread)?;
        let line = line_of(terminal);
        terminal.write_all(b"\n").map_err(TypedError::Unread)?;
        line
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        tcsetattr(self.terminal, OptionalActions::Flush, &self.before).ok();
    }
}
