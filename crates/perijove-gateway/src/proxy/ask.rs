//! Questions of our own to the upstreams of a route, for guards that decide by what they say.

use std::{sync::Arc, time::Duration};

use super::{Errand, Rules, Upload, Upstreams, send};
use crate::{Body, Client, Head, Response, body, error::Fault};

/// A longer answer is none.
const LONGEST: u64 = 1 << 20;

/// Sends a question without a body and waits for the whole answer, at most `within`. Unlike a
/// client's, its `Perijove-…` fields reach the upstream, and those of the answer come back.
///
/// `None` when there is no answer: nobody could be reached, or it broke on the way, came too late
/// or was longer than a mebibyte. The log is told which.
pub async fn ask(
    upstreams: &Arc<Upstreams>,
    head: Head,
    client: &Client,
    within: Duration,
) -> Option<Response> {
    let request_id = &*client.request_id;
    match tokio::time::timeout(within, answer(upstreams, head, client, within)).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(fault)) => {
            let source = fault.source.as_deref().map(tracing::field::display);
            tracing::warn!(request_id, what = %fault, source, "a question had no answer");
            None
        }
        Err(_) => {
            tracing::warn!(request_id, ?within, "a question was not answered in time");
            None
        }
    }
}

async fn answer(
    upstreams: &Arc<Upstreams>,
    head: Head,
    client: &Client,
    within: Duration,
) -> Result<Response, Fault> {
    let errand = Errand {
        head,
        client: client.clone(),
        upload: Upload::new(Body::Empty),
        handshake: None,
        cookies: upstreams.cookie_names(),
        rules: Rules::Question(within),
    };
    let mut answer = send(upstreams, errand).await?;
    let whole = body::whole(std::mem::take(&mut answer.body), LONGEST).await;
    let broken = |error| Fault::upstream(502, "the answer to a question broke off").because(error);
    answer.body = Body::Full(whole.map_err(broken)?);
    Ok(answer)
}
