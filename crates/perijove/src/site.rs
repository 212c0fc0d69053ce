//! The composition root: builds the gateway, the application and the hub from a plan, runs them,
//! and stops them in order.
//!
//! ```text
//! folders ─▶ sockets bound ─▶ application ready ─▶ hub opened ─▶ `ready:` ─▶ …
//! … ─▶ no new connections, requests drain ─▶ workers end ─▶ hub closes ─▶ end
//! ```

use std::{
    collections::VecDeque,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use perijove_gateway::{
    AccessLog, Gateway, Listeners, Meter, Routes, Secret, Service, Tls, Tracer, Upstreams,
};
use perijove_hub::{Hub, StateLock};
use perijove_process::ProcessIdentity;
use serde_json::json;
use tokio::{
    runtime,
    sync::{mpsc, watch::Sender},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    berth::Berth,
    config::{
        Mistakes, Plan,
        layers::{Environment, Flags},
    },
    control::{
        Control, Intent, Questions,
        hall::Hall,
        keep_secret, make_secret,
        reload::{Asked, Refusal},
    },
    failure::{Failure, Kind},
    folders::Lock,
    handover::taking::{self, Inheritance, Taking},
    logging,
    notify::Notify,
    pid_file::PidFile,
    signals::Signals,
};

mod accounts;
mod application;
mod broken;
mod descriptors;
mod edge;
mod elsewhere;
pub(crate) mod ending;
mod failing;
mod fences;
mod finish;
mod hooks;
mod metrics;
mod redirect;
mod reload;
mod routes;
mod rules;
mod services;
mod status;
mod traces;
mod upgrade;
mod watching;
mod wishes;

use application::Applications;
use edge::{Roads, Sockets};
use elsewhere::Elsewhere;
use services::Services;
use status::Board;
use upgrade::{End, tell_upgraded};
use watching::Baseline;
use wishes::{WISHES, refuse, until_end_wanted, until_hurried, until_stopped};

/// How long the hub may take to save its state, after everything else has ended.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Where plans come from: the same place at the start and at every reload.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) flags: Flags,
    pub(crate) environment: Environment,
    /// The current folder.
    pub(crate) folder: PathBuf,
    /// How often one process has taken over from another since the site was started.
    pub(crate) generation: u64,
    /// Where the sockets of its processes are, from the moment this one holds the runtime folder.
    pub(crate) berth: Berth,
}

impl Source {
    /// Of the first process of a site.
    pub(crate) fn new(flags: Flags, environment: Environment, folder: PathBuf) -> Self {
        Self { flags, environment, folder, generation: 0, berth: Berth::default() }
    }

    pub(crate) fn plan(&self) -> Result<Plan, Mistakes> {
        Plan::load(&self.flags, &self.environment, &self.folder)
    }
}

/// Serves until somebody stops it. `farewell` is told after the addresses.
pub(crate) fn serve(source: Source, farewell: &[&str]) -> Result<ExitCode, Failure> {
    // One thread, the main one: children are forked from it, and they end with it. What carries
    // traffic are the gateway's own threads.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Other, error))?;
    let result = runtime.block_on(begin(source, farewell));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Starts the site, after another process or as the first one.
async fn begin(mut source: Source, farewell: &[&str]) -> Result<ExitCode, Failure> {
    let mut taking = Taking::meet(&source.environment).await?;
    if let Some(taking) = &taking {
        source.generation = taking.inheritance.generation;
    }
    let plan = match source.plan() {
        Ok(plan) => plan,
        Err(mistakes) => return Err(taking::give_up(taking, mistakes.into()).await),
    };
    if let Err(failure) = logging::start(&plan.log, &plan.log_files) {
        return Err(taking::give_up(taking, failure).await);
    }
    settle(&plan);
    let (intents, mut wanted) = mpsc::channel(WISHES);
    let signals = Signals::catch().map_err(|error| Failure::new(Kind::Other, error))?;
    let tracker = TaskTracker::new();
    tracker.spawn(signals.pass_on(intents.clone()));
    let started = tokio::select! {
        started = Site::start(source, plan, intents, &tracker, taking.as_mut()) => started,
        () = until_stopped(&mut wanted) => {
            tracing::info!("stopped before the site was ready");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let (mut site, gateway) = match started {
        Ok(started) => started,
        Err(failure) => return Err(taking::give_up(taking, failure).await),
    };
    site.board.tell_addresses(edge::told(&site.plan, gateway.addresses()));
    let addresses = site.board.addresses();
    match taking {
        Some(taking) => site.take_place(taking.taken().await?),
        None => announce(&addresses, farewell),
    }
    Box::pin(run(site, gateway, wanted)).await
}

/// Makes room for the control groups of notebooks, before any process is started.
fn settle(plan: &Plan) {
    let is_wanted = plan.notebook.as_ref().is_some_and(|notebook| notebook.isolation.wants_group());
    if is_wanted && let Err(error) = perijove_process::group::settle() {
        tracing::warn!(
            %error,
            "no control groups can be made here: limits of notebooks are kept as far as that goes \
             without; `Delegate=yes` in a systemd unit lets perijove make them"
        );
    }
}

async fn run(
    mut site: Site,
    gateway: Gateway,
    mut wanted: mpsc::Receiver<Intent>,
) -> Result<ExitCode, Failure> {
    let (stop, now) = (CancellationToken::new(), CancellationToken::new());
    let mut edge = site.tracker.spawn(gateway.run(stop.clone(), now.clone()));
    site.settle_in();
    tracing::info!(addresses = site.board.addresses().join(" "), "ready");
    tokio::select! {
        end = site.until_stopped(&mut wanted) => site.depart(end),
        _ = &mut edge => return Err(Failure::new(Kind::Fault, "the gateway ended by itself")),
    }
    stop.cancel();
    let is_hasty = tokio::select! {
        _ = edge => false,
        () = site.until_hurried(&mut wanted) => true,
    };
    if is_hasty {
        tracing::info!("stopping now");
        now.cancel();
    }
    site.end(is_hasty, &mut wanted).await;
    // Nobody passes signals on from here: those who would wait for this task would wait forever.
    drop(wanted);
    Ok(ExitCode::SUCCESS)
}

/// Tells that requests are answered, one line for each address.
fn announce(addresses: &[String], farewell: &[&str]) {
    let mut output = io::stdout().lock();
    let lines = addresses.iter().map(|address| format!("ready: {address}\n"));
    let text: String = lines.chain(farewell.iter().map(|line| format!("{line}\n"))).collect();
    if let Err(error) = output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        tracing::warn!(%error, "could not say that the site is ready");
    }
}

/// Everything that runs, but the gateway's threads.
struct Site {
    source: Source,
    plan: Plan,
    roads: Roads,
    sockets: Sockets,
    listeners: Listeners,
    /// The routes that are ours to change: those of notebooks are the hub's.
    placed: Vec<(Option<String>, String)>,
    /// Of the site's own requests, if they are sent anywhere.
    upstreams: Arc<Upstreams>,
    /// What runs elsewhere.
    elsewhere: Elsewhere,
    applications: Applications,
    services: Services,
    hub: Option<Arc<Hub>>,
    /// Who answers what is asked about notebooks.
    hall: Arc<Hall>,
    tls: Option<Arc<Tls>>,
    /// Ends the watch over the files of the certificates.
    certificates: CancellationToken,
    access_log: Option<AccessLog>,
    meter: Option<Arc<Meter>>,
    tracer: Option<Arc<Tracer>>,
    board: Arc<Board>,
    /// What is watched for changes.
    watched: Sender<Option<Baseline>>,
    notify: Notify,
    pid_file: Option<PidFile>,
    /// The processes that were replaced before this one came, which may still finish what is under
    /// way.
    before: Vec<ProcessIdentity>,
    /// Ends what runs beside the requests.
    stop: CancellationToken,
    tracker: TaskTracker,
    /// None when another process has taken over.
    lock: Option<Lock>,
}

/// What stands towards the outside.
struct Front {
    tls: Option<Arc<Tls>>,
    access_log: Option<AccessLog>,
    roads: Roads,
    meter: Option<Arc<Meter>>,
    tracer: Option<Arc<Tracer>>,
    gateway: Gateway,
}

impl Front {
    /// Opens the listeners, which do not serve yet.
    fn open(
        plan: &Plan,
        sockets: &mut Sockets,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let tls = edge::certificates(plan)?;
        let access_log = edge::access_log(plan)?;
        let roads = Roads::default();
        let meter = plan.metrics.as_ref().map(|_| Meter::new(plan.threads));
        let tracer = plan.traces.as_ref().map(|traces| traces::start(traces, tracker, stop));
        let open = edge::Open {
            plan,
            roads: &roads,
            tls: tls.as_deref(),
            access_log: access_log.clone(),
            meter: meter.clone(),
            tracer: tracer.clone(),
        };
        let gateway = open.bind(sockets)?;
        Ok(Self { tls, access_log, roads, meter, tracer, gateway })
    }
}

impl Site {
    /// Starts everything in order. Requests are answered once the gateway runs. Where another process
    /// is replaced, the hub is opened when that one has closed its own.
    async fn start(
        mut source: Source,
        plan: Plan,
        intents: mpsc::Sender<Intent>,
        tracker: &TaskTracker,
        mut taking: Option<&mut Taking>,
    ) -> Result<(Self, Gateway), Failure> {
        let mut inheritance = taking.as_mut().map(|taking| &mut taking.inheritance);
        let mut sockets = Sockets::find(&source.environment, inheritance.as_deref_mut());
        let (lock, secret) = open_folders(&plan, inheritance)?;
        let runtime = &plan.folders.runtime;
        source.berth = Berth::take(runtime).map_err(|error| failing::file(runtime, error))?;
        let stop = CancellationToken::new();
        let Front { tls, access_log, roads, meter, tracer, gateway } =
            Front::open(&plan, &mut sockets, tracker, &stop)?;
        accounts::let_in(&plan)?;
        redirect::fill(&roads.redirecting, &gateway.addresses());
        let upstreams = Upstreams::new(application::settings(&plan));
        let elsewhere = Elsewhere::new(&plan, &upstreams);
        let used = routes::used(&plan.site, &upstreams);
        metrics::name_notebooks(&plan, &roads.site, meter.as_deref());
        let watched = watching::follow(&plan, &intents, tracker, &stop);
        let mut services = Services::start(&source, &plan, tracker).await?;
        let (applications, trouble) = broken::start(&source, &plan, &upstreams, tracker).await?;
        services.start_others(&source, &plan).await?;
        let hub = open_hub(&source, &plan, &roads.site, used.cloned(), taking).await?;
        let hall = Arc::new(Hall::new(hub.as_ref().map(|hub| hub.service())));
        let board = Arc::new(Board::new(&plan, Some(upstreams.clone())));
        let mut site = Self {
            notify: Notify::of(&source.environment),
            source,
            plan,
            roads,
            sockets,
            listeners: gateway.listeners(),
            placed: Vec::new(),
            upstreams,
            elsewhere,
            applications,
            services,
            hub,
            hall,
            tls,
            certificates: CancellationToken::new(),
            access_log,
            meter,
            tracer,
            board,
            watched,
            pid_file: None,
            before: Vec::new(),
            stop,
            tracker: tracker.clone(),
            lock: Some(lock),
        };
        site.watch();
        site.answer_those_who_run_it(secret, intents);
        site.place(trouble.as_ref());
        site.run_beside();
        Ok((site, gateway))
    }

    /// Answers on the control socket and where the metrics are.
    fn answer_those_who_run_it(&self, secret: Secret, intents: mpsc::Sender<Intent>) {
        if let Some(meter) = &self.meter {
            let sources = metrics::Sources {
                meter: meter.clone(),
                board: self.board.clone(),
                notebooks: self.hub.is_some().then(|| self.hall.clone() as Arc<dyn Service>),
                tracer: self.tracer.clone(),
            };
            metrics::serve_on(&self.roads.metrics, sources);
        }
        let (board, stacks) = (self.board.clone(), self.board.clone());
        let questions = Questions {
            status: Box::new(move || board.tell()),
            stacks: Box::new(move || Box::pin(status::stacks(stacks.clone()))),
        };
        let socket = self.plan.folders.control_socket();
        let control = Control::new(secret, intents, questions, self.hall.clone(), socket);
        control.serve_on(&self.roads.control);
    }

    /// Puts the routes in place, or what is shown instead.
    fn place(&mut self, trouble: Option<&Refusal>) {
        let Self { plan, upstreams, meter, .. } = &*self;
        self.roads.site.serve_only(plan.site.hosts.as_deref());
        routes::fence(plan, &self.roads.site, &self.applications);
        let of_site = routes::used(&plan.site, upstreams);
        let all = routes::all(plan, of_site, self.behind(), meter.as_deref());
        self.placed = routes::place(&self.roads.site, all);
        if let Some(refusal) = trouble {
            self.show(refusal);
        }
    }

    /// What stands behind the routes.
    fn behind(&self) -> routes::Behind<'_> {
        let Self { applications, services, elsewhere, .. } = self;
        routes::Behind { applications, services, elsewhere }
    }

    /// Has the status tell of what runs now.
    fn watch(&self) {
        self.board.watch(&self.applications, &self.services);
        self.board.watch_elsewhere(self.elsewhere.all(&self.upstreams));
    }

    /// Starts what runs beside the requests.
    fn run_beside(&mut self) {
        self.run_hub();
        self.watch_certificates();
    }

    /// Looks after the certificates in use, and no longer after those of before.
    fn watch_certificates(&mut self) {
        self.certificates.cancel();
        self.certificates = self.stop.child_token();
        if let Some(tls) = self.tls.clone() {
            let stop = self.certificates.clone();
            self.tracker.spawn(async move { tls.watch(stop).await });
        }
    }

    fn run_hub(&self) {
        if let Some(hub) = self.hub.clone() {
            let stop = self.stop.clone();
            self.tracker.spawn(async move { hub.run(stop).await });
        }
    }

    /// Tells whoever manages services that this process serves.
    fn settle_in(&mut self) {
        self.renew_pid_file();
        self.notify.ready();
    }

    /// Writes the number of this process where that is wished.
    fn renew_pid_file(&mut self) {
        self.pid_file = self.plan.pid_file.as_ref().and_then(|path| {
            PidFile::write(path)
                .inspect_err(|error| {
                    tracing::warn!(%error, path = %path.display(), "could not write the pid file");
                })
                .ok()
        });
    }

    /// Fulfils wishes until one is the end.
    async fn until_stopped(&mut self, wanted: &mut mpsc::Receiver<Intent>) -> End {
        let mut waiting = VecDeque::new();
        loop {
            let intent = match waiting.pop_front() {
                Some(intent) => intent,
                None => wanted.recv().await.unwrap_or(Intent::Stop),
            };
            match intent {
                Intent::Stop | Intent::StopNow => return End::Stopped,
                Intent::ReopenLogs => {
                    wishes::reopen_logs(self.access_log.as_ref());
                    self.services.reopen_logs();
                }
                Intent::Reload(asked) => {
                    self.notify.reloading();
                    let reloaded = tokio::select! {
                        reloaded = self.reload(asked.as_ref()) => reloaded,
                        () = until_end_wanted(wanted, &mut waiting) => {
                            refuse(asked, "the program is stopping");
                            return End::Stopped;
                        }
                    };
                    self.notify.ready();
                    tell_reloaded(reloaded, asked);
                }
                Intent::Upgrade(upgrade, asked) => {
                    let upgraded = tokio::select! {
                        upgraded = self.upgrade(&upgrade, asked.as_ref()) => upgraded,
                        () = until_end_wanted(wanted, &mut waiting) => {
                            refuse(asked, "the program is stopping");
                            return End::Stopped;
                        }
                    };
                    if let Some(end) = tell_upgraded(upgraded, asked) {
                        for wish in waiting {
                            wishes::leave(wish, self.access_log.as_ref());
                        }
                        return end;
                    }
                }
            }
        }
    }

    /// Ends the workers, then what runs beside.
    async fn end(self, is_hasty: bool, wanted: &mut mpsc::Receiver<Intent>) {
        let within = if is_hasty { Duration::ZERO } else { self.plan.limits.drain_time.0 };
        tokio::select! {
            () = self.applications.stop(within) => {}
            () = until_hurried(wanted) => self.applications.stop(Duration::ZERO).await,
        }
        let most = is_hasty.then_some(Duration::ZERO);
        tokio::select! {
            () = self.services.stop(most) => {}
            () = until_hurried(wanted) => self.services.stop(Some(Duration::ZERO)).await,
        }
        self.stop.cancel();
        self.tracker.close();
        wanted.close();
        while wanted.recv().await.is_some() {}
        if timeout(LAST_WORDS, self.tracker.wait()).await.is_err() {
            tracing::warn!("something did not end in time; it is left behind");
        }
    }
}

fn tell_reloaded(reloaded: Result<(), Refusal>, asked: Option<Asked>) {
    match &reloaded {
        Ok(()) => tracing::info!("reloaded"),
        Err(refusal) => {
            tracing::error!("not reloaded, the old version goes on: {}", refusal.text);
        }
    }
    if let Some(asked) = asked {
        asked.end(reloaded.map(|()| json!({ "reloaded": true })));
    }
}

async fn open_hub(
    source: &Source,
    plan: &Plan,
    routes: &Routes,
    upstreams: Option<Arc<Upstreams>>,
    taking: Option<&mut Taking>,
) -> Result<Option<Arc<Hub>>, Failure> {
    if plan.notebook.is_some() {
        application::package(source)?;
    }
    let mut lock = None;
    if let Some(taking) = taking {
        // Everything else is ready: this is where the old process lets go.
        taking.until_ours().await?;
        lock = taking.inheritance.state_lock(&plan.folders.state).map(StateLock::passed_on);
    }
    let Some(notebook) = plan.notebook.clone() else { return Ok(None) };
    let routes = routes.clone();
    let hub = match lock {
        Some(lock) => Hub::follow(notebook, routes, upstreams, lock).await,
        None => Hub::open(notebook, routes, upstreams).await,
    };
    Ok(Some(Arc::new(hub.map_err(failing::hub)?)))
}

/// The folders of the site, and the secret of its control socket: those of the process before, where
/// it has the same.
fn open_folders(
    plan: &Plan,
    inheritance: Option<&mut Inheritance>,
) -> Result<(Lock, Secret), Failure> {
    let passed_on = inheritance.and_then(|held| held.runtime_lock(&plan.folders.runtime));
    let is_passed_on = passed_on.is_some();
    let lock = plan.folders.open(passed_on).map_err(failing::folders)?;
    let socket = plan.folders.control_socket();
    let secret = if is_passed_on { keep_secret(&socket) } else { make_secret(&socket) };
    Ok((lock, secret.map_err(|error| failing::file(&socket, error))?))
}
