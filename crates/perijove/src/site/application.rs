//! The applications: that of the site, and those at paths of their own. From their plans to their
//! workers.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use perijove_apps::{App, Prepared, Tell};
use perijove_gateway::{UpstreamSettings, Upstreams};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::{Source, failing};
use crate::{
    berth::Berth,
    config::{
        Plan,
        plan::{self, RouteTarget, SiteTarget},
    },
    failure::{Failure, Kind},
    folders::hexadecimal,
};

/// Where an application is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) host: Option<String>,
    pub(super) path: String,
}

impl Place {
    /// That of the site's own application.
    pub(super) fn of_site() -> Self {
        Self { host: None, path: "/".to_owned() }
    }

    /// That of who decides who may pass; no request of a client goes there.
    pub(super) fn of_access() -> Self {
        Self { host: None, path: "(access)".to_owned() }
    }

    pub(super) fn is_of_site(&self) -> bool {
        *self == Self::of_site()
    }

    /// The folder of its sockets below the runtime folder: short, since names of sockets are.
    fn folder(&self, berth: &Berth) -> String {
        if self.is_of_site() {
            return berth.folder("app");
        }
        let name = format!("{}{}", self.host.as_deref().unwrap_or_default(), self.path);
        let digest = Sha256::digest(name.as_bytes());
        let digits = hexadecimal(digest.get(..4).unwrap_or_default());
        berth.folder(&format!("app-{digits}"))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.host.as_deref().unwrap_or_default(), self.path)
    }
}

/// An application and what its requests are sent to.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) place: Place,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) app: App,
}

/// All applications that run; that of the site is the first, if it has one.
#[derive(Debug)]
pub(super) struct Applications {
    pub(super) all: Vec<Running>,
    tracker: TaskTracker,
}

impl Applications {
    /// Starts them beside each other, and returns when all take requests. `of_site` is what the
    /// site's requests are sent to.
    pub(super) async fn start(
        source: &Source,
        plan: &Plan,
        of_site: &Arc<Upstreams>,
        tracker: &TaskTracker,
    ) -> Result<Self, Failure> {
        let mut starting = JoinSet::new();
        for (at, (place, wanted)) in wanted(source, plan)?.into_iter().enumerate() {
            let upstreams = upstreams_at(&place, plan, of_site);
            let tracker = tracker.clone();
            starting.spawn(async move { (at, begin(place, wanted, upstreams, &tracker).await) });
        }
        let mut all = Vec::new();
        while let Some(started) = starting.join_next().await {
            let (at, started) =
                started.map_err(|error| Failure::new(Kind::Fault, error.to_string()))?;
            all.push((at, started?));
        }
        all.sort_by_key(|(at, _)| *at);
        let all = all.into_iter().map(|(_, running)| running).collect();
        Ok(Self { all, tracker: tracker.clone() })
    }

    /// None yet.
    pub(super) fn none(tracker: &TaskTracker) -> Self {
        Self { all: Vec::new(), tracker: tracker.clone() }
    }

    /// Prepares every application for a new plan, one after another, since each looks how much
    /// memory is left: those that run get new workers beside the old ones, new ones are started.
    /// When one cannot, all go on as they are.
    pub(super) async fn prepare(
        &self,
        source: &Source,
        plan: &Plan,
        of_site: &Arc<Upstreams>,
        tell: &Tell,
    ) -> Result<Coming, Failure> {
        let mut coming = Coming::default();
        for (place, wanted) in wanted(source, plan)? {
            let prepared = if let Some(running) = self.at(&place) {
                let prepared = running.app.prepare(wanted, Arc::clone(tell)).await;
                prepared
                    .map(|prepared| coming.prepared.push(prepared))
                    .map_err(failing::application)
            } else {
                let upstreams = upstreams_at(&place, plan, of_site);
                begin(place, wanted, upstreams, &self.tracker)
                    .await
                    .map(|running| coming.new.push(running))
            };
            if let Err(failure) = prepared {
                coming.give_up().await;
                return Err(failure);
            }
        }
        Ok(coming)
    }

    /// Has what was prepared take over. Those that are no longer wanted go on until
    /// [`retire`](Self::retire).
    pub(super) async fn switch(&mut self, coming: Coming) -> Result<(), Failure> {
        for prepared in coming.prepared {
            prepared.switch().await.map_err(failing::application)?;
        }
        self.all.extend(coming.new);
        Ok(())
    }

    /// Ends those that a plan has no more, after their routes have gone.
    pub(super) fn retire(&mut self, plan: &Plan) {
        let wanted = places(plan);
        let (stay, go) = self
            .all
            .drain(..)
            .partition(|running| wanted.iter().any(|(at, _)| *at == running.place));
        self.all = stay;
        for running in go {
            tracing::info!(place = %running.place, "this application is no longer wanted");
            let within = plan.limits.drain_time.0;
            self.tracker.spawn(async move { running.app.stop(within).await });
        }
    }

    pub(super) fn at(&self, place: &Place) -> Option<&Running> {
        self.all.iter().find(|running| running.place == *place)
    }

    /// Lets them finish what is under way, and ends their workers.
    pub(super) async fn stop(&self, within: Duration) {
        let mut stopping = JoinSet::new();
        for running in &self.all {
            let app = running.app.clone();
            stopping.spawn(async move { app.stop(within).await });
        }
        while stopping.join_next().await.is_some() {}
    }
}

/// What is ready for a new plan, beside what runs. When it is dropped, that goes on alone.
#[derive(Debug, Default)]
pub(super) struct Coming {
    prepared: Vec<Prepared>,
    new: Vec<Running>,
}

impl Coming {
    async fn give_up(self) {
        for running in self.new {
            running.app.stop(Duration::ZERO).await;
        }
    }
}

async fn begin(
    place: Place,
    wanted: perijove_apps::Plan,
    upstreams: Arc<Upstreams>,
    tracker: &TaskTracker,
) -> Result<Running, Failure> {
    let name = wanted.application.to_string();
    tracing::info!(place = %place, application = name, workers = wanted.workers, "starting");
    let app = App::start(wanted, Arc::clone(&upstreams), tracker).await;
    Ok(Running { place, upstreams, app: app.map_err(failing::application)? })
}

/// What requests for an application are sent to: for that of the site, what there is.
fn upstreams_at(place: &Place, plan: &Plan, of_site: &Arc<Upstreams>) -> Arc<Upstreams> {
    if place.is_of_site() { Arc::clone(of_site) } else { Upstreams::new(settings(plan)) }
}

/// How requests wait for applications.
pub(super) fn settings(plan: &Plan) -> UpstreamSettings {
    let site = &plan.site;
    UpstreamSettings { wait: site.wait, queue: site.queue, connect_time: site.connect_time }
}

/// The Python package that belongs to this program.
pub(super) fn package(source: &Source) -> Result<PathBuf, Failure> {
    plan::package(&source.environment).map_err(|error| {
        let hint = error.hint();
        Failure::new(Kind::Unavailable, error).hint(hint)
    })
}

/// The applications of a plan and where they are; that of the site first.
fn places(plan: &Plan) -> Vec<(Place, &plan::Application)> {
    let of_site = match &plan.site.target {
        SiteTarget::Application(application) => Some((Place::of_site(), &**application)),
        SiteTarget::Upstream(_) | SiteTarget::Nothing => None,
    };
    let others = plan.routes.iter().filter_map(|route| match &route.target {
        RouteTarget::Application(application) => {
            Some((Place { host: route.host.clone(), path: route.path.clone() }, &**application))
        }
        _ => None,
    });
    let of_access = plan.access.application.as_ref();
    let of_access = of_access.map(|application| (Place::of_access(), application));
    of_site.into_iter().chain(others).chain(of_access).collect()
}

/// What the workers of each application are to be like.
fn wanted(source: &Source, plan: &Plan) -> Result<Vec<(Place, perijove_apps::Plan)>, Failure> {
    let places = places(plan);
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let package = package(source)?;
    let control = plan.folders.control_socket();
    let mut environment = environment(source, plan, Some(&control));
    if plan.life.watch {
        // Python takes a file of the same length and second for the one that it has compiled.
        environment.entry("PYTHONDONTWRITEBYTECODE".into()).or_insert_with(|| "1".into());
    }
    let wanted = |(place, application): (Place, &plan::Application)| {
        let mut environment = environment.clone();
        if place == Place::of_access() {
            let scripts = serde_json::to_string(&plan.access.scripts()).unwrap_or_default();
            environment.insert("PERIJOVE_ACCESS".into(), scripts.into());
        }
        let of_site = &plan.site.process_name;
        let wanted = perijove_apps::Plan {
            application: application.name.clone(),
            name: if place.is_of_site() { of_site.clone() } else { format!("{of_site}{place}") },
            root: application.root.clone(),
            python: application.python.clone(),
            package: package.clone(),
            driver: application.driver.clone(),
            server_arguments: application.server_arguments.clone(),
            install: application.install,
            workers: application.workers.number,
            threads: application.threads,
            interface: application.interface,
            asgi: application.asgi,
            environment,
            account: plan.site.account.clone(),
            umask: plan.site.umask,
            sockets: plan.folders.runtime.join(place.folder(&source.berth)),
            health: application.health.clone(),
            start_time: application.start_time,
            drain_time: plan.limits.drain_time.0,
            websocket_time: plan.life.websocket_time,
            deadlock_time: plan.life.deadlock_time,
            request_time: plan.life.request_time,
            interrupt_time: plan.life.interrupt_time,
            probation: plan.life.probation,
            rollout: plan.life.rollout,
            recycling: plan.life.recycling.clone(),
        };
        (place, wanted)
    };
    Ok(places.into_iter().map(wanted).collect())
}

/// What the site's processes have in their environment.
pub(super) fn environment(
    source: &Source,
    plan: &Plan,
    control: Option<&Path>,
) -> BTreeMap<OsString, OsString> {
    let mut environment = perijove_apps::of_workers(source.environment.pairs(), control);
    let of_site = plan.site.environment.iter();
    environment.extend(of_site.map(|(name, value)| (name.into(), value.into())));
    // Service managers start programs without a locale, in which text would not be UTF-8.
    let has_locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .any(|name| environment.get(OsStr::new(name)).is_some_and(|value| !value.is_empty()));
    if !has_locale {
        environment.insert("LC_CTYPE".into(), "C.UTF-8".into());
    }
    environment
}
