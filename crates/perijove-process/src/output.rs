//! What a child prints: line by line into the log, the last lines kept for error messages.

mod lines;
mod tail;

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::oneshot,
};

pub(crate) use lines::Lines;
pub use tail::Tail;

/// The output of one child, shared by those who write it and those who wait for a line of it.
#[derive(Clone, Debug, Default)]
pub struct Output {
    // Guards the kept lines and who waits; never held over an await.
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    tail: Tail,
    waiting: Vec<Waiting>,
    /// Answers that are on their way.
    answers: Vec<Answer>,
    /// Takes the lines instead of the log.
    sink: Option<Sink>,
}

type Sink = Box<dyn FnMut(&str) + Send>;

/// Lines of an answer that are kept.
const MOST_LINES: usize = 10_000;
/// What the last line of an answer is.
const END: &str = "\x04";

struct Answer {
    question: String,
    lines: Vec<String>,
    done: oneshot::Sender<Vec<String>>,
}

struct Waiting {
    is_wanted: Box<dyn Fn(&str) -> bool + Send>,
    found: oneshot::Sender<String>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl Output {
    /// One whose lines go to this instead of the log.
    pub fn to(sink: impl FnMut(&str) + Send + 'static) -> Self {
        let output = Self::default();
        output.lock().sink = Some(Box::new(sink));
        output
    }

    /// The last lines, oldest first.
    pub fn last_lines(&self) -> Vec<String> {
        self.lock().tail.lines()
    }

    /// Waits for the first line that is wanted, among the kept ones or to come; `None` when the
    /// output ended without it.
    pub async fn line(&self, is_wanted: impl Fn(&str) -> bool + Send + 'static) -> Option<String> {
        let waiting = {
            let mut shared = self.lock();
            if let Some(line) = shared.tail.lines().into_iter().find(|line| is_wanted(line)) {
                return Some(line);
            }
            let (found, waiting) = oneshot::channel();
            shared.waiting.push(Waiting { is_wanted: Box::new(is_wanted), found });
            waiting
        };
        waiting.await.ok()
    }

    /// The lines that will come for a question. They do not go to the log.
    pub(crate) fn answer(&self, question: String) -> oneshot::Receiver<Vec<String>> {
        let (done, answer) = oneshot::channel();
        let mut shared = self.lock();
        // Whoever has given up waiting is not answered.
        shared.answers.retain(|answer| !answer.done.is_closed());
        shared.answers.push(Answer { question, lines: Vec::new(), done });
        answer
    }

    /// Whether a line was part of an answer.
    fn takes(&self, question: &str, line: &str) -> bool {
        let mut shared = self.lock();
        let found = shared.answers.iter().position(|answer| answer.question == question);
        let Some(at) = found else { return false };
        if line == END {
            let Answer { lines, done, .. } = shared.answers.swap_remove(at);
            done.send(lines).ok();
        } else if let Some(answer) = shared.answers.get_mut(at)
            && answer.lines.len() < MOST_LINES
        {
            answer.lines.push(line.to_owned());
        }
        true
    }

    /// Reads a stream of the child to its end.
    pub(crate) async fn follow(self, mut stream: impl AsyncRead + Unpin, source: Arc<str>) {
        let mut lines = Lines::default();
        let mut piece = vec![0; 8192];
        while let Ok(length @ 1..) = stream.read(&mut piece).await {
            let read = piece.get(..length).unwrap_or_default();
            lines.push(read, |line| self.line_came(line, &source));
        }
        lines.finish(|line| self.line_came(line, &source));
    }

    /// Tells those who wait that nothing more comes.
    pub(crate) fn end(&self) {
        let mut shared = self.lock();
        shared.waiting.clear();
        shared.answers.clear();
    }

    fn line_came(&self, line: &str, source: &str) {
        let (request_id, line) = split_request_id(line);
        if request_id.is_some_and(|id| self.takes(id, line)) {
            return;
        }
        let shown = on_one_line(line);
        let is_taken = self.lock().sink.as_mut().map(|sink| sink(&shown)).is_some();
        if !is_taken {
            tracing::info!(target: "perijove::output", source, request_id, "{shown}");
        }
        let mut shared = self.lock();
        shared.tail.push(line);
        let waiting = std::mem::take(&mut shared.waiting);
        for one in waiting {
            if (one.is_wanted)(line) {
                // Who gave up waiting does not want it any more.
                one.found.send(line.to_owned()).ok();
            } else if !one.found.is_closed() {
                shared.waiting.push(one);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log writes other control characters out by itself; a carriage return would let a line
/// overwrite where it comes from.
fn on_one_line(line: &str) -> Cow<'_, str> {
    if line.contains('\r') { line.replace('\r', "\\r").into() } else { line.into() }
}

/// Lines of a worker that belong to a request begin with its id between 0x1e and 0x1f.
fn split_request_id(line: &str) -> (Option<&str>, &str) {
    match line.strip_prefix('\x1e').and_then(|rest| rest.split_once('\x1f')) {
        Some((id, rest)) => (Some(id), rest),
        None => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, id: Option<&str>, rest: &str) {
        assert_eq!(split_request_id(line), (id, rest), "{line:?}");
    }

    #[test]
    fn lines_of_a_request_carry_its_id() {
        check("\x1e0a1b\x1fhello", Some("0a1b"), "hello");
        check("\x1e0a1b\x1f", Some("0a1b"), "");
        check("hello", None, "hello");
        check("\x1eno end", None, "\x1eno end");
        check("x\x1e1\x1f", None, "x\x1e1\x1f");
        check("", None, "");
    }

    #[test]
    fn a_line_cannot_overwrite_where_it_comes_from() {
        assert_eq!(on_one_line("50 %\r100 %"), "50 %\\r100 %");
        assert_eq!(on_one_line("plain"), "plain");
    }

    #[tokio::test]
    async fn answers_are_taken_out_of_what_is_printed() {
        let output = Output::default();
        let (first, second) = (output.answer("a-1".to_owned()), output.answer("a-2".to_owned()));
        for line in
            ["\x1ea-1\x1fone", "said", "\x1ea-2\x1f\x04", "\x1ea-1\x1ftwo", "\x1ea-1\x1f\x04"]
        {
            output.line_came(line, "test");
        }
        assert_eq!(first.await.unwrap(), ["one", "two"]);
        assert!(second.await.unwrap().is_empty());
        // Nobody has asked for that.
        output.line_came("\x1ea-1\x1fthree", "test");
        assert_eq!(output.last_lines(), ["said", "three"]);
        let never = output.answer("a-3".to_owned());
        output.end();
        assert!(never.await.is_err());
    }

    #[tokio::test]
    async fn a_line_is_found_among_those_that_came_and_those_to_come() {
        let output = Output::default();
        output.line_came("first", "test");
        assert_eq!(output.line(|line| line == "first").await.as_deref(), Some("first"));

        let second = tokio::spawn({
            let output = output.clone();
            async move { output.line(|line| line.starts_with("sec")).await }
        });
        let never = tokio::spawn({
            let output = output.clone();
            async move { output.line(|line| line == "never").await }
        });
        tokio::task::yield_now().await;
        output.line_came("other", "test");
        output.line_came("second", "test");
        assert_eq!(second.await.unwrap().as_deref(), Some("second"));
        output.end();
        assert_eq!(never.await.unwrap(), None);
    }
}
