//! The log of a server: what it prints, in a file of bounded size that only we can read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::status::beside;
use crate::{Tail, output::Lines};

/// Bytes of one file.
const LONGEST: u64 = 5 << 20;
/// The file, and two older ones.
const OLDER: u32 = 2;
/// Bytes read for the last lines.
const TAIL: u64 = 64 << 10;

/// An open log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Log {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length })
    }

    /// Appends; a file that is full is exchanged for a new one at the next line end.
    ///
    /// What cannot be written (a full disk) is lost: the server must never wait for its log.
    pub(super) fn write(&mut self, piece: &[u8]) {
        if self.length + (piece.len() as u64) < LONGEST {
            return self.append(piece);
        }
        let line_end = piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // Without a line end in sight, within reason.
        let line_end =
            if line_end == 0 && self.length > 2 * LONGEST { piece.len() } else { line_end };
        let (before, after) = piece.split_at(line_end);
        self.append(before);
        if line_end > 0
            && let Err(error) = self.rotate()
        {
            // Said in the log itself, which goes on: the guardian has no other voice.
            self.append(format!("the log could not be rotated: {error}\n").as_bytes());
        }
        self.append(after);
    }

    fn append(&mut self, piece: &[u8]) {
        if self.file.write_all(piece).is_ok() {
            self.length += piece.len() as u64;
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for age in (0..OLDER).rev() {
            match fs::rename(self.aged(age), self.aged(age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        *self = Self::open(&self.path)?;
        Ok(())
    }

    fn aged(&self, age: u32) -> PathBuf {
        if age == 0 { self.path.clone() } else { beside(&self.path, &age.to_string()) }
    }
}

/// The last lines of a log, oldest first: what is left to show of a server that still runs.
pub fn last_lines(log: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(TAIL).read_to_end(&mut text)?;
    // The first line is most likely cut.
    let cut = if start == 0 { 0 } else { text.iter().position(|byte| *byte == b'\n').unwrap_or(0) };
    let mut lines = Lines::default();
    let mut tail = Tail::default();
    lines.push(text.get(cut..).unwrap_or_default(), |line| tail.push(line));
    lines.finish(|line| tail.push(line));
    Ok(tail.lines())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_full_log_is_exchanged_at_a_line_end_and_the_oldest_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log::open(&path).unwrap();
        let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
        for _ in 0..5 * 5 * 1024 {
            log.write(&line[..1000]);
            log.write(&line[1000..]);
        }
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["log", "log.1", "log.2"]);
        for name in names {
            let file = folder.path().join(name);
            let text = fs::read(&file).unwrap();
            assert!(text.len() as u64 <= LONGEST + 1024 && text.len().is_multiple_of(1024));
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn the_last_lines_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let check = |text: &str, expected: &[&str]| {
            fs::write(&path, text).unwrap();
            assert_eq!(last_lines(&path).unwrap(), expected);
        };
        check("", &[]);
        check("a\nb", &["a", "b"]);
        check(&format!("{}\nlast\n", "x".repeat(70_000)), &["", "last"]);
    }

    #[test]
    fn a_link_in_the_place_of_the_log_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::os::unix::fs::symlink("/tmp/elsewhere", &path).unwrap();
        assert!(Log::open(&path).is_err());
    }
}
