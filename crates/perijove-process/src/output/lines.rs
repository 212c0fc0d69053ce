//! Pieces of a stream, joined and cut into lines of bounded length.

/// Bytes of a line that are kept.
const LONGEST: usize = 16 << 10;

/// Cuts a stream into lines. Of a line that is too long the first 16 KiB are kept and a mark says
/// how much is missing, so that a child cannot fill the memory by printing no line end.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    missing: u64,
}

impl Lines {
    pub(crate) fn push(&mut self, piece: &[u8], mut each: impl FnMut(&str)) {
        let mut parts = piece.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let room = LONGEST - self.line.len();
            let (kept, rest) = part.split_at(part.len().min(room));
            self.line.extend_from_slice(kept);
            self.missing += rest.len() as u64;
            if parts.peek().is_some() {
                self.end_line(&mut each);
            }
        }
    }

    /// The last line, when it has no end.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&str)) {
        if !self.line.is_empty() {
            self.end_line(&mut each);
        }
    }

    fn end_line(&mut self, each: &mut impl FnMut(&str)) {
        let line = String::from_utf8_lossy(self.line.strip_suffix(b"\r").unwrap_or(&self.line));
        if self.missing == 0 {
            each(&line);
        } else {
            each(&format!("{line}… ({} bytes more)", self.missing));
        }
        self.line.clear();
        self.line.shrink_to(1024);
        self.missing = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]], expected: &[&str]) {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        for piece in pieces {
            lines.push(piece, |line| got.push(line.to_owned()));
        }
        lines.finish(|line| got.push(line.to_owned()));
        assert_eq!(got, expected);
    }

    #[test]
    fn lines_are_joined_from_pieces() {
        check(&[], &[]);
        check(&[b"a\nb\n"], &["a", "b"]);
        check(&[b"a", b"b\nc", b"\n", b"d"], &["ab", "c", "d"]);
        check(&[b"a\r\n\r\nb\r"], &["a", "", "b"]);
        check(&[b"\xff\xc3", b"\xa4\n"], &["\u{fffd}ä"]);
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let most = "x".repeat(LONGEST);
        check(&[most.as_bytes(), b"\nb\n"], &[&most, "b"]);
        check(&[most.as_bytes(), b"yy", b"yyy\nb\n"], &[&format!("{most}… (5 bytes more)"), "b"]);
    }
}
