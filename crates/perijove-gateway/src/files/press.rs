//! Texts that are too long to be compressed where others wait for their turn: a thread of its own does
//! it, once, for all who ask meanwhile, and the result is kept.
//!
//! ```text
//! unasked ──first request──▶ under way ──▶ done (kept as long as the file's entry)
//!                                    └───▶ failed (the file as it is)
//! ```

use std::{
    fs::File,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

#[cfg(target_os = "linux")]
use crate::linux::be_humble;
#[cfg(not(target_os = "linux"))]
use crate::portable::be_humble;
use crate::{BodyError, Source, body, coding::Coding, compress};

/// Texts that wait. Those beyond are sent by other means.
const QUEUE: usize = 64;

/// The thread that compresses. It is started with the first text, and ends with what has asked it.
#[derive(Debug, Default)]
pub(super) struct Press {
    queue: OnceLock<Option<SyncSender<Job>>>,
}

/// A text in a coding that is made when somebody wants it.
#[derive(Debug)]
pub(super) struct Made {
    coding: Coding,
    /// Held for moments.
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Unasked,
    UnderWay(Vec<Waker>),
    Done(Bytes),
    Failed,
}

/// Where the text is.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Memory(Bytes),
    Disk { file: Arc<File>, length: u64 },
}

/// One text to be compressed.
pub(super) struct Job {
    pub(super) made: Arc<Made>,
    pub(super) text: Text,
    /// Called when it is done, before anybody is told: the entry weighs more now.
    pub(super) then: Box<dyn FnOnce() + Send>,
}

impl Press {
    /// Has a text compressed, unless too many wait already.
    fn take(&self, job: Job) -> bool {
        let queue = self.queue.get_or_init(|| {
            let (sender, receiver) = sync_channel(QUEUE);
            let thread = std::thread::Builder::new().name("compress".to_owned());
            let started = thread.spawn(move || work(&receiver));
            started.is_ok().then_some(sender)
        });
        queue.as_ref().is_some_and(|queue| queue.try_send(job).is_ok())
    }
}

fn work(queue: &Receiver<Job>) {
    // Whoever serves comes first.
    be_humble();
    while let Ok(Job { made, text, then }) = queue.recv() {
        let coded = text.coded(made.coding);
        let waiting = made.end(coded.ok());
        then();
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Text {
    fn coded(&self, coding: Coding) -> Result<Bytes, BodyError> {
        let mut coded = compress::Kept::begin(coding).ok_or(BodyError::CutOff)?;
        match self {
            Self::Memory(bytes) => coded.write(bytes)?,
            Self::Disk { file, length } => {
                let mut offset = 0;
                while offset < *length {
                    let piece = body::read_piece(file, offset, length - offset)?;
                    offset += piece.len() as u64;
                    coded.write(&piece)?;
                }
            }
        }
        coded.finish()
    }
}

impl Made {
    pub(super) fn new(coding: Coding) -> Self {
        Self { coding, state: Mutex::new(State::Unasked) }
    }

    /// The text in this coding, if it was made.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        match &*self.lock() {
            State::Done(bytes) => Some(bytes.clone()),
            State::Unasked | State::UnderWay(_) | State::Failed => None,
        }
    }

    /// Whether it is made, or is being made from now on.
    pub(super) fn is_coming(&self, press: &Press, job: impl FnOnce() -> Option<Job>) -> bool {
        let mut state = self.lock();
        match &*state {
            State::Done(_) | State::UnderWay(_) => true,
            State::Failed => false,
            State::Unasked => {
                let is_taken = job().is_some_and(|job| press.take(job));
                if is_taken {
                    *state = State::UnderWay(Vec::new());
                }
                is_taken
            }
        }
    }

    /// Tells who waits for it.
    fn end(&self, coded: Option<Bytes>) -> Vec<Waker> {
        let state = coded.map_or(State::Failed, State::Done);
        match std::mem::replace(&mut *self.lock(), state) {
            State::UnderWay(waiting) => waiting,
            State::Unasked | State::Done(_) | State::Failed => Vec::new(),
        }
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Option<Bytes>> {
        match &mut *self.lock() {
            State::Done(bytes) => Poll::Ready(Some(bytes.clone())),
            State::Unasked | State::Failed => Poll::Ready(None),
            State::UnderWay(waiting) => {
                if !waiting.iter().any(|known| known.will_wake(context.waker())) {
                    waiting.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer that waits for its text.
pub(super) struct Awaited(pub(super) Option<Arc<Made>>);

impl Source for Awaited {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(made) = &self.0 else { return Poll::Ready(None) };
        let bytes = std::task::ready!(made.poll(context));
        self.0 = None;
        Poll::Ready(Some(bytes.ok_or(BodyError::CutOff)))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn what_many_want_is_made_once() {
        let press = Press::default();
        let made = Arc::new(Made::new(Coding::Gzip));
        let count = Arc::new(AtomicUsize::new(0));
        let text = Text::Memory("a text that is said again; ".repeat(1000).into());
        let job = || {
            count.fetch_add(1, Ordering::Relaxed);
            Some(Job { made: made.clone(), text: text.clone(), then: Box::new(|| {}) })
        };
        let mut all = Vec::new();
        for _ in 0..20 {
            assert!(made.is_coming(&press, job));
            let mut body = Awaited(Some(made.clone()));
            all.push(async move { poll_fn(|context| body.poll_chunk(context)).await });
        }
        for body in all {
            let bytes = body.await.unwrap().unwrap();
            assert!(bytes.starts_with(b"\x1f\x8b") && bytes.len() < 1000);
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert!(made.bytes().is_some());
    }

    #[tokio::test]
    async fn a_text_that_cannot_be_read_is_not_waited_for() {
        let press = Press::default();
        let made = Arc::new(Made::new(Coding::Brotli));
        let file = Arc::new(tempfile::tempfile().unwrap());
        let text = Text::Disk { file, length: 5 };
        let job = Job { made: made.clone(), text, then: Box::new(|| {}) };
        assert!(made.is_coming(&press, || Some(job)));
        let mut body = Awaited(Some(made.clone()));
        assert!(poll_fn(|context| body.poll_chunk(context)).await.unwrap().is_err());
        assert!(!made.is_coming(&press, || None));
        assert!(made.bytes().is_none());
    }

    #[test]
    fn a_text_whose_turn_cannot_come_is_asked_for_again() {
        let (press, made) = (Press::default(), Made::new(Coding::Gzip));
        assert!(!made.is_coming(&press, || None));
        let text = Text::Memory("text".into());
        let other = Arc::new(Made::new(Coding::Gzip));
        assert!(
            made.is_coming(&press, || { Some(Job { made: other, text, then: Box::new(|| {}) }) })
        );
    }
}
