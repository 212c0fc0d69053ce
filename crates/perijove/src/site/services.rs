//! Daemons beside the site: started in their order, kept alive, exchanged by a reload, stopped.
//!
//! One with a socket is exchanged as an application is: the new one serves before the old one goes.
//! One without may be the only one of its kind (a clock, a queue's worker): the old one has ended
//! before the new one begins.

mod keeper;
mod logs;
mod process;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use perijove_gateway::{UpstreamSettings, Upstreams};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::task::TaskTracker;

use super::Source;
use crate::{
    berth::Berth,
    config::{
        Plan,
        plan::{ServicePlan, log::rotation},
    },
    control::reload::Refusal,
    failure::{Failure, Kind},
};
use keeper::{Keeper, Status};
use logs::Logs;

/// The services that run.
#[derive(Debug)]
pub(super) struct Services {
    all: Vec<Running>,
    shared: Arc<Shared>,
}

/// What all services share.
#[derive(Debug)]
struct Shared {
    tracker: TaskTracker,
    /// Where their sockets are.
    sockets: PathBuf,
    /// For the names of sockets: one that was used is not used again, nor by another process.
    berth: Berth,
    numbers: AtomicU64,
    logs: Logs,
}

/// One service, as others see it. When it is dropped, its process is ended.
#[derive(Clone, Debug)]
pub(super) struct Running {
    plan: Arc<ServicePlan>,
    environment: Arc<BTreeMap<OsString, OsString>>,
    /// Where its requests go, when it has a socket.
    upstreams: Arc<Upstreams>,
    status: watch::Receiver<Status>,
    /// The time that it has to end, once it is to end.
    stop: watch::Sender<Option<Duration>>,
}

/// Services of a new plan that serve already, beside the old ones.
#[derive(Debug, Default)]
pub(super) struct Coming(Vec<Running>);

impl Services {
    /// Starts those that are to run before the application.
    pub(super) async fn start(
        source: &Source,
        plan: &Plan,
        tracker: &TaskTracker,
    ) -> Result<Self, Failure> {
        let shared = Shared {
            tracker: tracker.clone(),
            sockets: plan.folders.runtime.join("service"),
            berth: source.berth.clone(),
            numbers: AtomicU64::new(1),
            logs: Logs::new(rotation(&plan.log)),
        };
        let mut services = Self { all: Vec::new(), shared: Arc::new(shared) };
        let wanted = plan.services.iter().filter(|service| service.is_before);
        let wanted = wanted.filter(|service| may_begin(service, source));
        services.begin(wanted, source, plan).await?;
        Ok(services)
    }

    /// Starts the rest: the application is ready.
    pub(super) async fn start_others(
        &mut self,
        source: &Source,
        plan: &Plan,
    ) -> Result<(), Failure> {
        let wanted = plan.services.iter().filter(|service| !service.is_before);
        let wanted = wanted.filter(|service| may_begin(service, source));
        self.begin(wanted, source, plan).await
    }

    async fn begin(
        &mut self,
        wanted: impl Iterator<Item = &ServicePlan>,
        source: &Source,
        plan: &Plan,
    ) -> Result<(), Failure> {
        let environment = environment(source, plan);
        let from = self.all.len();
        for service in wanted {
            tracing::info!(service = service.name, "starting");
            self.all.push(self.shared.begin(service, &environment));
        }
        for running in self.all.iter().skip(from) {
            running.until_ready().await.map_err(|why| {
                let what = format!("the service {:?} {why}", running.plan.name);
                Failure::new(Kind::Configuration, what).hint("what it printed stands above")
            })?;
        }
        Ok(())
    }

    /// Starts what a new plan changes and what can run beside the old. Nothing has changed until
    /// [`switch`](Self::switch).
    pub(super) async fn prepare(&self, source: &Source, plan: &Plan) -> Result<Coming, Refusal> {
        let environment = environment(source, plan);
        let is_new = |service: &&ServicePlan| self.same(service, &environment).is_none();
        let beside = plan.services.iter().filter(is_new).filter(|service| service.has_socket);
        let coming: Vec<Running> =
            beside.map(|service| self.shared.begin(service, &environment)).collect();
        for running in &coming {
            if let Err(why) = running.until_ready().await {
                // Dropped here, those that serve already are ended.
                return Err(Refusal::new(format!("the service {:?} {why}", running.plan.name)));
            }
        }
        Ok(Coming(coming))
    }

    /// Takes a new plan over: those that are not wanted any more end, each at its own pace.
    pub(super) fn switch(&mut self, source: &Source, plan: &Plan, coming: Coming) {
        let environment = environment(source, plan);
        let mut coming = coming.0;
        let mut now = Vec::new();
        for service in &plan.services {
            let ready = coming.iter().position(|running| running.plan.name == service.name);
            now.push(match (self.same(service, &environment), ready) {
                (Some(kept), _) => kept.clone(),
                (None, Some(ready)) => coming.swap_remove(ready),
                (None, None) => self.replace(service, &environment),
            });
        }
        for old in std::mem::replace(&mut self.all, now) {
            if !self.all.iter().any(|running| Arc::ptr_eq(&running.plan, &old.plan)) {
                old.wish_end(old.plan.stop_time);
            }
        }
    }

    /// Ends those that may be the only ones of their kind, so that another process may begin them.
    pub(super) async fn end_only_ones(&mut self) {
        let (stay, go): (Vec<Running>, _) =
            self.all.drain(..).partition(|running| running.plan.has_socket);
        self.all = stay;
        let mut ending = JoinSet::new();
        for running in &go {
            running.wish_end(running.plan.stop_time);
            ending.spawn(keeper::until_gone(running.status.clone()));
        }
        while ending.join_next().await.is_some() {}
    }

    /// Begins those: no other process has them.
    pub(super) fn begin_only_ones(&mut self, source: &Source, plan: &Plan) {
        let environment = environment(source, plan);
        for service in plan.services.iter().filter(|service| !service.has_socket) {
            self.all.push(self.shared.begin(service, &environment));
        }
    }

    /// The one that begins when the old one of this name, if there is one, has ended.
    fn replace(
        &self,
        service: &ServicePlan,
        environment: &Arc<BTreeMap<OsString, OsString>>,
    ) -> Running {
        let old = self.all.iter().find(|running| running.plan.name == service.name);
        old.inspect(|old| old.wish_end(old.plan.stop_time));
        self.shared.begin_after(service, environment, old.map(|old| old.status.clone()))
    }

    /// The one that runs as this plan says.
    fn same(
        &self,
        service: &ServicePlan,
        environment: &Arc<BTreeMap<OsString, OsString>>,
    ) -> Option<&Running> {
        let mut all = self.all.iter();
        all.find(|running| *running.plan == *service && running.environment == *environment)
    }

    /// Where requests for a service go.
    pub(super) fn upstreams(&self, name: &str) -> Option<Arc<Upstreams>> {
        let found = self.all.iter().find(|running| running.plan.name == name)?;
        Some(Arc::clone(&found.upstreams))
    }

    /// Opens their files again, after somebody moved them away.
    pub(super) fn reopen_logs(&self) {
        self.shared.logs.reopen();
    }

    /// All of them, for whoever wants to know how they are.
    pub(super) fn all(&self) -> Vec<Running> {
        self.all.clone()
    }

    /// How long [`end_only_ones`](Self::end_only_ones) may take.
    pub(super) fn longest_end(&self) -> Duration {
        let alone = self.all.iter().filter(|running| !running.plan.has_socket);
        alone.map(|running| running.plan.stop_time).max().unwrap_or_default()
    }

    /// Ends them, those that were started first last.
    pub(super) async fn stop(&self, most: Option<Duration>) {
        for is_before in [false, true] {
            let mut ending = JoinSet::new();
            for running in self.all.iter().filter(|one| one.plan.is_before == is_before) {
                running.wish_end(most.unwrap_or(running.plan.stop_time));
                let status = running.status.clone();
                ending.spawn(keeper::until_gone(status));
            }
            while ending.join_next().await.is_some() {}
        }
    }
}

impl Shared {
    fn begin(
        self: &Arc<Self>,
        service: &ServicePlan,
        environment: &Arc<BTreeMap<OsString, OsString>>,
    ) -> Running {
        self.begin_after(service, environment, None)
    }

    fn begin_after(
        self: &Arc<Self>,
        service: &ServicePlan,
        environment: &Arc<BTreeMap<OsString, OsString>>,
        before: Option<watch::Receiver<Status>>,
    ) -> Running {
        let (status, told) = watch::channel(Status::default());
        let (stop, stopped) = watch::channel(None);
        let running = Running {
            plan: Arc::new(service.clone()),
            environment: environment.clone(),
            upstreams: Upstreams::new(UpstreamSettings::default()),
            status: told,
            stop,
        };
        let keeper = Keeper {
            plan: running.plan.clone(),
            environment: environment.clone(),
            upstreams: running.upstreams.clone(),
            shared: self.clone(),
            status,
            stopped,
        };
        self.tracker.spawn(async move {
            if let Some(before) = before {
                keeper::until_gone(before).await;
            }
            keeper.run().await;
        });
        running
    }
}

impl Running {
    fn wish_end(&self, within: Duration) {
        self.stop.send_modify(|stop| *stop = Some(stop.map_or(within, |known| known.min(within))));
    }

    /// Waits until it runs, and serves its socket if it has one. The error is why it does not.
    async fn until_ready(&self) -> Result<(), String> {
        let mut status = self.status.clone();
        let known = status.wait_for(|status| status.is_ready || status.last_failure.is_some());
        match known.await.map(|status| (status.is_ready, status.last_failure.clone())) {
            Ok((true, _)) => Ok(()),
            Ok((false, Some(why))) => Err(why),
            Ok((false, None)) | Err(_) => Err("was stopped".to_owned()),
        }
    }

    /// How it is, for `status`.
    pub(super) fn tell(&self) -> Value {
        let status = self.status.borrow().clone();
        let (under_way, waiting) = self.upstreams.load();
        json!({
            "name": self.plan.name,
            "phase": status.phase,
            "pid": status.pid,
            "since": status.since,
            "restarts": status.restarts,
            "last-failure": status.last_failure,
            "socket": self.plan.has_socket,
            "under-way": under_way,
            "waiting": waiting,
        })
    }
}

/// Whether a service may begin beside that of another process, which is about to be replaced.
fn may_begin(service: &ServicePlan, source: &Source) -> bool {
    service.has_socket || source.generation == 0
}

/// What services have in their environment: what workers have.
fn environment(source: &Source, plan: &Plan) -> Arc<BTreeMap<OsString, OsString>> {
    let control = plan.folders.control_socket();
    Arc::new(super::application::environment(source, plan, Some(&control)))
}
