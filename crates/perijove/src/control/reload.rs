//! A reload, or an upgrade, that somebody asked for: each step is told while it goes on.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use perijove_apps::Tell;
use perijove_gateway::{Body, BodyError, FieldBlock, Head, Response, Source};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Intent, error, json_answer};
use crate::failure::Failure;

/// What whoever asks for steps says that they take.
pub(crate) const LINES: &str = "application/x-ndjson";
/// Stands in the last line when another process is to be asked the same.
pub(super) const AGAIN: &str = "again";
/// What is told at the end of one that failed.
const STILL: &str = "the old version still serves";
/// Steps that may wait for a slow reader; further ones are left out.
const STEPS: usize = 64;

/// Why a new version does not serve, and the old one does.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The whole of it, in lines.
    pub(crate) text: String,
    /// In one line.
    pub(crate) what: String,
    /// What the application wrote last, or which mistakes there are.
    pub(crate) last_lines: Vec<String>,
}

impl Refusal {
    pub(crate) fn new(why: impl fmt::Display) -> Self {
        let text = why.to_string();
        let mut lines = text.lines().map(str::to_owned);
        let what = lines.next().unwrap_or_default();
        let last_lines = lines.collect();
        Self { text, what, last_lines }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            text: failure.text().trim_start_matches("error: ").to_owned(),
            what: failure.what(),
            last_lines: failure.quoted().to_vec(),
        }
    }
}

/// Whoever asked for it and wants to know what becomes of it.
#[derive(Debug)]
pub(crate) struct Asked(mpsc::Sender<News>);

#[derive(Debug)]
enum News {
    Step(String),
    End(Result<Value, Refusal>),
    /// Another process has taken over: it is to be asked.
    Elsewhere,
}

impl Asked {
    fn new() -> (Self, mpsc::Receiver<News>) {
        let (sender, news) = mpsc::channel(STEPS);
        (Self(sender), news)
    }

    /// Tells each step to who asked, if anybody did, and to the log.
    pub(crate) fn tell(asked: Option<&Self>) -> Tell {
        let sender = asked.map(|asked| asked.0.clone());
        Arc::new(move |step| {
            tracing::info!("reload: {step}");
            // One place is kept for the end.
            if let Some(sender) = sender.as_ref().filter(|sender| sender.capacity() > 1) {
                sender.try_send(News::Step(step.to_string())).ok();
            }
        })
    }

    /// Tells a step.
    pub(crate) fn step(&self, text: String) {
        // One place is kept for the end.
        if self.0.capacity() > 1 {
            self.0.try_send(News::Step(text)).ok();
        }
    }

    /// Leaves it to the process that has taken over.
    pub(crate) fn leave(self) {
        self.0.try_send(News::Elsewhere).ok();
    }

    /// Tells the end, and what is answered then. Whoever asked may have gone.
    pub(crate) fn end(self, result: Result<Value, Refusal>) {
        self.0.try_send(News::End(result)).ok();
    }
}

/// Makes a wish; the answer is its end, or, line by line, each step and the end. None when the
/// process that has taken over is to be asked.
pub(super) async fn answer(
    head: &Head,
    intents: &mpsc::Sender<Intent>,
    wish: impl FnOnce(Asked) -> Intent,
) -> Option<Response> {
    let (asked, mut news) = Asked::new();
    if intents.send(wish(asked)).await.is_err() {
        return Some(stopping());
    }
    if head.get("Accept") == Some(LINES.as_bytes()) {
        let mut fields = FieldBlock::new();
        fields.push("Content-Type", LINES);
        let body = Body::Stream(Box::new(Lines { news: Some(news) }));
        return Some(Response { status: 200, fields, body });
    }
    loop {
        match news.recv().await {
            Some(News::Step(_)) => {}
            Some(News::End(Ok(done))) => return Some(json_answer(200, &done)),
            Some(News::End(Err(refusal))) => return Some(error(422, &refusal.text, STILL)),
            Some(News::Elsewhere) => return None,
            None => return Some(stopping()),
        }
    }
}

fn stopping() -> Response {
    error(503, "the program is stopping", "try again when it runs")
}

/// The news as lines of JSON.
struct Lines {
    /// Taken with the end.
    news: Option<mpsc::Receiver<News>>,
}

impl Source for Lines {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(news) = &mut self.news else { return Poll::Ready(None) };
        let line = match std::task::ready!(news.poll_recv(context)) {
            Some(News::Step(text)) => json!({ "step": text }),
            Some(News::End(result)) => {
                self.news = None;
                match result {
                    Ok(done) => done,
                    Err(refusal) => {
                        json!({ "status": 422, "error": refusal.text, "hint": STILL })
                    }
                }
            }
            Some(News::Elsewhere) => {
                self.news = None;
                let what = "another process has taken over meanwhile";
                json!({ "status": 503, "error": what, "hint": "ask again", AGAIN: true })
            }
            None => {
                self.news = None;
                let what = "the program is stopping";
                json!({ "status": 503, "error": what, "hint": "try again when it runs" })
            }
        };
        Poll::Ready(Some(Ok(format!("{line}\n").into())))
    }
}
