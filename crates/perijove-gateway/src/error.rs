//! Why a request is answered with an error, and the answer.

mod pages;

use std::{borrow::Cow, error::Error, fmt, time::Duration};

use crate::{BodyError, Denial, ExtraFields, HeadError};

pub(crate) use pages::{Page, Pages, read_page, wants_json};

/// Whose fault it is: decides what is told to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The client is told what is wrong; the log is not.
    Client,
    /// The log is told, the client only that the site behind does not answer.
    Upstream,
    /// The log is told, the client only that it is not their fault.
    Ours,
}

/// What faults are counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The client's.
    Client,
    /// No connection could be made.
    UpstreamUnreachable,
    /// The upstream ended before it had answered.
    UpstreamLost,
    /// Its answer makes no sense, or it gave the request up.
    UpstreamBroken,
    /// It did not answer in time.
    UpstreamLate,
    /// As many wait for an upstream as may.
    LineFull,
    /// None became free in time.
    LineLate,
    /// Something else cannot be served now.
    Unavailable,
    /// A fault of ours.
    Ours,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Client,
        Self::UpstreamUnreachable,
        Self::UpstreamLost,
        Self::UpstreamBroken,
        Self::UpstreamLate,
        Self::LineFull,
        Self::LineLate,
        Self::Unavailable,
        Self::Ours,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::UpstreamUnreachable => "upstream-unreachable",
            Self::UpstreamLost => "upstream-lost",
            Self::UpstreamBroken => "upstream-broken",
            Self::UpstreamLate => "upstream-late",
            Self::LineFull => "line-full",
            Self::LineLate => "line-late",
            Self::Unavailable => "unavailable",
            Self::Ours => "ours",
        }
    }
}

/// Why a request is answered with an error.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) whose: Whose,
    /// 400 to 599.
    pub(crate) status: u16,
    /// One sentence in lower case without a full stop; shown to the client when it is its fault.
    pub(crate) what: Cow<'static, str>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) source: Option<Box<dyn Error + Send + Sync>>,
    /// What kind it is, where the status does not tell.
    pub(crate) is: Option<Kind>,
    /// The connection cannot carry another request after this.
    pub(crate) closes: bool,
    /// Fields that the answer must have, whatever is shown.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// What the route shows instead.
    pub(crate) dress: Option<Box<Dress>>,
}

/// What a route shows instead of an error's own page.
#[derive(Debug)]
pub(crate) struct Dress {
    pub(crate) fields: ExtraFields,
    pub(crate) page: Option<Page>,
}

impl Fault {
    pub(crate) fn client(status: u16, what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Whose::Client, status, what.into())
    }

    pub(crate) fn upstream(status: u16, what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Whose::Upstream, status, what.into())
    }

    pub(crate) fn ours(status: u16, what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Whose::Ours, status, what.into())
    }

    fn new(whose: Whose, status: u16, what: Cow<'static, str>) -> Self {
        let (retry_after, source) = (None, None);
        let (is, closes, fields, dress) = (None, false, Vec::new(), None);
        Self { whose, status, what, retry_after, source, is, closes, fields, dress }
    }

    /// The cause, for the log only.
    pub(crate) fn because(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// For 503: when it is worth to try again.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// What kind it is counted as.
    pub(crate) fn of_kind(mut self, kind: Kind) -> Self {
        self.is = Some(kind);
        self
    }

    /// What it is counted as.
    pub(crate) fn kind(&self) -> Kind {
        self.is.unwrap_or(match (self.whose, self.status) {
            (Whose::Client, _) => Kind::Client,
            (Whose::Upstream, 504) => Kind::UpstreamLate,
            (Whose::Upstream, _) => Kind::UpstreamBroken,
            (Whose::Ours, 503) => Kind::Unavailable,
            (Whose::Ours, _) => Kind::Ours,
        })
    }

    pub(crate) fn dressed(mut self, fields: ExtraFields, page: Option<Page>) -> Self {
        self.dress = Some(Box::new(Dress { fields, page }));
        self
    }

    pub(crate) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }
}

impl Fault {
    /// Tells the log what the client is not told.
    pub(crate) fn log(&self, request_id: &str) {
        let (what, status) = (&self.what, self.status);
        let cause = chain(self.source.as_deref().map(|source| source as &(dyn Error + 'static)));
        match self.whose {
            Whose::Client => tracing::debug!(request_id, status, cause, "{what}"),
            Whose::Upstream => tracing::warn!(request_id, status, cause, "{what}"),
            Whose::Ours => tracing::error!(request_id, status, cause, "{what}"),
        }
    }
}

/// The causes, nearest first.
fn chain(mut source: Option<&(dyn Error + 'static)>) -> String {
    let mut text = String::new();
    while let Some(error) = source {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// A request's body that could not be read to its end.
impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        let status = match &error {
            BodyError::TooLong { .. } => 413,
            BodyError::Late => 408,
            BodyError::Malformed { .. } | BodyError::CutOff | BodyError::Io(_) => 400,
        };
        Self::client(status, error.to_string()).because(error).closing()
    }
}

/// Somebody was not let pass.
impl From<Denial> for Fault {
    fn from(denial: Denial) -> Self {
        let Denial { status, what, fields, retry_after } = denial;
        let fault =
            if status < 500 { Self::client(status, what) } else { Self::ours(status, what) };
        Self { retry_after, fields, ..fault }
    }
}

/// A head that was refused; what follows it in the connection cannot be understood.
impl From<HeadError> for Fault {
    fn from(error: HeadError) -> Self {
        let status = match error {
            HeadError::TooLarge => 431,
            HeadError::Malformed(_) => 400,
        };
        Self::client(status, error.to_string()).closing()
    }
}
