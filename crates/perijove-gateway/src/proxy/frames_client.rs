//! Sends requests to native workers as frames and reads their answers (decision 0001).
//!
//! Each thread keeps one connection to each worker, a [`Link`] with a task that drives it. A
//! request writes its frames to the link's buffer; the task sends what all requests wrote in one
//! turn of the loop with one system call, and hands out what came in.

mod answer;
mod claims;
mod driver;
mod link;
mod outgoing;
mod reading;
mod shelf;
mod state;
pub(super) mod websocket;

use std::{io::Write, sync::Arc, task::Poll};

use tokio::task::AbortHandle;

use super::{
    Errand,
    frames::{BodyLength, RequestStart},
    headers::HostName,
    retry::Failure,
    upload::Upload,
    upstreams::{Slot, Unavailable},
};
use crate::{
    Response, Scheme,
    error::{Fault, Kind},
};

use answer::respond;
use link::{Link, Refused, Ticket};
use outgoing::Outgoing;
use state::Ending;

/// Sends a request to the worker of `slot` and returns its answer. The slot is free again when the
/// worker has ended the request.
pub(super) async fn exchange(errand: &mut Errand<'_>, slot: Slot) -> Result<Response, Failure> {
    let link = Link::to(slot.member()).map_err(|error| {
        let fault = Fault::ours(503, "no connection to a worker could be prepared");
        Failure::not_sent(fault.because(error))
    })?;
    if errand.upload.is_stream() && !errand.head.expects_continue() {
        gather(&mut errand.upload, link.most_carried()).await?;
    }
    let (ticket, mut outgoing) = begin(errand, link, slot)?;
    let answer = std::future::poll_fn(|context| {
        if let Some(outgoing) = &mut outgoing
            && let Poll::Ready(Err(error)) = outgoing.poll(&mut errand.upload, context)
        {
            return Poll::Ready(Err(Failure::last(error)));
        }
        ticket.poll_answer(context).map_err(failure)
    })
    .await;
    match answer {
        Ok(answer) => respond(errand, ticket, answer, outgoing),
        Err(failure) => {
            errand.upload.rewind();
            Err(failure)
        }
    }
}

/// Takes what has arrived of the body, so that it travels with the request. A piece comes after
/// it was asked for, in the next turn of the client's connection; what does not come by then may
/// not have arrived.
async fn gather(upload: &mut Upload, most: usize) -> Result<(), Failure> {
    let mut before = None;
    std::future::poll_fn(|context| {
        if let Err(error) = upload.gather(most, context) {
            return Poll::Ready(Err(Failure::last(error)));
        }
        let gathered = upload.gathered();
        let is_enough = gathered >= most || !upload.is_stream();
        if is_enough || before.replace(gathered) == Some(gathered) {
            return Poll::Ready(Ok(()));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// Writes the `REQUEST`. What is to be sent later of the body comes back too.
fn begin(
    errand: &mut Errand<'_>,
    link: Arc<Link>,
    slot: Slot,
) -> Result<(Ticket, Option<Outgoing>), Failure> {
    let first = errand.upload.take_first();
    let carried = link.carry(&first);
    let carried_length = carried.len();
    let rest = first.slice(carried_length..);
    let (body, is_last) = match errand.upload.length() {
        Some(0) => (BodyLength::None, true),
        Some(length) => (BodyLength::Known(length), length == carried_length as u64),
        None => (BodyLength::Unknown, rest.is_empty() && !errand.upload.is_stream()),
    };
    let mut client = Text::new();
    let mut client_port = Text::new();
    if let Some(address) = errand.client.address {
        client.write(address.ip().to_canonical());
        client_port.write(address.port());
    }
    let (server, port) = server(errand);
    let start = RequestStart {
        version: errand.head.version(),
        is_https: errand.client.scheme == Scheme::Https,
        body,
        port,
        method: errand.head.method().as_bytes(),
        mount: b"",
        target: errand.head.target(),
        server: server.as_bytes(),
        client: client.as_bytes(),
        client_port: client_port.as_bytes(),
        request_id: errand.client.request_id.as_bytes(),
    };
    let onward = errand.onward();
    let fields = |writer: &mut super::frames::RequestWriter<'_>| {
        onward.each(HostName::AsClientNamed, |name, value| writer.field(name, value));
        // Who the client is stands in front of the fields; its id is looked for here.
        writer.field(b"x-request-id", start.request_id);
    };
    let sent = link.begin(slot, errand.response_time(), &start, fields, (carried, is_last));
    let ticket = sent.map_err(refused)?;
    let outgoing = (!is_last).then(|| {
        let left = errand.upload.length().map(|length| length - carried_length as u64);
        Outgoing::new(&ticket, rest, left)
    });
    Ok((ticket, outgoing))
}

/// The name and the port by which the client reached us.
fn server<'a>(errand: &'a Errand<'_>) -> (&'a str, u16) {
    let host = &*errand.client.host;
    let default = if errand.client.scheme == Scheme::Https { 443 } else { 80 };
    match host.rsplit_once(':') {
        // The colons of an address in brackets stand before the bracket.
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().unwrap_or(default)),
        _ => (host, default),
    }
}

fn refused(reason: Refused) -> Failure {
    match reason {
        Refused::Closed => Failure::not_sent(lost()),
        Refused::TooMany => {
            Failure::not_sent(Fault::ours(503, "too many requests wait for one worker"))
        }
        Refused::TooLong => Failure::last(Fault::client(431, "the head is too large")),
    }
}

fn failure(ending: Ending) -> Failure {
    match ending {
        Ending::Lost { is_entered: false } => Failure::not_sent(lost()),
        Ending::Lost { is_entered: true } => {
            let fault = Fault::upstream(502, "the worker ended amid the request");
            Failure::last(fault.of_kind(Kind::UpstreamLost))
        }
        Ending::Recalled(slot) => Failure::Recalled(slot),
        Ending::NotEntered => Failure::last(super::unavailable(Unavailable::Late)),
        Ending::Late => Failure::last(super::http1::late()),
        Ending::Reset(reason) => {
            let reason = String::from_utf8_lossy(&reason).into_owned();
            Failure::last(Fault::upstream(502, format!("the worker gave the request up: {reason}")))
        }
    }
}

fn lost() -> Fault {
    Fault::upstream(502, "the connection to the worker was lost").of_kind(Kind::UpstreamLost)
}

/// A short text on the stack.
struct Text {
    bytes: [u8; 48],
    length: usize,
}

impl Text {
    fn new() -> Self {
        Self { bytes: [0; 48], length: 0 }
    }

    fn write(&mut self, value: impl std::fmt::Display) {
        let mut rest = &mut self.bytes[..];
        let before = rest.len();
        // No address is longer.
        drop(write!(rest, "{value}"));
        self.length = before - rest.len();
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Ends a task when it is dropped.
#[derive(Debug)]
struct Ends(AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}
