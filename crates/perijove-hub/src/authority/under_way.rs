//! Equal questions that are under way are put once: the first asks, the others wait with it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, time::Instant};

use super::{Answer, key::Key};

/// When a question was put, and what was answered.
pub(super) type Answered = (Instant, Arc<Answer>);

/// `None` until it is known; then what came of it.
type Outcome = Option<Option<Answered>>;

type Table = Mutex<HashMap<Key, watch::Receiver<Outcome>>>;

#[derive(Debug, Default)]
pub(super) struct UnderWay {
    /// Held for the length of one look or one change.
    table: Table,
}

/// Takes the question off the table, also when the one who asks goes away amid it.
struct Asking<'a> {
    table: &'a Table,
    key: &'a Key,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        lock(self.table).remove(self.key);
    }
}

impl UnderWay {
    /// Asks, or waits with who asks the same; says whether it was this one who asked. When the one
    /// who asks goes away (its client has gone), one of those who wait asks in its place.
    pub(super) async fn once(
        &self,
        key: &Key,
        ask: impl Future<Output = Option<Answered>>,
    ) -> Option<(Answered, bool)> {
        loop {
            let (sender, mut receiver) = {
                let mut table = lock(&self.table);
                if let Some(receiver) = table.get(key) {
                    (None, receiver.clone())
                } else {
                    let (sender, receiver) = watch::channel(None);
                    table.insert(*key, receiver.clone());
                    (Some(sender), receiver)
                }
            };
            if let Some(sender) = sender {
                let asking = Asking { table: &self.table, key };
                let answered = ask.await;
                drop(asking);
                sender.send_replace(Some(answered.clone()));
                return answered.map(|answered| (answered, true));
            }
            if let Ok(outcome) = receiver.wait_for(Option::is_some).await {
                return outcome.clone().flatten().map(|answered| (answered, false));
            }
        }
    }
}

fn lock(table: &Table) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Outcome>>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
