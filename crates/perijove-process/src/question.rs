//! Questions to a child that reads its open input: a line there, the answer among what it prints.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{sync::mpsc, time::timeout};

use crate::Output;

/// Asks one child. It keeps nobody alive.
#[derive(Clone, Debug)]
pub struct Asker {
    pub(crate) input: mpsc::Sender<Vec<u8>>,
    pub(crate) output: Output,
}

impl Asker {
    /// Sends one line, the word and a number, and waits for the answer: lines that begin with that line
    /// between 0x1e and 0x1f, the last of them with 0x04 alone. `None` when it is not there in time.
    pub async fn ask(&self, word: &str, within: Duration) -> Option<Vec<String>> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let question = format!("{word}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let answer = self.output.answer(question.clone());
        self.input.try_send(format!("{question}\n").into_bytes()).ok()?;
        timeout(within, answer).await.ok()?.ok()
    }
}
