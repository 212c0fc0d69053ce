//! Traces: which requests are followed, under which ids, and what was seen of them.
//!
//! Ids travel as W3C Trace Context says (<https://www.w3.org/TR/trace-context/>): a client's
//! `traceparent` is checked and carried on, with a span of ours as the parent of what follows.

mod context;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::mpsc;

use crate::{Client, Head};
use context::{Parent, random};
pub use context::{SpanId, TraceId};

/// Decides which requests are traced, and hands finished ones on.
#[derive(Debug)]
pub struct Tracer {
    sampling: Sampling,
    /// Of bounded length: what finds no room is counted and lost.
    finished: mpsc::Sender<Box<FinishedTrace>>,
    lost: AtomicU64,
}

/// Which requests are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Of requests that nobody decided about, from 0 to 1.
    pub ratio: f64,
    /// Whether the decision of a caller that sends `traceparent` counts. One that is not trusted can
    /// have less recorded, and no more than the ratio.
    pub follows_parent: bool,
}

/// The ids of one request, and when its parts happened.
pub struct Trace {
    pub trace_id: TraceId,
    /// The span of whoever called.
    pub parent: Option<SpanId>,
    /// The span of the request as a whole.
    pub span: SpanId,
    /// The span of what the request was handed on to.
    pub onward: SpanId,
    pub is_sampled: bool,
    /// Further flags of the caller, which travel on.
    flags: u8,
    wall: SystemTime,
    began: Instant,
    queued: Lapse,
    upstream: Lapse,
    address: OnceLock<Box<str>>,
}

/// A part of a request's time: nanoseconds since its beginning; 0 is never.
#[derive(Debug, Default)]
struct Lapse {
    from: AtomicU64,
    to: AtomicU64,
}

/// What was seen of a request, to be told elsewhere.
#[derive(Debug)]
pub struct FinishedTrace {
    pub trace: Arc<Trace>,
    pub method: Box<str>,
    /// Without the query, which may hold secrets.
    pub path: Box<str>,
    /// The name under which the route is counted.
    pub route: Box<str>,
    pub scheme: &'static str,
    pub host: Arc<str>,
    pub version: &'static str,
    pub client: Option<IpAddr>,
    pub agent: Option<Box<str>>,
    pub request_id: Arc<str>,
    pub status: u16,
    /// Bytes of the answer's body.
    pub sent: u64,
    pub ended: SystemTime,
}

impl Tracer {
    /// With room for so many finished traces that nobody has taken yet.
    pub fn new(sampling: Sampling, room: usize) -> (Arc<Self>, mpsc::Receiver<Box<FinishedTrace>>) {
        let (finished, taken) = mpsc::channel(room.max(1));
        (Arc::new(Self { sampling, finished, lost: AtomicU64::new(0) }), taken)
    }

    /// How many finished traces were lost since the start, for want of room.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// `is_trusted`: whoever sends this may decide that it is recorded.
    pub(crate) fn begin(&self, head: &Head, is_trusted: bool) -> Arc<Trace> {
        let parent = Parent::of(head);
        let (trace_id, flags) = match &parent {
            Some(parent) => (parent.trace_id, parent.flags),
            None => (TraceId(random()), context::RANDOM),
        };
        let is_sampled = match &parent {
            // A stranger chooses the id of its trace, so that is no lot to draw.
            Some(parent) if self.sampling.follows_parent => {
                parent.is_sampled()
                    && (is_trusted || TraceId(random()).is_within(self.sampling.ratio))
            }
            _ => trace_id.is_within(self.sampling.ratio),
        };
        Arc::new(Trace {
            trace_id,
            parent: parent.map(|parent| parent.span),
            span: SpanId(random()),
            onward: SpanId(random()),
            is_sampled,
            flags,
            wall: SystemTime::now(),
            began: Instant::now(),
            queued: Lapse::default(),
            upstream: Lapse::default(),
            address: OnceLock::new(),
        })
    }

    pub(crate) fn end(&self, finished: Box<FinishedTrace>) {
        if self.finished.try_send(finished).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Trace {
    pub fn began(&self) -> SystemTime {
        self.wall
    }

    /// From when to when the request waited for a free upstream, if it did.
    pub fn queued(&self) -> Option<(SystemTime, SystemTime)> {
        self.times(&self.queued)
    }

    /// From when to when an upstream had the request: to the head of its answer.
    pub fn upstream(&self) -> Option<(SystemTime, SystemTime)> {
        self.times(&self.upstream)
    }

    /// The upstream that had it last.
    pub fn address(&self) -> Option<&str> {
        self.address.get().map(|address| &**address)
    }

    pub(crate) fn begin_queued(&self) {
        self.queued.begin(self.began);
    }

    pub(crate) fn end_queued(&self) {
        self.queued.end(self.began);
    }

    pub(crate) fn begin_upstream(&self, address: impl fmt::Display) {
        if self.is_sampled {
            self.address.get_or_init(|| address.to_string().into());
        }
        self.upstream.begin(self.began);
    }

    pub(crate) fn end_upstream(&self) {
        self.upstream.end(self.began);
    }

    /// Calls `emit` with the value of `traceparent` for whoever gets the request next.
    pub(crate) fn onward(&self) -> String {
        let flags = (self.flags & context::RANDOM) | u8::from(self.is_sampled);
        format!("00-{}-{}-{flags:02x}", self.trace_id, self.onward)
    }

    fn times(&self, lapse: &Lapse) -> Option<(SystemTime, SystemTime)> {
        let (from, to) = (lapse.from.load(Ordering::Relaxed), lapse.to.load(Ordering::Relaxed));
        let at = |nanoseconds| self.wall + Duration::from_nanos(nanoseconds);
        (from > 0).then(|| (at(from), at(to.max(from))))
    }
}

impl Lapse {
    fn begin(&self, since: Instant) {
        // A second attempt continues the first.
        if self.from.load(Ordering::Relaxed) == 0 {
            self.from.store(nanoseconds(since), Ordering::Relaxed);
        }
    }

    fn end(&self, since: Instant) {
        self.to.store(nanoseconds(since), Ordering::Relaxed);
    }
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
}

impl FinishedTrace {
    pub(crate) fn new(
        trace: Arc<Trace>,
        (head, client): (&Head, &Client),
        route: Box<str>,
        (status, sent): (u16, u64),
    ) -> Box<Self> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
        let agent = head.get("user-agent").map(text);
        let client_address = client.address.map(|address| address.ip().to_canonical());
        Box::new(Self {
            ended: trace.wall + trace.began.elapsed(),
            trace,
            method: head.method().into(),
            path: text(head.path()),
            route,
            scheme: client.scheme.as_str(),
            host: client.host.clone(),
            version: head.version_text(),
            client: client_address,
            agent,
            request_id: client.request_id.clone(),
            status,
            sent,
        })
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("trace_id", &self.trace_id)
            .field("span", &self.span)
            .field("is_sampled", &self.is_sampled)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sampling: Sampling, parent: Option<&str>) -> Arc<Trace> {
        begin_of(sampling, parent, true)
    }

    fn begin_of(sampling: Sampling, parent: Option<&str>, is_trusted: bool) -> Arc<Trace> {
        let mut fields: Vec<(&[u8], &[u8])> = vec![(b"Host", b"a")];
        if let Some(parent) = parent {
            fields.push((b"traceparent", parent.as_bytes()));
        }
        let head = Head::from_parts("GET", b"/", &fields).unwrap();
        Tracer::new(sampling, 1).0.begin(&head, is_trusted)
    }

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_callers_trace_goes_on_under_a_span_of_ours() {
        let trace = begin(Sampling { ratio: 0.0, follows_parent: true }, Some(PARENT));
        assert!(trace.is_sampled);
        assert_eq!(trace.parent.unwrap().to_string(), "b7ad6b7169203331");
        let onward = trace.onward();
        assert!(onward.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{onward}");
        assert!(onward.ends_with("-01") && !onward.contains("b7ad6b7169203331"), "{onward}");
        assert!(onward.contains(&trace.onward.to_string()));
    }

    #[test]
    fn who_decides_what_is_sampled() {
        let check = |ratio, follows_parent, flags: Option<&str>, expected| {
            let parent = flags.map(|flags| format!("{}{flags}", &PARENT[..53]));
            let trace = begin(Sampling { ratio, follows_parent }, parent.as_deref());
            assert_eq!(trace.is_sampled, expected, "{ratio} {follows_parent} {flags:?}");
        };
        check(1.0, true, None, true);
        check(0.0, true, None, false);
        check(0.0, true, Some("01"), true);
        check(1.0, true, Some("00"), false);
        check(1.0, false, Some("00"), true);
        check(0.0, false, Some("01"), false);
    }

    #[test]
    fn strangers_cannot_have_more_recorded() {
        let check = |ratio, flags: &str, expected| {
            let sampling = Sampling { ratio, follows_parent: true };
            let parent = format!("{}{flags}", &PARENT[..53]);
            let trace = begin_of(sampling, Some(&parent), false);
            assert_eq!(trace.is_sampled, expected, "{ratio} {flags}");
            assert!(trace.onward().contains("0af7651916cd43dd8448eb211c80319c"));
        };
        check(0.0, "01", false);
        check(1.0, "01", true);
        check(1.0, "00", false);
    }

    #[test]
    fn a_ratio_is_about_kept() {
        let sampling = Sampling { ratio: 0.25, follows_parent: true };
        let kept = (0..4000).filter(|_| begin(sampling, None).is_sampled).count();
        assert!((700..1300).contains(&kept), "{kept}");
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (tracer, _taken) = Tracer::new(Sampling { ratio: 1.0, follows_parent: true }, 1);
        let head = Head::from_parts("GET", b"/a?token=hush", &[(b"Host", b"a")]).unwrap();
        let client = Client {
            address: None,
            scheme: crate::Scheme::Http,
            host: "a".into(),
            port: 0,
            peer: None,
            request_id: "1".into(),
            proven: None,
            trace: None,
        };
        let end = || {
            let trace = tracer.begin(&head, false);
            let finished = FinishedTrace::new(trace, (&head, &client), "site".into(), (200, 0));
            assert_eq!(&*finished.path, "/a");
            tracer.end(finished);
        };
        end();
        assert_eq!(tracer.lost(), 0);
        end();
        assert_eq!(tracer.lost(), 1);
    }
}
