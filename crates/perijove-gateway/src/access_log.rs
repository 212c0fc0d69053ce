//! One line for each request.
//!
//! Lines gather in a buffer of their thread, go whole batches at a time to a thread that writes
//! them, and are dropped, and counted, when that one cannot keep up: a full disk or a stuck terminal
//! must not stop requests.

mod line;
mod template;

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    task::{Poll, Waker},
    thread::JoinHandle,
    time::Duration,
};

use crate::{LogFile, Rotation};
pub(crate) use line::{Facts, tell_slow};
pub use template::{LogTemplate, TemplateError};

/// Lines wait this long for others to be written with.
const GATHER: Duration = Duration::from_millis(100);
/// A batch of this many bytes waits no longer.
const BATCH: usize = 32 << 10;
/// Batches that may wait for the writer.
const QUEUE: usize = 64;

/// What a line looks like.
#[derive(Clone, Debug, Default)]
pub enum LogFormat {
    /// The combined format, then the time taken and the request id.
    #[default]
    Text,
    /// As other servers call it: who, when, what, and what came of it.
    Common,
    /// The same with the page it was reached from and the client's program.
    Combined,
    /// One object a line.
    Json,
    /// What somebody wrote.
    Template(Arc<LogTemplate>),
}

/// Writes one line for each request; cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: LogFormat,
    writer: Arc<Writer>,
}

#[derive(Debug)]
struct Writer {
    /// `None` only while the log is dropped.
    batches: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
    is_to_reopen: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
}

impl AccessLog {
    /// Appends to a file, which is made when it is not there, readable by its owner and group.
    ///
    /// # Errors
    /// When the file cannot be opened, or no thread started.
    pub fn to_file(format: LogFormat, path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        Self::start(format, Sink::File(LogFile::open(path, rotation)?))
    }

    /// Writes to standard error.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn to_stderr(format: LogFormat) -> io::Result<Self> {
        Self::start(format, Sink::Stderr)
    }

    fn start(format: LogFormat, sink: Sink) -> io::Result<Self> {
        let (batches, received) = sync_channel(QUEUE);
        let (is_to_reopen, lost) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (reopen, missing) = (is_to_reopen.clone(), lost.clone());
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        let thread = thread.spawn(move || write(sink, &received, &reopen, &missing))?;
        let writer = Writer { batches: Some(batches), thread: Some(thread), is_to_reopen, lost };
        Ok(Self { format, writer: Arc::new(writer) })
    }

    /// Opens the file again with the next line, after it was moved away.
    pub fn reopen(&self) {
        self.writer.is_to_reopen.store(true, Ordering::Relaxed);
    }

    /// Writes the line of a request that has ended.
    pub(crate) fn write(&self, facts: &Facts<'_>) {
        let full = GATHERED.with_borrow_mut(|gathered| {
            line::push(&mut gathered.lines, &self.format, facts);
            if gathered.lines.len() >= BATCH {
                return Some(std::mem::take(&mut gathered.lines));
            }
            if let Some(flusher) = gathered.flusher.take() {
                flusher.wake();
            }
            None
        });
        if let Some(batch) = full {
            self.send(batch);
        }
    }

    fn send(&self, batch: Vec<u8>) {
        if batch.is_empty() {
            return;
        }
        let Some(batches) = &self.writer.batches else { return };
        if let Err(error) = batches.try_send(batch) {
            let (std::sync::mpsc::TrySendError::Full(batch)
            | std::sync::mpsc::TrySendError::Disconnected(batch)) = error;
            let lines = memchr::memchr_iter(b'\n', &batch).count();
            self.writer.lost.fetch_add(lines as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by its own hook.
            drop(thread.join());
        }
    }
}

/// The lines of one thread.
struct Gathered {
    lines: Vec<u8>,
    /// Waits for a first line.
    flusher: Option<Waker>,
}

thread_local! {
    static GATHERED: RefCell<Gathered> =
        const { RefCell::new(Gathered { lines: Vec::new(), flusher: None }) };
}

/// Sends the lines of this thread on, for ever: to the log that is in use then.
pub(crate) async fn flush_often(log: impl Fn() -> Option<AccessLog>) {
    loop {
        poll_fn(|context| {
            GATHERED.with_borrow_mut(|gathered| {
                if !gathered.lines.is_empty() {
                    return Poll::Ready(());
                }
                gathered.flusher = Some(context.waker().clone());
                Poll::Pending
            })
        })
        .await;
        tokio::time::sleep(GATHER).await;
        flush(log().as_ref());
    }
}

/// Sends the lines of this thread on.
pub(crate) fn flush(log: Option<&AccessLog>) {
    let lines = GATHERED.with_borrow_mut(|gathered| std::mem::take(&mut gathered.lines));
    if let Some(log) = log {
        log.send(lines);
    }
}

/// Where lines are written to.
enum Sink {
    File(LogFile),
    Stderr,
}

/// The thread that writes, until the log is dropped.
fn write(mut sink: Sink, batches: &Receiver<Vec<u8>>, reopen: &AtomicBool, lost: &AtomicU64) {
    while let Ok(batch) = batches.recv() {
        if let Sink::File(file) = &mut sink
            && reopen.swap(false, Ordering::Relaxed)
            && let Err(error) = file.reopen()
        {
            tracing::warn!(
                %error, path = %file.path().display(),
                "could not open the access log again, writing to the old file"
            );
        }
        let written = match &mut sink {
            Sink::File(file) => file.append(&batch),
            Sink::Stderr => io::stderr().lock().write_all(&batch),
        };
        let lines = lost.swap(0, Ordering::Relaxed);
        if let Err(error) = written {
            tracing::warn!(%error, "could not write the access log");
        } else if lines > 0 {
            tracing::warn!(lines, "lines of the access log were lost: it was written too slowly");
        }
    }
}
