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
use tokio_util::task::TaskTracker;

use crate::config::plan::TracesPlan;

/// Starts the task that sends; it ends when the tracer is gone, after it has sent the rest.
pub(super) fn start(plan: &TracesPlan, tracker: &TaskTracker) -> Arc<Tracer> {
    let (tracer, finished) = Tracer::new(plan.sampling, plan.room);
    tracker.spawn(Sender { plan: plan.clone(), is_failing: false }.run(finished));
    tracer
}

struct Sender {
    plan: TracesPlan,
    /// The collector did not take the last batch, which was told.
    is_failing: bool,
}

impl Sender {
    async fn run(mut self, mut finished: mpsc::Receiver<Box<FinishedTrace>>) {
        let mut batch = Vec::new();
        while let Some(first) = finished.recv().await {
            batch.push(first);
            let due = Instant::now() + self.plan.pause;
            while batch.len() < self.plan.batch {
                match tokio::time::timeout_at(due, finished.recv()).await {
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
