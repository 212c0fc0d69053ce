//! From a request's head to the last byte of its answer.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::{
    BodyError, Head, Request, Response, buffers, clock,
    error::Fault,
    note::Note,
    request::{self, Answer, Handling, Upgrade, Work},
    watch,
};

use super::{
    super::{
        answer::{Wire, push_head},
        closing,
        outgoing::Outgoing,
        pace::Window,
        sending::{Cut, Sending},
        upload::{self, Pump, Upload},
    },
    Connection,
};

/// How an exchange ended.
pub(super) enum After {
    Next,
    Closed,
    Upgrade(Box<Upgrade>, Box<Note>),
}

pub(super) async fn exchange(connection: &mut Connection, head: Head) -> After {
    let (body, mut upload) = upload::begin(&head, &mut connection.buffer, &connection.door.rules);
    let mut client = connection.peer.client(&head, &connection.door.rules.trusted_proxies);
    let mut note = connection.door.note(&head, &mut client, connection.peer.is_trusted);
    let request_id = client.request_id.clone();
    let request = Request { head: head.clone(), body, client };
    let made = match request::handle(&connection.door, request, &mut note) {
        Handling::Ready(made) => made,
        Handling::Waiting(mut work) => {
            let made = poll_fn(|context| connection.poll_work(&mut work, &mut upload, context));
            let Some(made) = made.await else {
                note.end(&connection.door.rules, closing::CLIENT_LEFT, 0);
                return After::Closed;
            };
            made
        }
    };
    let (answer, is_last) = match made {
        Ok(Answer::Response(answer)) => (answer, false),
        Ok(Answer::Upgrade(upgrade)) => match upload {
            None => return After::Upgrade(upgrade, Box::new(note)),
            // What follows would be taken for the other protocol's.
            Some(_) => {
                (connection.door.refuse(&upgrade_with_body(), Some(&head), &request_id), true)
            }
        },
        Err(fault) => (connection.door.refuse(&fault, Some(&head), &request_id), fault.closes),
    };
    note.answer();
    let mut reply = Reply::begin(connection, Some(&head), answer, (is_last, upload.as_mut()));
    let end = poll_fn(|context| reply.sending.poll(connection, &mut upload, context)).await;
    connection.watch.disarm();
    let status = if end == Err(Cut::Client) { closing::CLIENT_LEFT } else { reply.status };
    note.end(&connection.door.rules, status, reply.sending.bytes());
    if end.is_err() {
        return After::Closed;
    }
    match &mut upload {
        Some(upload) if !upload.is_done() => {
            if !reply.is_last && closing::drain(connection, upload).await {
                return After::Next;
            }
            closing::linger(connection).await;
            After::Closed
        }
        _ if reply.is_last => {
            // What the client has sent ahead must not reset the connection under the answer.
            if !connection.buffer.is_empty() {
                closing::linger(connection).await;
            }
            After::Closed
        }
        _ => After::Next,
    }
}

fn upgrade_with_body() -> Fault {
    Fault::client(400, "a request with a body cannot change the protocol")
}

/// Answers a head that could not be read. What follows it is not understood either.
pub(super) async fn refuse(connection: &mut Connection, fault: &Fault) {
    connection.watch.disarm();
    let head = Head::unread();
    let mut client = connection.peer.client(&head, &[]);
    let mut note = connection.door.note(&head, &mut client, false);
    let answer = connection.door.refuse(fault, None, &client.request_id);
    note.answer();
    let mut reply = Reply::begin(connection, None, answer, (true, None));
    let end = poll_fn(|context| reply.sending.poll(connection, &mut None, context)).await;
    connection.watch.disarm();
    note.end(&connection.door.rules, reply.status, reply.sending.bytes());
    if end.is_ok() {
        closing::linger(connection).await;
    }
}

/// An answer that is being written.
struct Reply {
    sending: Sending,
    status: u16,
    /// The connection is closed behind it.
    is_last: bool,
}

impl Reply {
    fn begin(
        connection: &Connection,
        head: Option<&Head>,
        answer: Response,
        (is_last, mut upload): (bool, Option<&mut Upload>),
    ) -> Self {
        let wire = Wire::of(&answer, head);
        let mut out = Outgoing::new();
        if let Some(upload) = &mut upload {
            out.small().extend_from_slice(upload.uninvite());
        }
        let stays = |upload: &Upload| {
            let is_wanted = !upload.is_abandoned() && !upload.is_uninvited();
            upload.is_done() || is_wanted || upload.is_drainable()
        };
        let is_last = is_last
            || wire == Wire::Close
            || !head.is_some_and(Head::keep_alive)
            || watch::is_draining()
            || connection.door.is_left()
            || !upload.as_deref().is_none_or(stays);
        push_head(out.small(), &answer, head, &connection.door, (wire, is_last));
        let sending = Sending::begin(out, (answer.body, wire), &connection.stream);
        Self { sending, status: answer.status, is_last }
    }
}

impl Connection {
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
            match self.poll_upload(upload, None, context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Ready when a piece of the body was moved to its reader, or, as an error, when the client
    /// has left. `blocked`: the client does not take what is written to it either, and so many
    /// bytes were.
    pub(in crate::connection) fn poll_upload(
        &mut self,
        upload: &mut Option<Upload>,
        blocked: Option<u64>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let pump = match upload {
            Some(upload) => upload.pump(&mut self.stream, &mut self.buffer, context),
            None => Pump::Idle,
        };
        match (pump, blocked, upload) {
            (Pump::Moved, ..) => {
                self.watch.disarm();
                Poll::Ready(Ok(()))
            }
            (Pump::Waiting | Pump::Idle, Some(written), _) => {
                ready!(self.poll_blocked(written, context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            (Pump::Waiting, None, Some(upload)) => {
                upload.wait(&self.watch);
                ready!(self.watch.poll_late(context));
                self.watch.disarm();
                upload.fail(BodyError::Late, context);
                Poll::Ready(Ok(()))
            }
            (Pump::Waiting | Pump::Idle, None, upload) => {
                self.watch.disarm();
                self.poll_gone(upload.as_ref(), context)
            }
        }
    }

    /// Looks whether the client has left. What it sends meanwhile is its next request.
    ///
    /// The end of what it sends may mean either that it has left, or that it has said all and
    /// waits for the answer: TCP does not tell. So it has some time from there on, and again from
    /// whenever it took something of the answer.
    fn poll_gone(
        &mut self,
        upload: Option<&Upload>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(until) = self.silent_until {
            let left = until.saturating_sub(clock::now());
            if left == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.watch.arm(Duration::from_millis(left));
            return self
                .watch
                .poll_late(context)
                .map(|()| Err(io::ErrorKind::UnexpectedEof.into()));
        }
        if !self.buffer.is_empty() || upload.is_some_and(|upload| !upload.is_done()) {
            return Poll::Pending;
        }
        match ready!(buffers::poll_fill(&mut self.stream, &mut self.buffer, context)) {
            Ok(1..) => Poll::Pending,
            Ok(0) => {
                self.wait_in_silence();
                self.poll_gone(upload, context)
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// The client has ended its side: from now on it has this much time to be answered.
    fn wait_in_silence(&mut self) {
        let time = clock::milliseconds(self.door.rules.half_closed_time);
        self.silent_until = Some(clock::now().saturating_add(time));
    }

    /// The client has taken something of the answer, so that it is still there.
    pub(in crate::connection) fn has_taken(&mut self) {
        if self.silent_until.is_some() {
            self.wait_in_silence();
        }
    }

    /// The client does not take what is written to it, `written` bytes so far: ready when it has
    /// been too slow.
    pub(in crate::connection) fn poll_blocked(
        &mut self,
        written: u64,
        context: &mut Context<'_>,
    ) -> Poll<Cut> {
        if !self.watch.is_armed() {
            self.window = None;
            self.watch.arm(self.door.rules.transfer_time);
        }
        let begin =
            *self.window.get_or_insert_with(|| Window::begin(self.stream.socket(), written));
        ready!(self.watch.poll_late(context));
        let now = Window::begin(self.stream.socket(), written);
        if begin.is_slow(&now, self.door.rules.answer_rate) {
            return Poll::Ready(Cut::Client);
        }
        self.window = Some(now);
        self.watch.arm(self.door.rules.transfer_time);
        self.watch.poll_late(context).map(|()| Cut::Client)
    }
}
