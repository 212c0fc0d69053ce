//! Websockets to native workers: a connection of its own for each, opened with one frame, and after
//! the worker's 101 the websocket's own bytes (decision 0001).

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::timeout;

use super::{
    Text,
    answer::{failed, read_fields},
    lost, server,
};
use crate::{
    Body, FieldBlock, Head, Response, Scheme,
    error::Fault,
    proxy::{
        Errand, Protocol, Tunnel,
        dial::dial,
        frames::{
            BodyLength, FrameError, HEADER, Header, Kind, RequestStart, RequestWriter,
            read_response, write_open,
        },
        headers::HostName,
        http1::late,
        retry::Failure,
        upgrade::Handshake,
        upstreams::{Member, Slot},
    },
    stream::{Socket, Stream},
};

/// For a set of upstreams that is gone while one of them is still dialled.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Whether requests for websockets go to this worker in this way.
pub(in crate::proxy) fn takes(member: &Member, handshake: &Handshake) -> bool {
    let protocol = &member.upstream().protocol;
    handshake.is_websocket() && matches!(protocol, Protocol::Frames { takes_websockets: true, .. })
}

/// Asks the worker of `slot` for a websocket: the answer is a tunnel to it, or its refusal.
pub(in crate::proxy) async fn open(
    errand: &mut Errand<'_>,
    slot: Slot,
) -> Result<Response, Failure> {
    check_version(&errand.head)?;
    let member = slot.member().clone();
    let within = member.owner().map_or(CONNECT_TIME, |set| set.settings().connect_time);
    let socket = dial(member.upstream(), within).await.map_err(|error| {
        member.rest();
        Failure::not_sent(lost().because(error))
    })?;
    member.wake();
    let opening = opening(errand, &member)?;
    let mut hearing = Hearing { buffer: BytesMut::new(), is_entered: false };
    let asking = async {
        send(&socket, &opening).await.map_err(|error| lost_because(error, false))?;
        hearing.answer(&socket).await
    };
    let answer = tokio::select! {
        answer = timeout(errand.response_time(), asking) => {
            answer.unwrap_or_else(|_| Err(Failure::last(late())))?
        }
        () = member.failed().cancelled() => {
            let error = io::ErrorKind::ConnectionAborted.into();
            return Err(lost_because(error, hearing.is_entered));
        }
    };
    respond(errand, slot, socket, answer, hearing.buffer.freeze())
}

/// The worker speaks the one version that there is (RFC 6455 4.4).
fn check_version(head: &Head) -> Result<(), Failure> {
    let mut versions = head.get_all("sec-websocket-version");
    if versions.next() == Some(b"13") && versions.next().is_none() {
        return Ok(());
    }
    let mut fault = Fault::client(426, "this version of websockets is not spoken here");
    fault.fields.push(("Sec-WebSocket-Version", "13".to_owned()));
    Err(Failure::last(fault))
}

/// The frame that opens the connection.
fn opening(errand: &Errand<'_>, member: &Member) -> Result<Vec<u8>, Failure> {
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
        body: BodyLength::None,
        port,
        method: errand.head.method().as_bytes(),
        mount: b"",
        target: errand.head.target(),
        server: server.as_bytes(),
        client: client.as_bytes(),
        client_port: client_port.as_bytes(),
        request_id: errand.client.request_id.as_bytes(),
    };
    let mut request = Vec::new();
    let mut writer = RequestWriter::new(&mut request, 0, &start);
    errand.onward().each(HostName::AsClientNamed, |name, value| writer.field(name, value));
    writer.field(b"connection", b"upgrade");
    writer.field(b"upgrade", b"websocket");
    writer.field(b"x-request-id", start.request_id);
    let too_large = || Failure::last(Fault::client(431, "the head is too large"));
    if !writer.finish(b"", true) {
        return Err(too_large());
    }
    let secret = match &member.upstream().protocol {
        Protocol::Frames { secret, .. } => secret.reveal(),
        Protocol::Http1 | Protocol::Https(_) => "",
    };
    let payload = request.get(HEADER..).unwrap_or_default();
    write_open(secret, payload).ok_or_else(too_large)
}

async fn send(socket: &Socket, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::future::poll_fn(|context| socket.poll_write_some(context, bytes));
        bytes.advance(written.await?);
    }
    Ok(())
}

/// What the worker says.
struct Hearing {
    buffer: BytesMut,
    /// Whether the worker has entered the application: from then on another one may not be asked.
    is_entered: bool,
}

struct Answer {
    status: u16,
    fields: Bytes,
    body: Bytes,
}

impl Hearing {
    async fn answer(&mut self, socket: &Socket) -> Result<Answer, Failure> {
        loop {
            if let Some(answer) = self.take_frame().map_err(malformed)? {
                return Ok(answer);
            }
            let buffer = &mut self.buffer;
            let read = std::future::poll_fn(|context| socket.poll_read_some(context, buffer));
            let ended = match read.await {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => continue,
                Err(error) => error,
            };
            return Err(lost_because(ended, self.is_entered));
        }
    }

    /// The answer, when it is there.
    fn take_frame(&mut self) -> Result<Option<Answer>, FrameError> {
        while let Some(header) = Header::read(&self.buffer)? {
            if self.buffer.len() < HEADER + header.length {
                return Ok(None);
            }
            self.buffer.advance(HEADER);
            let mut payload = self.buffer.split_to(header.length).freeze();
            match header.kind {
                Kind::Entered => self.is_entered = true,
                Kind::Response => {
                    let cut = FrameError::Malformed("RESPONSE");
                    let (status, length) = read_response(&payload).ok_or(cut)?;
                    payload.advance(crate::proxy::frames::RESPONSE_START);
                    if payload.len() < length {
                        return Err(FrameError::Malformed("fields beyond the frame"));
                    }
                    let fields = payload.split_to(length);
                    return Ok(Some(Answer { status, fields, body: payload }));
                }
                _ => return Err(FrameError::Malformed("no answer to an opening")),
            }
        }
        Ok(None)
    }
}

fn respond(
    errand: &Errand<'_>,
    slot: Slot,
    socket: Socket,
    answer: Answer,
    early: Bytes,
) -> Result<Response, Failure> {
    let Answer { status, fields, body } = answer;
    let mut block = BytesMut::with_capacity(fields.len() + 64);
    let wrong = || malformed(FrameError::Malformed("RESPONSE"));
    let named = read_fields(&fields, errand.answer_fields(), &mut block).ok_or_else(wrong)?;
    if !((200..600).contains(&status) || status == 101) {
        return Err(wrong());
    }
    if named.has_failed {
        return Err(failed());
    }
    let body = match &errand.handshake {
        Some(handshake) if status == 101 => {
            handshake.push_accept(&mut block);
            Body::Tunnel(Box::new(Tunnel::new(Stream::Plain(socket), early, handshake, slot)))
        }
        _ if body.is_empty() => Body::Empty,
        _ => Body::Full(body),
    };
    Ok(Response { status, fields: FieldBlock::from_checked(block), body })
}

fn lost_because(error: io::Error, is_entered: bool) -> Failure {
    if is_entered {
        let fault = Fault::upstream(502, "the worker ended amid the request");
        Failure::last(fault.because(error))
    } else {
        Failure::not_sent(lost().because(error))
    }
}

fn malformed(error: FrameError) -> Failure {
    Failure::last(Fault::upstream(502, "the worker's answer is malformed").because(error))
}
