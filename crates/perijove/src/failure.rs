//! Why a command failed: for people in words, for programs in an exit status.

use std::{
    error::Error,
    fmt,
    io::{IsTerminal, Write},
    process::ExitCode,
};

use crate::terminal::harmless;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    error: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
    quoted: Vec<String>,
}

/// Whose matter a failure is, which is also its exit status (`sysexits.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line is wrong.
    Usage = 64,
    /// Something needed is not there: a port, an interpreter, another program.
    Unavailable = 69,
    /// A fault of ours.
    Fault = 70,
    /// Busy: trying again may help.
    Busy = 75,
    /// The configuration is wrong, or what it names.
    Configuration = 78,
    /// Anything else.
    Other = 1,
}

impl Failure {
    pub fn new(kind: Kind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, error: error.into(), hints: Vec::new(), quoted: Vec::new() }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// What others have written about it, such as the end of a traceback.
    #[must_use]
    pub fn quote<L: Into<String>>(mut self, lines: impl IntoIterator<Item = L>) -> Self {
        self.quoted.extend(lines.into_iter().map(Into::into));
        self
    }

    pub fn quoted(&self) -> &[String] {
        &self.quoted
    }

    /// The error alone, in one line.
    pub fn what(&self) -> String {
        self.error.to_string()
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The error, what caused it, and what to do, as lines without colour.
    pub fn text(&self) -> String {
        self.lines(|word| format!("{word}:"))
    }

    /// Tells standard error and picks the exit status.
    pub fn report(&self) -> ExitCode {
        let is_coloured = crate::logging::is_coloured(std::io::stderr().is_terminal());
        let text = self.lines(|word| match (is_coloured, word) {
            (false, _) => format!("{word}:"),
            (true, "error") => "\u{1b}[1;31merror:\u{1b}[0m".to_owned(),
            (true, _) => format!("\u{1b}[1;36m{word}:\u{1b}[0m"),
        });
        // Nobody is left to tell when standard error is closed.
        drop(writeln!(std::io::stderr(), "{text}"));
        ExitCode::from(self.kind as u8)
    }

    fn lines(&self, label: impl Fn(&str) -> String) -> String {
        // Errors may quote what others have written: a notebook's last lines, an application's.
        let told = |what: &dyn fmt::Display| harmless(&what.to_string()).into_owned();
        let mut lines = vec![format!("{} {}", label("error"), told(&self.error))];
        lines.extend(self.quoted.iter().map(|line| format!("  | {}", told(line))));
        let mut cause = self.error.source();
        while let Some(error) = cause {
            lines.push(format!("  {} {}", label("cause"), told(&error)));
            cause = error.source();
        }
        for hint in &self.hints {
            lines.push(format!("{} {}", label("hint"), told(hint)));
        }
        if self.kind == Kind::Fault {
            let place = "please report it, with what you did, to the makers of perijove";
            lines.push(format!("{} this is a fault of ours: {place}", label("hint")));
        }
        lines.join("\n")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl From<crate::config::Mistakes> for Failure {
    fn from(mistakes: crate::config::Mistakes) -> Self {
        let kind = if mistakes.are_absences() { Kind::Unavailable } else { Kind::Configuration };
        Self::new(kind, mistakes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Kind};

    #[derive(Debug, thiserror::Error)]
    #[error("could not read the table")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn the_whole_chain_and_every_hint_is_told() {
        let cause = std::io::Error::other("the disk is gone");
        let failure = Failure::new(Kind::Other, Outer(cause)).hint("find the disk").hint("or not");
        assert_eq!(
            failure.text(),
            "error: could not read the table\n  cause: the disk is gone\nhint: find the disk\nhint: or not"
        );
    }

    #[test]
    fn what_others_have_written_does_nothing_to_a_terminal() {
        let failure = Failure::new(Kind::Other, "it said\n\u{1b}[2J").hint("\u{1b}c");
        assert_eq!(failure.text(), "error: it said\n\\u{1b}[2J\nhint: \\u{1b}c");
    }

    #[test]
    fn faults_of_ours_say_so() {
        assert!(Failure::new(Kind::Fault, "odd").text().contains("a fault of ours"));
    }
}
