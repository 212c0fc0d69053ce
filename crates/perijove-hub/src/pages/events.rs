//! How a start goes on, as server-sent events.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use perijove_gateway::{Body, BodyError, FieldBlock, Response, Source};
use tokio::sync::mpsc;

use crate::{core::Core, notebook::Notebook, phase::Phase, server::View};

/// A sign of life, so that nobody on the way takes the silence for an end.
const SIGN: Duration = Duration::from_secs(15);
/// The longest stream; a page that is still there asks again.
const LONGEST: Duration = Duration::from_secs(600);

/// Tells each state of a server until it is ready or has come to an end.
pub(super) fn answer(core: &Arc<Core>, notebook: &Notebook) -> Response {
    let (core_, notebook) = (core.clone(), notebook.clone());
    stream(core, move |sender| async move { tell(&core_, &notebook, &sender).await })
}

/// An answer that goes on for as long as `tell` has something to say and somebody listens.
pub(super) fn stream<F: Future<Output = ()> + Send + 'static>(
    core: &Arc<Core>,
    tell: impl FnOnce(mpsc::Sender<Bytes>) -> F,
) -> Response {
    let (sender, receiver) = mpsc::channel(4);
    let stop = core.stop.clone();
    let told = tokio::time::timeout(LONGEST, tell(sender));
    core.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            _ = told => {}
        }
    });
    let mut fields = FieldBlock::new();
    fields.push("Content-Type", "text/event-stream");
    fields.push("Cache-Control", "no-store");
    // Proxies in front must not hold back what is small.
    fields.push("X-Accel-Buffering", "no");
    Response { status: 200, fields, body: Body::Stream(Box::new(Events(receiver))) }
}

/// Ends when there is nothing more to tell, or nobody listens.
async fn tell(core: &Core, notebook: &Notebook, sender: &mpsc::Sender<Bytes>) {
    let Some(server) = core.server(notebook) else {
        sender.send(event(Phase::Absent, "")).await.ok();
        return;
    };
    let mut views = server.follow();
    loop {
        let (phase, url) = {
            let view: &View = &views.borrow_and_update();
            (view.phase, view.url.clone())
        };
        if sender.send(event(phase, &url)).await.is_err() {
            return;
        }
        if !matches!(phase, Phase::Starting | Phase::Stopping) {
            return;
        }
        if !changed(&mut views, sender).await {
            return;
        }
    }
}

/// Waits for the next view; false when there will be none, or nobody listens.
async fn changed(
    views: &mut tokio::sync::watch::Receiver<View>,
    sender: &mpsc::Sender<Bytes>,
) -> bool {
    loop {
        match tokio::time::timeout(SIGN, views.changed()).await {
            Ok(changed) => return changed.is_ok(),
            Err(_) if sender.send(Bytes::from_static(b":\n\n")).await.is_err() => return false,
            Err(_) => {}
        }
    }
}

fn event(phase: Phase, url: &str) -> Bytes {
    let data = serde_json::json!({"state": phase.as_str(), "url": url});
    format!("event: state\ndata: {data}\n\n").into()
}

/// The stream of events as a body.
struct Events(mpsc::Receiver<Bytes>);

impl Source for Events {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}
