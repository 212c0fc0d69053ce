//! HTTP/1: one request after the other, until either side has enough.
//!
//! ```text
//! idle ──first byte──▶ head ──complete──▶ answer is made ──▶ answer is written ──▶ idle
//!   │                    │                  (body comes)       (body may come)      │
//!   └─ idle time, stop   └─ 408, 431, 400   └─ client left     └─ close, linger     └─ upgraded
//! ```

mod exchange;

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;

use crate::{
    Head, HeadReader, buffers,
    error::Fault,
    forwarded::Peer,
    note::Note,
    request::Upgrade,
    stream::Stream,
    watch::{self, Watch},
};

use super::{Door, closing, pace::Window};
use exchange::After;

/// What every connection of HTTP/2 begins with (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection of HTTP/1, or one of which it is not known yet.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// What was read and not used yet. Empty and without room while the connection idles.
    pub(super) buffer: BytesMut,
    pub(super) watch: Watch,
    pub(super) door: Arc<Door>,
    pub(super) peer: Peer,
    reader: HeadReader,
    is_first: bool,
    /// The time for a head runs.
    is_timed: bool,
    /// The time for an idle connection runs.
    is_idle: bool,
    /// While the client does not take all of an answer.
    window: Option<Window>,
    /// Of a client that has ended its side: until when it is waited for, by `clock::now`.
    silent_until: Option<u64>,
}

/// What came instead of a head, or a head.
enum Next {
    Head(Head),
    Http2,
    Closed,
    Refused(Fault),
}

/// How a connection of HTTP/1 ended.
pub(super) enum Ended {
    Closed,
    /// Its first bytes say that it speaks HTTP/2.
    Http2,
    Upgrade(Box<Upgrade>, Box<Note>),
}

impl Connection {
    /// The time for the first head runs from now on.
    pub(super) fn new(stream: Stream, door: Arc<Door>, peer: Peer) -> Self {
        let watch = Watch::new();
        watch.arm(door.rules.head_time);
        Self::with_watch(stream, watch, door, peer)
    }

    /// The time for the first head runs already.
    pub(super) fn with_watch(stream: Stream, watch: Watch, door: Arc<Door>, peer: Peer) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            watch,
            door,
            peer,
            reader: HeadReader::new(),
            is_first: true,
            is_timed: true,
            is_idle: false,
            window: None,
            silent_until: None,
        }
    }

    /// Serves requests until the connection ends, or becomes another's.
    pub(super) async fn serve(&mut self) -> Ended {
        loop {
            let head = match poll_fn(|context| self.poll_head(context)).await {
                Next::Head(head) => head,
                Next::Http2 => return Ended::Http2,
                Next::Closed => break,
                Next::Refused(fault) => {
                    exchange::refuse(self, &fault).await;
                    break;
                }
            };
            match exchange::exchange(self, head).await {
                After::Next => {}
                After::Closed => break,
                After::Upgrade(upgrade, note) => return Ended::Upgrade(upgrade, note),
            }
        }
        closing::say_goodbye(&mut self.stream).await;
        Ended::Closed
    }

    /// Answers what is no request, and ends.
    pub(super) async fn refuse(&mut self, fault: &Fault) {
        exchange::refuse(self, fault).await;
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        loop {
            if !self.buffer.is_empty() {
                match self.read_head() {
                    Ok(Some(next)) => return Poll::Ready(next),
                    Err(fault) => return Poll::Ready(Next::Refused(fault)),
                    Ok(None) => {}
                }
                if !self.is_timed {
                    self.is_timed = true;
                    self.watch.arm(self.door.rules.head_time);
                }
            }
            match buffers::poll_fill(&mut self.stream, &mut self.buffer, context) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(Next::Closed),
                Poll::Pending => return self.poll_bored(context),
            }
        }
    }

    fn read_head(&mut self) -> Result<Option<Next>, Fault> {
        if self.is_first {
            let begun = self.buffer.len().min(PREFACE.len());
            if self.buffer.get(..begun) == PREFACE.get(..begun) {
                return Ok((begun == PREFACE.len()).then_some(Next::Http2));
            }
        }
        let Some(head) = self.reader.read(&mut self.buffer, self.door.rules.head)? else {
            return Ok(None);
        };
        if self.is_timed || self.is_idle {
            self.watch.disarm();
        }
        self.is_first = false;
        self.is_timed = false;
        self.is_idle = false;
        Ok(Some(Next::Head(head)))
    }

    /// Nothing has come: how long to go on waiting.
    fn poll_bored(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        if !self.buffer.is_empty() {
            ready!(self.watch.poll_late(context));
            let what = "the head of the request did not come in time";
            return Poll::Ready(Next::Refused(Fault::client(408, what).closing()));
        }
        if !self.is_timed && !self.is_idle {
            self.is_idle = true;
            self.watch.idle(self.door.rules.idle_time);
        }
        if watch::is_draining() {
            return Poll::Ready(Next::Closed);
        }
        self.watch.poll_late(context).map(|()| Next::Closed)
    }
}
