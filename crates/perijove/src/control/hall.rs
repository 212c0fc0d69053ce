//! Who answers what is asked about notebooks: the hub here, the one in the process that follows, or
//! neither yet.

use std::{pin::Pin, sync::Arc};

use perijove_gateway::{Response, Service, ServiceRequest};
use tokio::sync::watch;

/// The status of a hub that is closed.
const CLOSED: u16 = 503;

/// Where requests wait while one hub follows another.
#[derive(Debug)]
pub(crate) struct Hall {
    state: watch::Sender<State>,
}

#[derive(Clone, Debug)]
enum State {
    /// None when the site has no notebooks.
    Here(Option<Arc<dyn Service>>),
    /// No hub is open.
    Between,
    Elsewhere,
}

/// Who is to answer instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// The site has no notebooks.
    Nobody,
    /// The process that has taken over.
    Successor,
}

impl Hall {
    pub(crate) fn new(hub: Option<Arc<dyn Service>>) -> Self {
        Self { state: watch::Sender::new(State::Here(hub)) }
    }

    /// No hub is open: what is asked waits, and so does what was under way.
    pub(crate) fn close(&self) {
        self.state.send_replace(State::Between);
    }

    /// A hub is open here.
    pub(crate) fn open(&self, hub: Option<Arc<dyn Service>>) {
        self.state.send_replace(State::Here(hub));
    }

    /// The hub is in the process that has taken over.
    pub(crate) fn leave(&self) {
        self.state.send_replace(State::Elsewhere);
    }

    pub(super) fn is_left(&self) -> bool {
        matches!(*self.state.borrow(), State::Elsewhere)
    }

    /// Answers, once there is who can. What a hub that is being closed did not bring to an end is
    /// asked of the next one: whatever a hub is asked for may be asked for twice.
    pub(super) async fn answer(&self, request: ServiceRequest) -> Result<Response, Absent> {
        let mut state = self.state.subscribe();
        loop {
            let now = state.borrow_and_update().clone();
            let hub = match now {
                State::Here(Some(hub)) => hub,
                State::Here(None) => return Err(Absent::Nobody),
                State::Elsewhere => return Err(Absent::Successor),
                State::Between => {
                    // The sender lives in `self`.
                    state.changed().await.ok();
                    continue;
                }
            };
            let answer = hub.call(request.clone()).await;
            // A hub that was closed meanwhile says so at once, which is no answer.
            if answer.status != CLOSED || !matches!(state.has_changed(), Ok(true)) {
                return Ok(answer);
            }
        }
    }
}

impl Service for Hall {
    fn call(&self, request: ServiceRequest) -> Pin<Box<dyn Future<Output = Response> + Send + '_>> {
        Box::pin(async move {
            let answered = self.answer(request).await;
            answered.unwrap_or_else(|_| super::error(CLOSED, "no hub is open here", "try again"))
        })
    }
}
