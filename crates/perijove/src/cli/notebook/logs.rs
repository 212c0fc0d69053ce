//! `perijove notebook logs`.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Args;
use serde_json::Value;
use thiserror::Error;

use super::{ConfigArguments, Running, find, last_lines};
use crate::{Failure, Kind, terminal::harmless};

#[derive(Args, Debug)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Whose, and which of theirs if it is a named one
    #[arg(value_name = "USER[/NAME]")]
    notebook: String,
    /// Go on with what is written from now on
    #[arg(long)]
    follow: bool,
    /// How many of the last lines to begin with
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    lines: usize,
}

/// How often a followed log is looked at.
const PAUSE: Duration = Duration::from_millis(300);

/// The end of a log that is read for its last lines, in bytes.
const WINDOW: u64 = 1 << 20;

#[derive(Debug, Error)]
#[error("could not read the log {}", path.display())]
struct LogError {
    path: PathBuf,
    source: io::Error,
}

pub(in crate::cli) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let running = Running::find(arguments.config)?;
    let entry = running.ask("GET", &find(&running, &arguments.notebook)?, None)?;
    let Some(path) = entry.get("log").and_then(Value::as_str).map(PathBuf::from) else {
        return super::super::print(&(harmless(&last_lines(&entry)).into_owned() + "\n"));
    };
    let failed = |source| Failure::new(Kind::Other, LogError { path: path.clone(), source });
    let mut tail = Tail::open(&path).map_err(failed)?;
    let begin = tail.last(arguments.lines).map_err(failed)?;
    let mut output = io::stdout().lock();
    let is_terminal = output.is_terminal();
    // Whoever read the lines and went away wanted no more of them.
    let mut tell = |bytes: &[u8]| {
        let text = is_terminal.then(|| String::from_utf8_lossy(bytes));
        let shown = text.as_deref().map(harmless);
        let bytes = shown.as_deref().map_or(bytes, str::as_bytes);
        output.write_all(bytes).and_then(|()| output.flush()).is_ok()
    };
    let mut is_heard = tell(&begin);
    while arguments.follow && is_heard {
        let new = tail.more(&path).map_err(failed)?;
        if new.is_empty() {
            thread::sleep(PAUSE);
        } else {
            is_heard = tell(&new);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A log that is read while it grows.
pub(super) struct Tail {
    file: File,
}

impl Tail {
    fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(|file| Self { file })
    }

    /// From where it will be written on.
    pub(super) fn at_the_end(path: &Path) -> io::Result<Self> {
        let mut tail = Self::open(path)?;
        tail.file.seek(SeekFrom::End(0))?;
        Ok(tail)
    }

    pub(super) fn at_the_beginning(path: &Path) -> io::Result<Self> {
        Self::open(path)
    }

    /// The last lines; the next bytes are those after them.
    fn last(&mut self, lines: usize) -> io::Result<Vec<u8>> {
        let length = self.file.metadata()?.len();
        self.file.seek(SeekFrom::Start(length.saturating_sub(WINDOW)))?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut self.file).take(WINDOW).read_to_end(&mut bytes)?;
        let ends = |at: &usize| bytes.get(*at) == Some(&b'\n') && *at + 1 < bytes.len();
        let start = match lines {
            0 => bytes.len(),
            _ => (0..bytes.len()).rev().filter(ends).nth(lines - 1).map_or(0, |at| at + 1),
        };
        Ok(bytes.split_off(start))
    }

    /// What was written since, in pieces; a log that was rotated goes on in its new file.
    pub(super) fn more(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Read::by_ref(&mut self.file).take(WINDOW).read_to_end(&mut bytes)?;
        if bytes.is_empty() && is_rotated(&self.file, path)? {
            *self = Self::open(path)?;
        }
        Ok(bytes)
    }
}

fn is_rotated(file: &File, path: &Path) -> io::Result<bool> {
    let Ok(now) = path.metadata() else { return Ok(false) };
    let known = file.metadata()?;
    Ok(now.ino() != known.ino() || now.dev() != known.dev())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Tail;

    #[test]
    fn the_last_lines_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let check = |content: &str, lines: usize, expected: &str| {
            fs::write(&path, content).unwrap();
            let shown = Tail::open(&path).unwrap().last(lines).unwrap();
            assert_eq!(String::from_utf8(shown).unwrap(), expected, "{content:?} {lines}");
        };
        check("a\nb\nc\n", 2, "b\nc\n");
        check("a\nb\nc", 2, "b\nc");
        check("a\nb\n", 9, "a\nb\n");
        check("a\nb\n", 0, "");
        check("", 2, "");
    }

    #[test]
    fn a_log_is_followed_into_its_next_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "one\n").unwrap();
        let mut tail = Tail::open(&path).unwrap();
        assert_eq!(tail.last(10).unwrap(), b"one\n");
        assert!(tail.more(&path).unwrap().is_empty());
        fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(tail.more(&path).unwrap(), b"two\n");
        fs::rename(&path, folder.path().join("log.1")).unwrap();
        fs::write(&path, "three\n").unwrap();
        assert!(tail.more(&path).unwrap().is_empty());
        assert_eq!(tail.more(&path).unwrap(), b"three\n");
    }
}
