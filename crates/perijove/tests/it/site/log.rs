//! What a program writes while it runs.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use super::{PATIENCE, text};

/// What a process writes, as it comes.
#[derive(Clone)]
pub(super) struct Log(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    text: String,
    is_closed: bool,
}

impl Log {
    pub(super) fn follow(stream: impl Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let shared = log.0.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                shared.0.lock().unwrap().text.push_str(&text(&line));
                line.clear();
                shared.1.notify_all();
            }
            shared.0.lock().unwrap().is_closed = true;
            shared.1.notify_all();
        });
        log
    }

    pub(super) fn text(&self) -> String {
        self.0.0.lock().unwrap().text.clone()
    }

    /// Waits until the text is as wanted; false when time is up or nothing more will come.
    pub(super) fn until(&self, is_wanted: impl Fn(&str) -> bool, patience: Duration) -> bool {
        let guard = self.0.0.lock().unwrap();
        let waiting = |written: &mut Written| !is_wanted(&written.text) && !written.is_closed;
        let (guard, _) = self.0.1.wait_timeout_while(guard, patience, waiting).unwrap();
        is_wanted(&guard.text)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.0.lock().unwrap().is_closed
    }

    pub(super) fn until_closed(&self) {
        let guard = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(guard, PATIENCE, |written| !written.is_closed).unwrap());
    }
}
