//! The site as the gateway reaches it, asked who a request belongs to.

use std::sync::Arc;

use bytes::Bytes;
use perijove_gateway::{Body, Client, Head, Upstreams, ask};

use crate::{
    authority::{Answer, PATIENCE, Site},
    spawn::Pending,
};

/// Puts questions to the site's own upstreams.
#[derive(Debug)]
pub(crate) struct Asked {
    upstreams: Arc<Upstreams>,
}

impl Asked {
    pub(crate) fn new(upstreams: Arc<Upstreams>) -> Self {
        Self { upstreams }
    }
}

impl Site for Asked {
    fn ask<'a>(&'a self, question: Head, client: &'a Client) -> Pending<'a, Option<Answer>> {
        Box::pin(async move {
            let answer = ask(&self.upstreams, question, client, PATIENCE).await?;
            let body = match answer.body {
                Body::Full(body) => body,
                // Answers to questions are read whole: there is no other kind.
                _ => Bytes::new(),
            };
            Some(Answer { status: answer.status, fields: answer.fields, body })
        })
    }
}
