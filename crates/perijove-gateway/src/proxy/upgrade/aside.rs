//! A future beside the busy one of the same task, polled only when it asks for it.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// What is waited for beside a connection that may carry thousands of messages each second: to look
/// at all of it for each message would cost a good part of what the message costs.
pub(super) struct Aside<'f, F> {
    future: Pin<&'f mut F>,
    bell: Arc<Bell>,
    /// Rings the bell.
    ringer: Waker,
    /// The task that was last told to the bell.
    owner: Option<Waker>,
}

/// Rung when the future wants to be polled.
#[derive(Default)]
struct Bell {
    is_rung: AtomicBool,
    /// The task to be woken.
    owner: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.is_rung.store(true, Ordering::Release);
        let owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(owner) = owner {
            owner.wake();
        }
    }
}

impl<'f, F: Future> Aside<'f, F> {
    pub(super) fn new(future: Pin<&'f mut F>) -> Self {
        let bell = Arc::new(Bell { is_rung: AtomicBool::new(true), ..Bell::default() });
        let ringer = Waker::from(bell.clone());
        Self { future, bell, ringer, owner: None }
    }

    /// As if the future was polled.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<F::Output> {
        let owner = context.waker();
        if !self.owner.as_ref().is_some_and(|known| known.will_wake(owner)) {
            self.owner = Some(owner.clone());
            *self.bell.owner.lock().unwrap_or_else(PoisonError::into_inner) = Some(owner.clone());
        }
        if !self.bell.is_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        self.future.as_mut().poll(&mut Context::from_waker(&self.ringer))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, pin::pin, task::Poll, time::Duration};

    use super::Aside;

    #[tokio::test(start_paused = true)]
    async fn it_is_polled_when_it_asks_and_not_before() {
        let polls = Cell::new(0);
        let mut sleep = pin!(tokio::time::sleep(Duration::from_secs(1)));
        let future = pin!(std::future::poll_fn(|context| {
            polls.set(polls.get() + 1);
            sleep.as_mut().poll(context)
        }));
        let mut aside = Aside::new(future);
        std::future::poll_fn(|context| {
            for _ in 0..10 {
                assert!(aside.poll(context).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        assert_eq!(polls.get(), 1);
        std::future::poll_fn(|context| aside.poll(context)).await;
        assert_eq!(polls.get(), 2);
    }
}
