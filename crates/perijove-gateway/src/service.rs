//! Answers made in this process.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;

use crate::{Client, Head, Response};

/// Makes answers in this process: pages, an API.
pub trait Service: Send + Sync + std::fmt::Debug {
    fn call(&self, request: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>>;
}

/// A request whose body was read whole, at most the route's limit or 1 MiB, whichever is less.
#[derive(Clone, Debug)]
pub struct ServiceRequest {
    pub head: Head,
    pub body: Bytes,
    pub client: Client,
    /// Who is asking, as the route's guard found out.
    pub subject: Option<Arc<str>>,
}
