//! Forwards requests to upstreams: choose one, rewrite fields, retry what is safe, join upgrades.

mod ask;
mod conduit;
mod dial;
mod frames;
mod frames_client;
mod headers;
mod http1;
mod pool;
mod retry;
mod secure;
#[cfg(test)]
mod tests;
mod upgrade;
mod upload;
mod upstreams;
mod wire;

use std::time::Duration;

pub use ask::ask;
pub(crate) use upgrade::Farewell;
pub use upgrade::Tunnel;
pub use upstreams::{
    Health, Protocol, Upstream, UpstreamAddress, UpstreamId, UpstreamSettings, Upstreams, Work,
};

use crate::{
    Client, Confinement, CookieNames, Head, HostSent, Request, Response, Rewrite, Route, Trace,
    error::{Fault, Kind},
};

use headers::{AnswerFields, HostName, Onward, asks_for_trailers};
use retry::{Failure, Retries};
use upgrade::Handshake;
use upload::Upload;
use upstreams::{Slot, Unavailable};

/// Sends a request to one of the upstreams and returns its answer, the body still to come.
///
/// The request's body is limited by the caller.
pub(crate) fn forward<'a>(
    upstreams: &'a Upstreams,
    request: Request,
    route: &'a Route,
) -> impl Future<Output = Result<Response, Fault>> + Send + use<'a> {
    let Request { head, client, body } = request;
    let upload = Upload::new(body);
    let has_body = upload.length() != Some(0);
    let handshake = Handshake::of(&head, has_body, &route.upgrades);
    let (cookies, rules) = (upstreams.cookie_names(), Rules::Route(route));
    send(upstreams, Errand { head, client, upload, handshake, cookies, rules })
}

/// A request on its way.
struct Errand<'a> {
    head: Head,
    client: Client,
    upload: Upload,
    /// Of a request that asks to be joined to the upstream.
    handshake: Option<Box<Handshake>>,
    /// Of the upstreams.
    cookies: &'a CookieNames,
    rules: Rules<'a>,
}

/// What applies to a request.
#[derive(Clone, Copy)]
enum Rules<'a> {
    Route(&'a Route),
    /// It is a question of our own, to be answered within this time.
    Question(Duration),
}

impl Errand<'_> {
    /// How long an upstream may be silent.
    fn response_time(&self) -> Duration {
        match self.rules {
            Rules::Route(route) => route.limits.response_time,
            Rules::Question(time) => time,
        }
    }

    /// What is seen of a client's request; questions of our own are no part of it.
    fn trace(&self) -> Option<&Trace> {
        match self.rules {
            Rules::Route(_) => self.client.trace.as_deref(),
            Rules::Question(_) => None,
        }
    }

    fn confinement(&self) -> Option<&Confinement> {
        match self.rules {
            Rules::Route(route) => route.confinement.as_deref(),
            Rules::Question(_) => None,
        }
    }

    /// What an upstream is told in Host.
    fn host_at<'a>(&'a self, upstream: &'a Upstream) -> HostName<'a> {
        match self.rules {
            Rules::Route(Route { rewrite: Rewrite { host: HostSent::Upstream, .. }, .. }) => {
                HostName::Is(upstream.host())
            }
            _ => HostName::AsReceived,
        }
    }

    /// Whether fields behind the body of an answer may reach the client: those of a target that is
    /// confined are not looked at, and so they may not.
    fn may_have_trailers(&self) -> bool {
        matches!(self.rules, Rules::Route(_)) && self.confinement().is_none()
    }

    /// Whether they do.
    fn takes_trailers(&self) -> bool {
        self.may_have_trailers() && self.head.get_all("te").any(asks_for_trailers)
    }

    fn onward(&self) -> Onward<'_> {
        Onward {
            head: &self.head,
            client: &self.client,
            rewrite: match self.rules {
                Rules::Route(route) => Some(&route.rewrite),
                Rules::Question(_) => None,
            },
            confinement: self.confinement(),
            is_question: matches!(self.rules, Rules::Question(_)),
        }
    }

    fn answer_fields(&self) -> AnswerFields<'_> {
        AnswerFields {
            confinement: self.confinement(),
            cookies: self.cookies,
            is_question: matches!(self.rules, Rules::Question(_)),
            is_head: self.head.method() == "HEAD",
        }
    }
}

/// Takes an upstream, sends, and begins again with another one where that is safe.
///
/// What is rare is boxed: this is part of every request that is forwarded, and a smaller future is
/// a quicker one.
#[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
fn send<'a>(
    upstreams: &'a Upstreams,
    mut errand: Errand<'a>,
) -> impl Future<Output = Result<Response, Fault>> + Send + use<'a> {
    async move {
        let mut retries = None;
        let mut slot = match upstreams.take_now() {
            Some(slot) => slot,
            None => Box::pin(waited(upstreams, errand.trace())).await?,
        };
        loop {
            if let Some(trace) = errand.trace() {
                trace.begin_upstream(&slot.member().upstream().address);
            }
            let is_native = matches!(slot.member().upstream().protocol, Protocol::Frames { .. });
            let is_replaced = slot.member().upstream().is_replaced;
            let handshake = errand.handshake.as_deref();
            let is_websocket = handshake
                .is_some_and(|asked| frames_client::websocket::takes(slot.member(), asked));
            let result = if is_websocket {
                Box::pin(frames_client::websocket::open(&mut errand, slot)).await
            } else if is_native {
                frames_client::exchange(&mut errand, slot).await
            } else {
                Box::pin(http1::exchange(&mut errand, slot)).await
            };
            if let Some(trace) = errand.trace() {
                trace.end_upstream();
            }
            slot = match result {
                Ok(response) => return Ok(response),
                Err(Failure::Final(fault)) => return Err(*fault),
                Err(Failure::Recalled(elsewhere)) => elsewhere,
                Err(Failure::NotSent(fault)) => {
                    let retries = retries.get_or_insert_with(|| Retries::new(upstreams));
                    Box::pin(again(upstreams, retries, *fault, is_replaced)).await?
                }
            };
        }
    }
}

/// A place for a request that has to wait for one.
async fn waited(upstreams: &Upstreams, trace: Option<&Trace>) -> Result<Slot, Fault> {
    if let Some(trace) = trace {
        trace.begin_queued();
    }
    let taken = upstreams.take().await;
    if let Some(trace) = trace {
        trace.end_queued();
    }
    taken.map_err(unavailable)
}

/// Another place for a request that was not sent because of `fault`.
async fn again(
    upstreams: &Upstreams,
    retries: &mut Retries<'_>,
    fault: Fault,
    is_replaced: bool,
) -> Result<Slot, Fault> {
    if is_replaced {
        // The worker is being replaced: the request waits like those in line, and as long.
        retries.pause().await.ok_or_else(|| unavailable(Unavailable::Late))?;
    } else {
        retries.another().ok_or(fault)?;
    }
    upstreams.take().await.map_err(unavailable)
}

fn unavailable(reason: Unavailable) -> Fault {
    match reason {
        Unavailable::LineFull => Fault::ours(503, "too many requests wait for a free upstream")
            .retry_after(SOON * 2)
            .of_kind(Kind::LineFull),
        Unavailable::Late => Fault::ours(503, "no upstream became free in time")
            .retry_after(SOON)
            .of_kind(Kind::LineLate),
    }
}

/// When it is worth to try again after the line was too long.
const SOON: Duration = Duration::from_secs(5);
