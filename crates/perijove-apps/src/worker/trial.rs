//! Whether a worker stays up and can be reached, before it serves and while it does.

use std::{io, time::Duration};

use perijove_gateway::UpstreamId;
use tokio::time::{sleep, timeout};

use super::{Failure, Process, Shared};
use crate::Plan;

/// How long an answer may take when a worker was ready before.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two tries to reach a worker that could not be reached.
const AGAIN: Duration = Duration::from_millis(500);
/// How long the kernel's word that a process has ended may take to come behind what it did to its
/// connections.
const NEWS: Duration = Duration::from_millis(100);

/// Waits for as long as a new worker must stay up, and asks how it is when that is over.
pub(super) async fn pass(process: &Process, plan: &Plan) -> Result<(), Failure> {
    tokio::select! {
        ending = process.child.ended() => return Err(Failure::Ended(ending)),
        () = sleep(plan.probation) => {}
    }
    if plan.health.is_none() {
        return Ok(());
    }
    let asked = reach(process, plan);
    let why = tokio::select! {
        ending = process.child.ended() => return Err(Failure::Ended(ending)),
        asked = asked => match asked {
            Ok(()) => return Ok(()),
            Err(error) => error.to_string(),
        },
    };
    Err(Failure::Lost { why, last_lines: process.child.output().last_lines() })
}

/// Waits until a worker that serves has ended, or does not answer any more: its process may live on
/// without its socket.
pub(super) async fn until_failed(process: &Process, shared: &Shared, id: UpstreamId) -> Failure {
    tokio::select! {
        biased;
        ending = process.child.ended() => Failure::Ended(ending),
        why = until_lost(process, shared, id) => {
            let last_lines = process.child.output().last_lines();
            Failure::Lost { why, last_lines }
        }
    }
}

async fn until_lost(process: &Process, shared: &Shared, id: UpstreamId) -> String {
    loop {
        shared.upstreams.troubled(id).await;
        sleep(NEWS).await;
        if reach(process, &shared.greeting).await.is_err() {
            sleep(AGAIN).await;
            if let Err(error) = reach(process, &shared.greeting).await {
                return error.to_string();
            }
        }
        shared.upstreams.reached(id);
    }
}

async fn reach(process: &Process, plan: &Plan) -> io::Result<()> {
    let Ok(reached) = timeout(ANSWER, process.answers(plan)).await else {
        let why = format!("no answer within {} s", ANSWER.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    };
    reached
}
