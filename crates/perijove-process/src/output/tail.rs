//! The last lines of an output.

use std::collections::VecDeque;

const LINES: usize = 50;
const BYTES: usize = 64 << 10;

/// The last 50 lines, and at most 64 KiB of them: what an error message shows.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    pub fn push(&mut self, line: &str) {
        self.bytes += line.len();
        self.lines.push_back(line.to_owned());
        while self.lines.len() > LINES || self.bytes > BYTES {
            self.bytes -= self.lines.pop_front().map_or(self.bytes, |line| line.len());
        }
    }

    /// Oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: impl Iterator<Item = String>, kept: usize) {
        let mut tail = Tail::default();
        let all: Vec<String> = lines.inspect(|line| tail.push(line)).collect();
        assert_eq!(tail.lines(), &all[all.len() - kept..]);
    }

    #[test]
    fn the_last_lines_are_kept() {
        check((0..3).map(|n| n.to_string()), 3);
        check((0..80).map(|n| n.to_string()), 50);
        check((0..80).map(|n| n.to_string().repeat(10_000)), 3);
        check(std::iter::once("x".repeat(BYTES + 1)), 0);
    }
}
