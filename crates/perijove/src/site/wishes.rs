//! Wishes that cannot be fulfilled now: those that come too early, too late, or in the way.

use std::collections::VecDeque;

use perijove_gateway::AccessLog;
use tokio::sync::mpsc;

use crate::{
    control::{
        Intent,
        reload::{Asked, Refusal},
    },
    logging,
};

/// Wishes that may wait while another is fulfilled.
pub(super) const WISHES: usize = 16;

/// Waits until somebody wants the end, refusing everything else: there is nothing yet to reload.
pub(super) async fn until_stopped(wanted: &mut mpsc::Receiver<Intent>) {
    loop {
        match wanted.recv().await {
            None | Some(Intent::Stop | Intent::StopNow) => return,
            Some(Intent::Reload(asked) | Intent::Upgrade(_, asked)) => {
                refuse(asked, "the program is not ready yet");
            }
            Some(Intent::ReopenLogs) => {}
        }
    }
}

/// The same in a process that was replaced: the one that has taken over is asked instead.
pub(super) async fn until_stopped_at_last(
    wanted: &mut mpsc::Receiver<Intent>,
    log: Option<&AccessLog>,
) {
    loop {
        match wanted.recv().await {
            None | Some(Intent::Stop | Intent::StopNow) => return,
            Some(other) => leave(other, log),
        }
    }
}

/// Waits until somebody wants the end now, while the end is on its way already.
pub(super) async fn until_hurried(wanted: &mut mpsc::Receiver<Intent>) {
    loop {
        match wanted.recv().await {
            // Who wishes it again wishes it sooner.
            Some(Intent::Stop | Intent::StopNow) => return,
            Some(Intent::Reload(asked) | Intent::Upgrade(_, asked)) => {
                refuse(asked, "the program is stopping");
            }
            Some(Intent::ReopenLogs) => {}
            None => std::future::pending().await,
        }
    }
}

/// Waits for a wish to end; other wishes wait for their turn.
pub(super) async fn until_end_wanted(
    wanted: &mut mpsc::Receiver<Intent>,
    waiting: &mut VecDeque<Intent>,
) {
    loop {
        match wanted.recv().await {
            None | Some(Intent::Stop | Intent::StopNow) => return,
            Some(Intent::Reload(asked) | Intent::Upgrade(_, asked)) if waiting.len() >= WISHES => {
                refuse(asked, "too many reloads are waiting");
            }
            Some(other) => waiting.push_back(other),
        }
    }
}

/// Leaves a wish that was in line to the process that has taken over. Only the logs are ours too.
pub(super) fn leave(wish: Intent, log: Option<&AccessLog>) {
    match wish {
        Intent::ReopenLogs => reopen_logs(log),
        Intent::Reload(Some(asked)) | Intent::Upgrade(_, Some(asked)) => asked.leave(),
        Intent::Reload(None) | Intent::Upgrade(_, None) => {
            tracing::warn!("not done: another process has taken over, send it the signal");
        }
        Intent::Stop | Intent::StopNow => {}
    }
}

pub(super) fn reopen_logs(log: Option<&AccessLog>) {
    if let Some(log) = log {
        log.reopen();
    }
    logging::reopen();
}

pub(super) fn refuse(asked: Option<Asked>, why: &str) {
    tracing::warn!("not done: {why}");
    if let Some(asked) = asked {
        asked.end(Err(Refusal::new(why)));
    }
}
