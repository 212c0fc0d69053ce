//! May this request pass?

mod both;

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{Client, FieldBlock, Head, Response};

pub(crate) use both::Both;

/// Decides whether a request may pass to the target of a route.
///
/// It is asked before the body is read, and again, with [`Question::is_open`], while an upgraded
/// connection stands. It must not wait longer than its own deadline: the gateway sets none.
pub trait Guard: Send + Sync + std::fmt::Debug {
    fn check<'a>(
        &'a self,
        question: Question<'a>,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;
}

#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub head: &'a Head,
    pub client: &'a Client,
    /// True when the connection was upgraded before and the question is whether it may stay.
    pub is_open: bool,
}

#[derive(Debug)]
pub enum Verdict {
    Pass(Pass),
    /// This answer instead of the target's. For an open connection: close it.
    Refuse(Box<Response>),
    /// An error instead, which is shown as errors are shown there. For an open connection: close it.
    Deny(Box<Denial>),
    /// Begin again at finding the route, with this target in place of the one that was sent: the
    /// same thing spelled otherwise. Done once a request; never the answer for an open connection.
    Reroute(Bytes),
}

/// Why nobody passes, where the guard has no page of its own for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// 400 to 599. Of those from 500 on only the log is told why.
    pub status: u16,
    /// One sentence in lower case without a full stop.
    pub what: &'static str,
    /// Fields that the answer must have (a challenge, for example).
    pub fields: Vec<(&'static str, String)>,
    /// When it is worth to try again.
    pub retry_after: Option<Duration>,
}

impl Denial {
    pub fn new(status: u16, what: &'static str) -> Self {
        Self { status, what, fields: Vec::new(), retry_after: None }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Who is asking, as the guard found out; services are told.
    pub subject: Option<Arc<str>>,
    /// What upstreams are told, as [`Proven::fields`](crate::Proven::fields).
    pub proven: Vec<(String, String)>,
    /// Fields that are added to the answer (Set-Cookie of whoever was asked, for example).
    pub fields: FieldBlock,
    /// Ask again after this long while an upgraded connection is open; `None`: never.
    pub ask_again: Option<Duration>,
}
