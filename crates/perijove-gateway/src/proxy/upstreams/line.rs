//! The requests that wait for a free upstream, first come, first served.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::Slot;

/// A line of bounded length. Those at its front are handed a slot, wherever they wait.
#[derive(Debug)]
pub(super) struct Line {
    limit: AtomicUsize,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The length of `waiting`, for those who only want to know whether somebody waits.
    length: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    line: VecDeque<(u64, oneshot::Sender<Slot>)>,
}

impl Line {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.into(), shared: Arc::default() }
    }

    /// Those who wait stay, though there may be more of them now.
    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub(super) fn len(&self) -> usize {
        // Sequentially consistent: who frees a slot and then finds the line empty must have been
        // seen by whoever then joins the line and looks again.
        self.shared.length.load(Ordering::SeqCst)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a place at the end; `None` when the line is full.
    pub(super) fn join(&self) -> Option<Ticket> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.shared.lock();
        if waiting.line.len() >= self.limit.load(Ordering::Relaxed) {
            return None;
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.line.push_back((number, sender));
        self.shared.note(&waiting);
        drop(waiting);
        Some(Ticket { number, receiver, shared: self.shared.clone() })
    }

    /// Hands slots to those at the front for as long as `pick` finds one.
    pub(super) fn serve(&self, pick: impl Fn() -> Option<Slot>) {
        let mut spare = None;
        while !self.is_empty() {
            let Some(slot) = spare.take().or_else(&pick) else { return };
            match self.shared.pop() {
                // A ticket that was given up hands the slot back.
                Some(sender) => spare = sender.send(slot).err(),
                None => spare = Some(slot),
            }
        }
        // Dropped with no lock held: it may serve the line again.
        drop(spare);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, waiting: &Waiting) {
        self.length.store(waiting.line.len(), Ordering::SeqCst);
    }

    fn pop(&self) -> Option<oneshot::Sender<Slot>> {
        let mut waiting = self.lock();
        let first = waiting.line.pop_front();
        self.note(&waiting);
        first.map(|(_, sender)| sender)
    }
}

/// A place in line: resolves to a slot. Dropping it leaves the line.
#[derive(Debug)]
pub(super) struct Ticket {
    number: u64,
    receiver: oneshot::Receiver<Slot>,
    shared: Arc<Shared>,
}

impl Future for Ticket {
    type Output = Slot;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Slot> {
        match Pin::new(&mut self.receiver).poll(context) {
            Poll::Ready(Ok(slot)) => Poll::Ready(slot),
            // The sender lives until it has sent, or the set of upstreams is gone: then nothing
            // will ever come, and the deadline of whoever waits ends it.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiting = self.shared.lock();
        if let Ok(at) = waiting.line.binary_search_by_key(&self.number, |(number, _)| *number) {
            waiting.line.remove(at);
            self.shared.note(&waiting);
        }
    }
}
