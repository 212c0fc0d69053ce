//! An answer in the form that hyper sends.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hyper::body::{Frame, SizeHint};

use crate::{
    Body, BodyError, Response, Source,
    body::FileSource,
    clock,
    connection::{closing, pace::Pace},
    note::Note,
};

use super::{Active, STALL};

/// Pieces below this are gathered.
const SMALL: usize = 4 << 10;
/// Into frames of about this size.
const FRAME: usize = 16 << 10;

/// The body of an answer, and what ends with it.
pub(super) struct Outbound {
    body: Kind,
    /// Came behind the piece that was sent last.
    next: Option<Piece>,
    left: Option<u64>,
    sent: u64,
    /// Bytes of the piece that was taken last.
    last: usize,
    status: u16,
    pace: Pace,
    note: Note,
    is_over: bool,
    active: Active,
}

enum Kind {
    Nothing,
    Full(Bytes),
    Stream(Box<dyn Source>),
}

pub(super) fn begin(
    answer: Response,
    is_head: bool,
    active: Active,
    note: Note,
) -> http::Response<Outbound> {
    let Response { status, fields, body } = answer;
    let has_body = !is_head && !matches!(status, 204 | 304);
    let length = body.length();
    let mut response = http::Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    for (name, value) in fields.iter() {
        // What HTTP/2 cannot carry is left out.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    let mut date = Vec::with_capacity(29);
    clock::push_date(&mut date);
    if let Ok(date) = HeaderValue::from_bytes(&date) {
        headers.insert(header::DATE, date);
    }
    let is_told = has_body || (is_head && length > Some(0));
    if let Some(length) = length.filter(|_| is_told)
        && !headers.contains_key(header::CONTENT_LENGTH)
    {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let door = &active.0.door;
    if let Some(policy) = door.strict_transport.as_deref().filter(|_| door.tls.is_some())
        && let Ok(value) = HeaderValue::from_str(policy)
    {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    let body = match body {
        _ if !has_body => Kind::Nothing,
        Body::Empty | Body::Tunnel(_) => Kind::Nothing,
        Body::Full(bytes) => Kind::Full(bytes),
        Body::File(file) => Kind::Stream(Box::new(FileSource(file))),
        Body::Stream(source) => Kind::Stream(source),
    };
    let left = if has_body { length } else { Some(0) };
    let pace = Pace::of_answer(&door.rules);
    let is_over = left == Some(0);
    let outbound =
        Outbound { body, next: None, left, sent: 0, last: 0, status, pace, note, is_over, active };
    response.map(|()| outbound)
}

impl Outbound {
    /// What came behind the body, once.
    fn take_trailers(&mut self) -> Option<HeaderMap> {
        let Kind::Stream(mut source) = std::mem::replace(&mut self.body, Kind::Nothing) else {
            return None;
        };
        let trailers = source.trailers()?;
        let field = |(name, value)| {
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
        };
        Some(trailers.iter().filter_map(field).collect())
    }
}

type Piece = Option<Result<Bytes, BodyError>>;

/// The next piece of a body, and what follows it as long as it is small and there: clients take
/// many frames of a few bytes for an attack. `next` keeps what came behind.
fn gather(
    source: &mut dyn Source,
    next: &mut Option<Piece>,
    context: &mut Context<'_>,
) -> Poll<Piece> {
    let first = match next.take() {
        Some(first) => first,
        None => ready!(source.poll_chunk(context)),
    };
    let Some(Ok(first)) = first else { return Poll::Ready(first) };
    if first.len() >= SMALL {
        return Poll::Ready(Some(Ok(first)));
    }
    let mut gathered: Option<BytesMut> = None;
    while gathered.as_ref().map_or(first.len(), BytesMut::len) < FRAME {
        match source.poll_chunk(context) {
            Poll::Pending => break,
            Poll::Ready(Some(Ok(piece))) if piece.len() < SMALL => {
                gathered.get_or_insert_with(|| first.as_ref().into()).extend_from_slice(&piece);
            }
            Poll::Ready(other) => {
                *next = Some(other);
                break;
            }
        }
    }
    Poll::Ready(Some(Ok(gathered.map_or(first, BytesMut::freeze))))
}

impl hyper::body::Body for Outbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let _ = STALL.try_with(super::Watch::disarm);
        this.pace.gain(std::mem::take(&mut this.last));
        let piece = match &mut this.body {
            Kind::Nothing => None,
            Kind::Full(bytes) if bytes.is_empty() => None,
            Kind::Full(bytes) => Some(Ok(std::mem::take(bytes))),
            Kind::Stream(source) => ready!(gather(&mut **source, &mut this.next, context)),
        };
        // Until it is asked for the next piece, the client is waited for.
        let _ = STALL.try_with(|stall| this.pace.wait(stall));
        Poll::Ready(match piece {
            None if this.left.is_some_and(|left| left > 0) => Some(Err(BodyError::CutOff)),
            None => {
                this.is_over = true;
                this.take_trailers().map(|fields| Ok(Frame::trailers(fields)))
            }
            Some(Ok(bytes)) => {
                this.last = bytes.len();
                let length = bytes.len() as u64;
                this.sent += length;
                this.left = this.left.map(|left| left.saturating_sub(length));
                this.is_over = this.left == Some(0);
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(error)) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        let status = if self.is_over { self.status } else { closing::CLIENT_LEFT };
        let rules = &self.active.0.door.rules;
        std::mem::take(&mut self.note).end(rules, status, self.sent);
    }
}
