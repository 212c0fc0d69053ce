//! Signals as intents: stop, stop now, reload, open logs again, upgrade.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use crate::control::{Intent, Upgrade};

/// The signals that mean something, caught from the moment this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user: Signal,
    other_user: Signal,
}

impl Signals {
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
            other_user: signal(SignalKind::user_defined2())?,
        })
    }

    /// Passes on what each signal means, until nobody listens. The second wish to stop means now.
    pub(crate) async fn pass_on(mut self, intents: mpsc::Sender<Intent>) {
        let mut is_stopping = false;
        loop {
            let intent = tokio::select! {
                _ = self.terminate.recv() => stop(&mut is_stopping),
                _ = self.interrupt.recv() => stop(&mut is_stopping),
                _ = self.hang_up.recv() => Intent::Reload(None),
                _ = self.user.recv() => Intent::ReopenLogs,
                _ = self.other_user.recv() => Intent::Upgrade(Upgrade::default(), None),
                () = intents.closed() => return,
            };
            if intents.send(intent).await.is_err() {
                return;
            }
        }
    }
}

fn stop(is_stopping: &mut bool) -> Intent {
    if std::mem::replace(is_stopping, true) { Intent::StopNow } else { Intent::Stop }
}
