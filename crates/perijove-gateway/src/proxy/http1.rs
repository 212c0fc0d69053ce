//! HTTP/1.1 to an upstream: sends a request and reads the head of the answer, both at once.

mod answer;
mod receive;
mod send;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use tokio::time::{Instant, Sleep, sleep};

use super::{
    Errand,
    conduit::Conduit,
    dial::dial_http,
    pool,
    retry::{Failure, Unanswered, is_idempotent},
    upgrade::Tunnel,
    upload::Upload,
    upstreams::Slot,
};
use crate::{
    Body, FieldBlock, Response,
    error::{Fault, Kind},
};

use answer::AnswerHead;
use answer::Framing;
pub(super) use answer::{Malformed, RawHead};
use receive::Receiving;
use send::{SendError, Sending};

/// How long a client that waits for `100 Continue` is kept waiting for an upstream that may not
/// know what is expected (RFC 9110 10.1.1).
const CONTINUE_TIME: Duration = Duration::from_secs(1);
/// How long what the system did to the connections of a process that has ended may come behind the
/// word that it has.
const NEWS: Duration = Duration::from_millis(100);
/// Interim answers to one request.
const MOST_INTERIM: usize = 32;

/// Sends a request to the upstream of `slot` and returns its answer. The slot is free again when
/// the answer's body has come to its end.
pub(super) async fn exchange(errand: &mut Errand<'_>, slot: Slot) -> Result<Response, Failure> {
    let is_safe = is_idempotent(errand.head.method());
    if errand.handshake.is_none()
        && let Some(socket) = pool::take(slot.member(), is_safe)
    {
        match attempt(errand, socket, &slot).await {
            Err(Attempt::Unanswered { is_written, .. })
                if errand.unanswered(is_written).may_repeat() =>
            {
                errand.upload.rewind();
            }
            Err(Attempt::Unanswered { fault, .. }) => return Err(Failure::last(fault)),
            result => return finish(errand, slot, result),
        }
    }
    let within = slot.member().owner().map_or(CONNECT_TIME, |set| set.settings().connect_time);
    let socket = dial_http(slot.member().upstream(), within).await.map_err(|error| {
        slot.member().rest();
        Failure::not_sent(unreachable(&slot, error))
    })?;
    slot.member().wake();
    let result = attempt(errand, Arc::new(socket), &slot).await;
    finish(errand, slot, result)
}

/// For a set of upstreams that is gone while one of them is still dialled.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How one attempt on one connection failed.
enum Attempt {
    /// The connection ended without a byte of an answer.
    Unanswered {
        is_written: bool,
        /// Whether the upstream may have read all that was sent.
        is_read: bool,
        fault: Fault,
    },
    Failed(Fault),
}

async fn attempt(
    errand: &mut Errand<'_>,
    socket: Arc<Conduit>,
    slot: &Slot,
) -> Result<Answered, Attempt> {
    let mut talk = Talk::new(errand, slot, socket);
    let mut timer = std::pin::pin!(sleep(errand.response_time()));
    let mut failed = std::pin::pin!(async {
        slot.member().failed().cancelled().await;
        sleep(NEWS).await;
    });
    std::future::poll_fn(|context| {
        let answered = talk.poll(errand, context);
        if answered.is_ready() {
            return answered;
        }
        if failed.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(Attempt::Failed(gone())));
        }
        ready!(talk.poll_late(errand, timer.as_mut(), context));
        Poll::Ready(Err(Attempt::Failed(late())))
    })
    .await
    .map(|head| Answered { head, talk })
}

/// An answer whose head is there.
struct Answered {
    head: AnswerHead,
    talk: Talk,
}

/// One request on one connection, until the head of the answer is there.
struct Talk {
    socket: Arc<Conduit>,
    sending: Sending,
    /// What came and was not looked at yet.
    buffer: BytesMut,
    /// Why nothing more can be sent; there may be an answer all the same.
    broken: Option<io::Error>,
    interim: usize,
    last_progress: Instant,
    continue_timer: Option<Pin<Box<Sleep>>>,
}

impl Talk {
    fn new(errand: &Errand<'_>, slot: &Slot, socket: Arc<Conduit>) -> Self {
        let sending = Sending::new(errand, slot.member().upstream());
        let continue_timer = sending.is_held().then(|| Box::pin(sleep(CONTINUE_TIME)));
        Self {
            socket,
            sending,
            buffer: BytesMut::new(),
            broken: None,
            interim: 0,
            last_progress: Instant::now(),
            continue_timer,
        }
    }

    fn poll(
        &mut self,
        errand: &mut Errand<'_>,
        context: &mut Context<'_>,
    ) -> Poll<Result<AnswerHead, Attempt>> {
        loop {
            self.poll_send(errand, context)?;
            match self.parse(errand)? {
                Some(head) if head.status >= 200 || head.status == 101 => {
                    return Poll::Ready(Ok(head));
                }
                Some(head) => {
                    if head.status == 100 {
                        self.sending.release();
                    }
                    continue;
                }
                None => {}
            }
            match ready!(self.socket.poll_read_some(context, &mut self.buffer)) {
                Ok(0) => return Poll::Ready(Err(self.cut_off(None))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(self.cut_off(Some(error)))),
            }
        }
    }

    /// Sends for as long as the upstream takes it and the client gives it.
    fn poll_send(
        &mut self,
        errand: &mut Errand<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Attempt> {
        if let Some(timer) = &mut self.continue_timer
            && timer.as_mut().poll(context).is_ready()
        {
            self.continue_timer = None;
            self.sending.release();
        }
        let before = self.sending.written();
        match self.sending.poll(&self.socket, &mut errand.upload, context) {
            Poll::Ready(Err(SendError::Body(error))) => Err(Attempt::Failed(error.into())),
            Poll::Ready(Err(SendError::Io(error))) => {
                self.broken = Some(error);
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => {
                if self.sending.written() != before {
                    self.last_progress = Instant::now();
                }
                Ok(())
            }
        }
    }

    fn parse(&mut self, errand: &Errand<'_>) -> Result<Option<AnswerHead>, Attempt> {
        let head = answer::read(&mut self.buffer, errand.answer_fields())
            .map_err(|error| Attempt::Failed(malformed(error)))?;
        let Some(AnswerHead { status: 100..200, switched, .. }) = &head else { return Ok(head) };
        self.interim += 1;
        let checked = match (switched, &errand.handshake) {
            (Some(switched), Some(handshake)) => handshake.check(switched),
            (Some(_), None) => Err(Malformed("an upgrade that nobody asked for")),
            (None, _) if self.interim > MOST_INTERIM => Err(Malformed("too many interim answers")),
            (None, _) => Ok(()),
        };
        checked.map(|()| head).map_err(|error| Attempt::Failed(malformed(error)))
    }

    /// Ready when the upstream has been silent for too long. The time that we wait for the client
    /// is not the upstream's.
    fn poll_late(
        &self,
        errand: &Errand<'_>,
        mut timer: Pin<&mut Sleep>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            ready!(timer.as_mut().poll(context));
            let now = Instant::now();
            let begin = if errand.upload.is_waiting() { now } else { self.last_progress };
            let deadline = begin + errand.response_time();
            if deadline <= now {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// The connection ended before the head of an answer was complete.
    fn cut_off(&mut self, error: Option<io::Error>) -> Attempt {
        let is_written = self.sending.written() > 0;
        // Where a peer has closed without having read all, or without having accepted, systems say
        // so by a reset; where it had read all, there is a plain end.
        let is_reset = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset;
        let is_read = is_written && ![&error, &self.broken].into_iter().flatten().any(is_reset);
        let mut fault = Fault::upstream(502, "the upstream ended the connection without an answer")
            .of_kind(Kind::UpstreamLost);
        if let Some(error) = self.broken.take().or(error) {
            fault = fault.because(error);
        }
        if self.buffer.is_empty() && self.interim == 0 {
            return Attempt::Unanswered { is_written, is_read, fault };
        }
        Attempt::Failed(fault)
    }
}

/// Makes the response of an answer whose head is there.
fn finish(
    errand: &mut Errand<'_>,
    slot: Slot,
    result: Result<Answered, Attempt>,
) -> Result<Response, Failure> {
    let Answered { mut head, talk } = match result {
        Ok(answered) => answered,
        Err(Attempt::Unanswered { is_written, is_read, fault }) => {
            return Err(unanswered(errand, &slot, (is_written, is_read), fault));
        }
        Err(Attempt::Failed(fault)) => return Err(Failure::last(fault)),
    };
    slot.member().answered();
    let fields = FieldBlock::from_checked(std::mem::take(&mut head.fields));
    if let (101, Some(handshake)) = (head.status, &errand.handshake) {
        // Nobody else has it: a request for an upgrade has no body that could still be sent.
        let stream = Arc::into_inner(talk.socket).map(Conduit::into_stream);
        let stream = stream.ok_or_else(|| Failure::last(gone()))?;
        let tunnel = Tunnel::new(stream, talk.buffer.freeze(), handshake, slot);
        return Ok(Response { status: 101, fields, body: Body::Tunnel(Box::new(tunnel)) });
    }
    let is_sent = talk.sending.is_over() && talk.broken.is_none();
    let time = errand.response_time();
    let mut receiving = Receiving::new(talk.socket, slot, talk.buffer, head.framing, time);
    receiving.keep(head.keep.filter(|_| is_sent));
    if head.framing == Framing::Chunked && errand.takes_trailers() {
        receiving.keep_trailers();
    }
    let body = receiving.whole().unwrap_or_else(|| {
        if !is_sent && talk.broken.is_none() {
            receiving.keep(head.keep);
            let upload = std::mem::replace(&mut errand.upload, Upload::new(Body::Empty));
            receiving.send_on(talk.sending, upload);
        }
        receiving.into_body()
    });
    Ok(Response { status: head.status, fields, body })
}

/// What is done about a new connection that ended without an answer: an equal of the upstream, or the
/// worker that replaces it, is asked, where that is safe.
fn unanswered(
    errand: &mut Errand<'_>,
    slot: &Slot,
    (is_written, is_read): (bool, bool),
    fault: Fault,
) -> Failure {
    let member = slot.member();
    let is_unread_worker = member.upstream().is_replaced && !is_read;
    if is_unread_worker {
        member.rest();
    } else {
        member.lose();
    }
    let is_safe = if is_unread_worker {
        errand.may_go_elsewhere()
    } else {
        member.has_equals() && errand.unanswered(is_written).may_repeat()
    };
    if is_safe {
        errand.upload.rewind();
        return Failure::not_sent(fault);
    }
    Failure::last(fault)
}

impl Errand<'_> {
    /// Whether a request that its worker has not read to the end may be sent to another one: the
    /// application was not entered, or may be entered twice.
    fn may_go_elsewhere(&self) -> bool {
        let is_harmless = self.upload.length() == Some(0) || is_idempotent(self.head.method());
        self.upload.is_repeatable() && is_harmless
    }

    fn unanswered(&self, is_written: bool) -> Unanswered<'_> {
        let is_repeatable = self.upload.is_repeatable();
        Unanswered { method: self.head.method(), is_repeatable, is_written }
    }
}

pub(super) fn unreachable(slot: &Slot, error: io::Error) -> Fault {
    let address = &slot.member().upstream().address;
    let status = if error.kind() == io::ErrorKind::TimedOut { 504 } else { 502 };
    Fault::upstream(status, format!("could not connect to the upstream at {address}"))
        .of_kind(Kind::UpstreamUnreachable)
        .because(error)
}

fn gone() -> Fault {
    Fault::upstream(502, "the upstream is gone").of_kind(Kind::UpstreamLost)
}

pub(super) fn late() -> Fault {
    Fault::upstream(504, "the upstream did not answer within its time limit")
}

pub(super) fn malformed(error: Malformed) -> Fault {
    Fault::upstream(502, "the upstream's answer is malformed").because(error)
}
