//! A request of HTTP/2 in the form that HTTP/1 has.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as _, Incoming};

use crate::{Body, BodyError, Head, Request, Source, error::Fault};

use super::{STALL, Streams};
use crate::connection::pace::Pace;

pub(super) fn read(streams: &Streams, request: http::Request<Incoming>) -> Result<Request, Fault> {
    let (parts, incoming) = request.into_parts();
    let head = head(&parts)?;
    let rules = &streams.door.rules;
    if head.fields().count() > rules.head.fields {
        return Err(Fault::client(431, "the head is larger than is allowed"));
    }
    let body = if incoming.is_end_stream() {
        Body::Empty
    } else {
        Body::Stream(Box::new(Inbound { incoming, pace: Pace::of_body(rules) }))
    };
    let client = streams.client(&head);
    Ok(Request { head, body, client })
}

fn head(parts: &http::request::Parts) -> Result<Head, Fault> {
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = parts.headers.get(http::header::HOST).map(http::HeaderValue::as_bytes);
    let host = match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(Fault::client(400, "Host differs from the authority"));
        }
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return Err(Fault::client(400, "no authority")),
    };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let cookies = cookies(&parts.headers);
    let mut fields = vec![(b"host".as_slice(), host)];
    let others = parts.headers.iter().filter(|(name, _)| {
        !matches!(name.as_str(), "host" | "cookie" | "transfer-encoding" | "connection")
    });
    fields.extend(others.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())));
    if !cookies.is_empty() {
        fields.push((b"cookie", &cookies));
    }
    Ok(Head::from_parts(parts.method.as_str(), target.as_bytes(), &fields)?.with_version(2))
}

/// Cookies may come in several fields; HTTP/1 wants one (RFC 9113 8.2.3).
fn cookies(fields: &HeaderMap) -> Vec<u8> {
    let mut joined = Vec::new();
    for cookie in fields.get_all(http::header::COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(cookie.as_bytes());
    }
    joined
}

/// The body of a request.
struct Inbound {
    incoming: Incoming,
    pace: Pace,
}

impl Source for Inbound {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let frame = match Pin::new(&mut self.incoming).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    // Outside of a stream of ours there is no limit to keep.
                    let _ = STALL.try_with(|stall| self.pace.wait(stall));
                    return Poll::Pending;
                }
            };
            let _ = STALL.try_with(super::Watch::disarm);
            if let Some(Ok(frame)) = &frame {
                self.pace.gain(frame.data_ref().map_or(0, Bytes::len));
            }
            return Poll::Ready(match frame {
                None => None,
                Some(Err(error)) => {
                    tracing::debug!(%error, "a body of HTTP/2 was cut off");
                    Some(Err(BodyError::CutOff))
                }
                // Trailers are dropped, as in HTTP/1, and empty frames say nothing.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => Some(Ok(data)),
                    _ => continue,
                },
            });
        }
    }

    fn length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }
}
