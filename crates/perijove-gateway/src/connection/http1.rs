//! HTTP/1: one request after the other, until either side has enough.
//!
//! ```text
//! idle ──first byte──▶ head ──complete──▶ answer is made ──▶ answer is written ──▶ idle
//!   │                    │                  (body comes)       (body may come)      │
//!   └─ idle time, stop   └─ 408, 431, 400   └─ client left     └─ close, linger     └─ upgraded
//! ```

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;

use crate::{
    BodyError, Head, HeadReader, Request, Response,
    access_log::Entry,
    buffers,
    error::Fault,
    forwarded::{self, Peer},
    request::{self, Answer, Handling, Upgrade, Work},
    stream::Stream,
    watch::{self, Watch},
};

use super::{
    Door,
    answer::{Wire, push_head},
    closing,
    outgoing::Outgoing,
    sending::{self, Cut},
    tunnel,
    upload::{self, Pump, Upload},
};

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
}

/// What came instead of a head, or a head.
enum Next {
    Head(Head),
    Http2,
    Closed,
    Refused(Fault),
}

/// How an exchange ended.
enum After {
    Next,
    Closed,
    Upgrade(Box<Upgrade>, Option<Entry>),
}

impl Connection {
    /// The time for the first head runs already.
    pub(super) fn new(stream: Stream, watch: Watch, door: Arc<Door>, peer: Peer) -> Self {
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
        }
    }

    /// Serves requests until the connection ends. The connection comes back when its first bytes
    /// say that it speaks HTTP/2.
    pub(super) async fn serve(mut self) -> Option<Self> {
        loop {
            let head = match poll_fn(|context| self.poll_head(context)).await {
                Next::Head(head) => head,
                Next::Http2 => return Some(self),
                Next::Closed => break,
                Next::Refused(fault) => {
                    self.refuse(&fault).await;
                    break;
                }
            };
            match self.exchange(head).await {
                After::Next => {}
                After::Closed => break,
                After::Upgrade(upgrade, entry) => {
                    // Boxed: an upgraded connection may stand for days, and holds what it needs.
                    Box::pin(tunnel::join(self, *upgrade, entry)).await;
                    return None;
                }
            }
        }
        closing::say_goodbye(&mut self.stream).await;
        None
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

    /// From a request's head to the last byte of its answer.
    async fn exchange(&mut self, head: Head) -> After {
        let (body, mut upload) = upload::begin(&head, &mut self.buffer);
        let client = self.peer.client(&head, &self.door.rules.trusted_proxies);
        let entry = self.door.entry(&head, &client);
        let request_id = client.request_id.clone();
        let request = Request { head: head.clone(), body, client };
        let made = match request::handle(&self.door, request) {
            Handling::Ready(made) => made,
            Handling::Waiting(mut work) => {
                let made = poll_fn(|context| self.poll_work(&mut work, &mut upload, context));
                let Some(made) = made.await else {
                    closing::log(entry, closing::CLIENT_LEFT, 0);
                    return After::Closed;
                };
                made
            }
        };
        match made {
            Ok(Answer::Response(answer)) => {
                self.reply(Some(&head), answer, &mut upload, entry, false).await
            }
            Ok(Answer::Upgrade(upgrade)) => After::Upgrade(upgrade, entry),
            Err(fault) => {
                let answer = self.door.refuse(&fault, Some(&head), &request_id);
                self.reply(Some(&head), answer, &mut upload, entry, fault.closes).await
            }
        }
    }

    /// Waits for the answer, and meanwhile carries the body to whoever wants it. `None` when the
    /// client has left, which ends the work.
    fn poll_work(
        &mut self,
        work: &mut Work,
        upload: &mut Option<Upload>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Answer, Fault>>> {
        loop {
            if let Poll::Ready(made) = work.as_mut().poll(context) {
                self.watch.disarm();
                return Poll::Ready(Some(made));
            }
            match self.poll_upload(upload, false, context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Ready when a piece of the body was moved to its reader, or, as an error, when the client
    /// has left. `is_blocked`: the client does not take what is written to it either.
    pub(super) fn poll_upload(
        &mut self,
        upload: &mut Option<Upload>,
        is_blocked: bool,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let pump = match upload {
            Some(upload) => upload.pump(&mut self.stream, &mut self.buffer, context),
            None => Pump::Idle,
        };
        match pump {
            Pump::Moved => {
                self.watch.disarm();
                return Poll::Ready(Ok(()));
            }
            Pump::Waiting => {}
            Pump::Idle if is_blocked => {}
            Pump::Idle => {
                self.watch.disarm();
                return self.poll_gone(upload.as_ref(), context);
            }
        }
        self.watch.arm_once(self.door.rules.transfer_time);
        ready!(self.watch.poll_late(context));
        self.watch.disarm();
        match upload {
            Some(upload) if !is_blocked => {
                upload.fail(BodyError::Late, context);
                Poll::Ready(Ok(()))
            }
            _ => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Looks whether the client has left. What it sends meanwhile is its next request.
    fn poll_gone(
        &mut self,
        upload: Option<&Upload>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.buffer.is_empty() || upload.is_some_and(|upload| !upload.is_done()) {
            return Poll::Pending;
        }
        match ready!(buffers::poll_fill(&mut self.stream, &mut self.buffer, context)) {
            Ok(1..) => Poll::Pending,
            Ok(0) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Writes an answer, and sees to what is left of the request.
    async fn reply(
        &mut self,
        head: Option<&Head>,
        answer: Response,
        upload: &mut Option<Upload>,
        entry: Option<Entry>,
        is_last: bool,
    ) -> After {
        let wire = Wire::of(&answer, head);
        let stays =
            |upload: &Upload| upload.is_done() || !upload.is_abandoned() || upload.is_drainable();
        let is_last = is_last
            || wire == Wire::Close
            || !head.is_some_and(Head::keep_alive)
            || watch::is_draining()
            || !upload.as_ref().is_none_or(stays);
        let mut out = Outgoing::new();
        push_head(out.small(), &answer, head, &self.door, (wire, is_last));
        let sent = sending::send(self, out, (answer.body, wire), upload).await;
        closing::log(entry, closing::status_of(answer.status, &sent), sent.bytes);
        if sent.end.is_err() {
            return After::Closed;
        }
        match upload {
            Some(upload) if !upload.is_done() => {
                if !is_last && closing::drain(self, upload).await {
                    return After::Next;
                }
                closing::linger(self).await;
                After::Closed
            }
            _ if is_last => After::Closed,
            _ => After::Next,
        }
    }

    /// The client does not take what is written to it: ready when it has had its time.
    pub(super) fn poll_blocked(&self, has_moved: bool, context: &mut Context<'_>) -> Poll<Cut> {
        let time = self.door.rules.transfer_time;
        if has_moved {
            self.watch.arm(time)
        } else {
            self.watch.arm_once(time)
        }
        self.watch.poll_late(context).map(|()| Cut::Client)
    }

    /// Answers a head that could not be read. What follows it is not understood either.
    async fn refuse(&mut self, fault: &Fault) {
        let request_id = forwarded::request_id();
        let answer = self.door.refuse(fault, None, &request_id);
        self.watch.disarm();
        drop(self.reply(None, answer, &mut None, None, true).await);
        closing::linger(self).await;
    }
}
