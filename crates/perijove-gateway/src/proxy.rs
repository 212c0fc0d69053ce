//! Forwards requests to upstreams: choose one, rewrite fields, retry what is safe, join upgrades.

mod ask;
mod dial;
mod frames;
mod frames_client;
mod headers;
mod http1;
mod pool;
mod retry;
#[cfg(test)]
mod tests;
mod upgrade;
mod upload;
mod upstreams;
mod wire;

use std::{sync::Arc, time::Duration};

pub use ask::ask;
pub(crate) use upgrade::Farewell;
pub use upgrade::Tunnel;
pub use upstreams::{Protocol, Upstream, UpstreamAddress, UpstreamId, UpstreamSettings, Upstreams};

use crate::{
    Client, Confinement, CookieNames, Head, Request, Response, Rewrite, Route, error::Fault,
};

use headers::{AnswerFields, Onward};
use retry::{Failure, Retries};
use upgrade::Handshake;
use upload::Upload;
use upstreams::Unavailable;

/// Sends a request to one of the upstreams and returns its answer, the body still to come.
///
/// The request's body is limited by the caller.
pub(crate) async fn forward(
    upstreams: &Arc<Upstreams>,
    request: Request,
    route: &Arc<Route>,
) -> Result<Response, Fault> {
    let upload = Upload::new(request.body);
    let has_body = upload.length() != Some(0);
    let mut errand = Errand {
        handshake: Handshake::of(&request.head, has_body, &route.upgrades),
        upload,
        head: request.head,
        client: request.client,
        rewrite: &route.rewrite,
        confinement: route.confinement.as_deref(),
        cookies: upstreams.cookie_names(),
        response_time: route.limits.response_time,
        is_question: false,
    };
    send(upstreams, &mut errand).await
}

/// A request on its way, with the rules of its route.
struct Errand<'a> {
    head: Head,
    client: Client,
    upload: Upload,
    /// Of a request that asks to be joined to the upstream.
    handshake: Option<Handshake>,
    rewrite: &'a Rewrite,
    confinement: Option<&'a Confinement>,
    cookies: &'a CookieNames,
    response_time: Duration,
    /// Whether it is a question of our own.
    is_question: bool,
}

impl Errand<'_> {
    fn onward(&self) -> Onward<'_> {
        Onward {
            head: &self.head,
            client: &self.client,
            rewrite: self.rewrite,
            confinement: self.confinement,
            is_question: self.is_question,
        }
    }

    fn answer_fields(&self) -> AnswerFields<'_> {
        AnswerFields {
            confinement: self.confinement,
            cookies: self.cookies,
            is_question: self.is_question,
            is_head: self.head.method() == "HEAD",
        }
    }
}

/// Takes an upstream, sends, and begins again with another one where that is safe.
async fn send(upstreams: &Arc<Upstreams>, errand: &mut Errand<'_>) -> Result<Response, Fault> {
    let mut retries = Retries::new(upstreams);
    let mut slot = upstreams.take().await.map_err(unavailable)?;
    loop {
        let is_native = matches!(slot.member().upstream().protocol, Protocol::Frames { .. });
        let result = if is_native {
            frames_client::exchange(errand, slot).await
        } else {
            Box::pin(http1::exchange(errand, slot)).await
        };
        slot = match result {
            Ok(response) => return Ok(response),
            Err(Failure::Final(fault)) => return Err(fault),
            Err(Failure::Recalled(elsewhere)) => elsewhere,
            Err(Failure::NotSent(fault)) if is_native => {
                retries.pause().await.ok_or(fault)?;
                upstreams.take().await.map_err(unavailable)?
            }
            Err(Failure::NotSent(fault)) => {
                retries.another().ok_or(fault)?;
                upstreams.take().await.map_err(unavailable)?
            }
        };
    }
}

fn unavailable(reason: Unavailable) -> Fault {
    match reason {
        Unavailable::LineFull => {
            Fault::ours(503, "too many requests wait for a free upstream").retry_after(SOON * 2)
        }
        Unavailable::Late => Fault::ours(503, "no upstream became free in time").retry_after(SOON),
    }
}

/// When it is worth to try again after the line was too long.
const SOON: Duration = Duration::from_secs(5);
