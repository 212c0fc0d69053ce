//! One process of a worker: its start, whether it is ready, its end.

use std::{error::Error, io, sync::atomic::Ordering, time::Duration};

use perijove_gateway::{Protocol, Upstream};
use perijove_process::{Child, NotReady, until_ready};

use super::{Failure, Shared};
use crate::{
    Plan,
    driver::{self, Address, Launch, Ready, Scratch, Seat},
};

/// Time from SIGTERM to SIGKILL for a worker that never became ready.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// A process that was started.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    address: Address,
    protocol: Protocol,
    capacity: Option<usize>,
    /// What else goes with it.
    _scratch: Option<Scratch>,
}

fn not_started(what: &str, error: &dyn Error) -> Failure {
    let source = error.source().map(|source| format!(": {source}"));
    Failure::NotStarted { reason: format!("{what}: {error}{}", source.unwrap_or_default()) }
}

impl Process {
    /// `at` is the place of the worker in its set.
    pub(super) fn start(shared: &Shared, at: usize) -> Result<Self, Failure> {
        let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
        let Launch { command, protocol, address, capacity, scratch } =
            driver::launch(&shared.plan, number, Seat(at))
                .map_err(|error| not_started("it could not be prepared", &error))?;
        let child = Child::start(command, format!("web-{number}"), &shared.tracker)
            .map_err(|error| not_started("it was refused", &error))?;
        Ok(Self { child, address, protocol, capacity, _scratch: scratch })
    }

    /// Waits until it answers; one that fails to is ended.
    pub(super) async fn until_ready(&mut self, plan: &Plan) -> Result<(), Failure> {
        let within = plan.start_time;
        let probe = || driver::ready(plan, &self.protocol, &self.address);
        match until_ready(probe, self.child.ended(), within).await {
            Ok(Ready { is_loaded: true, capacity, takes_websockets: takes }) => {
                self.capacity = capacity.or(self.capacity);
                if let Protocol::Frames { takes_websockets, .. } = &mut self.protocol {
                    *takes_websockets = takes;
                }
                Ok(())
            }
            Ok(Ready { is_loaded: false, .. }) => {
                self.end(IMPATIENCE).await;
                Err(Failure::Unloadable { last_lines: self.child.output().last_lines() })
            }
            Err(NotReady::Ended(ending)) => Err(Failure::Ended(ending)),
            Err(NotReady::Late(why)) => {
                self.end(IMPATIENCE).await;
                let last_lines = self.child.output().last_lines();
                let why = why.map(|error| error.to_string());
                Err(Failure::Late { waited: within, why, last_lines })
            }
        }
    }

    /// As the gateway is told of it.
    pub(super) fn upstream(&self) -> Upstream {
        Upstream {
            address: self.address.upstream(),
            protocol: self.protocol.clone(),
            capacity: self.capacity,
            account: self.address.account(),
            is_replaced: true,
        }
    }

    /// Whether it can be reached, and is well where the plan names a health address.
    pub(super) async fn answers(&self, plan: &Plan) -> io::Result<()> {
        driver::ready(plan, &self.protocol, &self.address).await.map(drop)
    }

    pub(super) async fn end(&self, grace: Duration) {
        self.child.terminate(grace);
        self.child.ended().await;
    }
}
