//! HTTP/2, by hyper: each stream becomes a request as HTTP/1 knows it.

mod answer;
mod io;
mod requests;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use hyper::{body::Incoming, rt::Executor, server::conn::http2::Builder, service::Service};

use crate::{
    Client, Head, Response,
    error::Fault,
    forwarded::Peer,
    meter::Spoken,
    request::{self, Answer, Handling},
    watch::{self, Watch},
};

use super::{Door, http1::Connection};
use answer::Outbound;
use io::Rewound;

/// Requests of one connection at the same time.
const STREAMS: u32 = 128;
/// Streams that a client reset before they were looked at (RFC 9113 10.5: rapid reset).
const PENDING_RESETS: usize = 20;
/// Bytes of an answer that wait for one stream's client.
const SEND_BUFFER: usize = 64 << 10;
/// How long a client may take to acknowledge the end of an idle connection.
const FAREWELL: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// The time limit of the stream that is being polled.
    static STALL: Watch;
}

/// What the streams of one connection share.
#[derive(Debug)]
struct Streams {
    door: Arc<Door>,
    /// Locked for as long as a client is made of a head.
    peer: Mutex<Peer>,
    /// The peer is.
    is_trusted: bool,
    watch: Watch,
    active: AtomicUsize,
}

impl Streams {
    fn client(&self, head: &Head) -> Client {
        let mut peer = self.peer.lock().unwrap_or_else(PoisonError::into_inner);
        peer.client(head, &self.door.rules.trusted_proxies)
    }
}

/// Serves a connection to its end. The time for the preface and the first head runs already.
pub(super) async fn serve(connection: Connection) {
    let Connection { stream, buffer, watch, door, peer, .. } = connection;
    let _open = door.open(Spoken::Http2);
    let head = door.rules.head;
    let active = AtomicUsize::new(0);
    let is_trusted = peer.is_trusted;
    let streams = Arc::new(Streams { door, peer: Mutex::new(peer), is_trusted, watch, active });
    let limit = u32::try_from(head.bytes).unwrap_or(u32::MAX);
    let mut served = pin!(
        Builder::new(Spawn)
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_header_list_size(limit)
            .max_send_buf_size(SEND_BUFFER)
            .auto_date_header(false)
            .serve_connection(Rewound::new(stream, buffer), Requests(streams.clone()))
    );
    let mut is_leaving = false;
    poll_fn(|context| {
        loop {
            if let Poll::Ready(ended) = served.as_mut().poll(context) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection of HTTP/2 ended");
                }
                return Poll::Ready(());
            }
            let is_late = streams.watch.poll_late(context).is_ready();
            if is_leaving {
                // Streams under way have their own limits; the drain time is the thread's.
                let is_idle = streams.active.load(Ordering::Relaxed) == 0;
                return if is_late && is_idle { Poll::Ready(()) } else { Poll::Pending };
            }
            if !is_late && !watch::is_draining() && !streams.door.is_left() {
                return Poll::Pending;
            }
            is_leaving = true;
            streams.watch.arm(FAREWELL);
            served.as_mut().graceful_shutdown();
        }
    })
    .await;
}

/// A stream that is open.
#[derive(Debug)]
struct Active(Arc<Streams>);

impl Active {
    fn begin(streams: &Arc<Streams>) -> Self {
        if streams.active.fetch_add(1, Ordering::Relaxed) == 0 {
            streams.watch.disarm();
        }
        Self(streams.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let Streams { active, watch, door, .. } = &*self.0;
        if active.fetch_sub(1, Ordering::Relaxed) == 1 {
            let time = if watch::is_draining() { FAREWELL } else { door.rules.idle_time };
            watch.idle(time);
        }
    }
}

/// Takes requests of a connection.
struct Requests(Arc<Streams>);

impl Service<http::Request<Incoming>> for Requests {
    type Response = http::Response<Outbound>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let active = Active::begin(&self.0);
        Box::pin(async move { Ok(exchange(active, request).await) })
    }
}

async fn exchange(active: Active, request: http::Request<Incoming>) -> http::Response<Outbound> {
    let door = active.0.door.clone();
    let is_head = request.method() == http::Method::HEAD;
    let mut request = match requests::read(&active.0, request) {
        Ok(request) => request,
        Err(fault) => {
            let head = Head::unread();
            let mut client = active.0.client(&head);
            let note = door.note(&head, &mut client, false);
            let answer = door.refuse(&fault, None, &client.request_id);
            return answer::begin(answer, is_head, active, note);
        }
    };
    let (head, request_id) = (request.head.clone(), request.client.request_id.clone());
    let mut note = door.note(&head, &mut request.client, active.0.is_trusted);
    let made = match request::handle(&door, request, &mut note) {
        Handling::Ready(made) => made,
        Handling::Waiting(work) => work.await,
    };
    let answer: Result<Response, Fault> = match made {
        Ok(Answer::Response(answer)) => Ok(answer),
        Ok(Answer::Upgrade(_)) => Err(Fault::ours(500, "an upgrade over HTTP/2")),
        Err(fault) => Err(fault),
    };
    let answer = answer.unwrap_or_else(|fault| door.refuse(&fault, Some(&head), &request_id));
    note.answer();
    answer::begin(answer, is_head, active, note)
}

/// Runs streams on this thread, and ends those whose clients neither send nor take.
#[derive(Clone, Copy, Debug)]
struct Spawn;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Spawn {
    fn execute(&self, stream: F) {
        let limited = async move {
            let mut stream = pin!(stream);
            poll_fn(|context| match stream.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => STALL.with(|watch| watch.poll_late(context)),
            })
            .await;
        };
        tokio::spawn(STALL.scope(Watch::new(), limited));
    }
}
