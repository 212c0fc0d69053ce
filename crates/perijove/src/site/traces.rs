//! Sends finished traces to a collector, by OTLP over HTTP with JSON
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
//!
//! The gateway's threads hand traces over without waiting; a task of the main thread sends them in
//! batches. What finds no room, or no collector, is counted and lost: requests never wait.

mod collector;
mod json;

use std::sync::Arc;

use perijove_gateway::{FinishedTrace, Tracer};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::config::plan::TracesPlan;

/// Starts the task that sends; told to stop, it sends the rest and ends.
pub(super) fn start(
    plan: &TracesPlan,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Arc<Tracer> {
    let (tracer, finished) = Tracer::new(plan.sampling, plan.room);
    let sender = Sender { plan: plan.clone(), is_failing: false };
    tracker.spawn(sender.run(Finished { traces: finished, stop: stop.clone() }));
    tracer
}

/// The traces that the gateway's threads hand over.
struct Finished {
    traces: mpsc::Receiver<Box<FinishedTrace>>,
    stop: CancellationToken,
}

impl Finished {
    /// The next one; `None` when there are no more, and none will come.
    async fn next(&mut self) -> Option<Box<FinishedTrace>> {
        if !self.traces.is_closed() {
            tokio::select! {
                biased;
                next = self.traces.recv() => return next,
                () = self.stop.cancelled() => self.traces.close(),
            }
        }
        self.traces.recv().await
    }
}

struct Sender {
    plan: TracesPlan,
    /// The collector did not take the last batch, which was told.
    is_failing: bool,
}

impl Sender {
    async fn run(mut self, mut finished: Finished) {
        let mut batch = Vec::new();
        while let Some(first) = finished.next().await {
            batch.push(first);
            let due = Instant::now() + self.plan.pause;
            while batch.len() < self.plan.batch {
                match tokio::time::timeout_at(due, finished.next()).await {
                    Ok(Some(next)) => batch.push(next),
                    Ok(None) | Err(_) => break,
                }
            }
            self.send(&batch).await;
            batch.clear();
        }
    }

    async fn send(&mut self, batch: &[Box<FinishedTrace>]) {
        let body = json::export(&self.plan, batch);
        let sent = collector::post(&self.plan, &body).await;
        match &sent {
            Ok(()) if self.is_failing => tracing::info!("the collector takes traces again"),
            Ok(()) => {}
            Err(error) if !self.is_failing => {
                let (collector, traces) = (&self.plan.authority, batch.len());
                tracing::warn!(collector, traces, "traces were lost: {error}");
            }
            Err(error) => tracing::debug!(traces = batch.len(), "traces were lost: {error}"),
        }
        self.is_failing = sent.is_err();
    }
}
