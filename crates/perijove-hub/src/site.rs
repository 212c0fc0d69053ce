//! The site as the gateway reaches it, asked who a request belongs to.

use std::sync::Arc;

use perijove_gateway::{Client, Head, Upstreams};

use crate::{
    authority::{Answer, Site},
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
            drop((question, client, &self.upstreams));
            None
        })
    }
}
