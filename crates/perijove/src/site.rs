//! The composition root: builds the gateway, the application and the hub from a plan, runs them,
//! and stops them in order.
//!
//! ```text
//! folders ─▶ sockets bound ─▶ hub opened ─▶ application ready ─▶ `ready:` ─▶ …
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

use perijove_gateway::{AccessLog, Gateway, Meter, Routes, Tls, UpstreamId, Upstreams};
use perijove_hub::Hub;
use tokio::{runtime, sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{
        Mistakes, Plan,
        layers::{Environment, Flags},
    },
    control::{
        Control, Intent, make_secret,
        reload::{Asked, Refusal},
    },
    failure::{Failure, Kind},
    folders::Lock,
    logging,
    signals::Signals,
};

mod application;
mod descriptors;
mod edge;
mod failing;
mod metrics;
mod redirect;
mod reload;
mod routes;
mod rules;
mod status;
mod traces;

use application::Applications;
use status::Board;

/// Wishes that may wait while another is fulfilled.
const WISHES: usize = 16;

/// How long the hub may take to save its state, after everything else has ended.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Where plans come from: the same place at the start and at every reload.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) flags: Flags,
    pub(crate) environment: Environment,
    /// The current folder.
    pub(crate) folder: PathBuf,
}

impl Source {
    pub(crate) fn plan(&self) -> Result<Plan, Mistakes> {
        Plan::load(&self.flags, &self.environment, &self.folder)
    }
}

/// Serves until somebody stops it. `farewell` is told after the addresses.
pub(crate) fn serve(source: Source, farewell: &[&str]) -> Result<ExitCode, Failure> {
    let plan = source.plan()?;
    logging::start(&plan.log, &plan.log_files)?;
    // One thread, the main one: children are forked from it, and they end with it. What carries
    // traffic are the gateway's own threads.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Other, error))?;
    let result = runtime.block_on(run(source, plan, farewell));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run(source: Source, plan: Plan, farewell: &[&str]) -> Result<ExitCode, Failure> {
    let (intents, mut wanted) = mpsc::channel(WISHES);
    let signals = Signals::catch().map_err(|error| Failure::new(Kind::Other, error))?;
    let tracker = TaskTracker::new();
    tracker.spawn(signals.pass_on(intents.clone()));
    let started = tokio::select! {
        started = Site::start(source, plan, intents, &tracker) => started?,
        () = until_stopped(&mut wanted) => {
            tracing::info!("stopped before the site was ready");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let (mut site, gateway) = started;
    let (stop, now) = (CancellationToken::new(), CancellationToken::new());
    site.board.tell_addresses(edge::told(&site.plan, gateway.addresses()));
    let addresses = site.board.addresses();
    let mut edge = tracker.spawn(gateway.run(stop.clone(), now.clone()));
    announce(&addresses, farewell);
    tracing::info!(addresses = addresses.join(" "), "ready");
    tokio::select! {
        () = site.until_stopped(&mut wanted) => {}
        _ = &mut edge => return Err(Failure::new(Kind::Fault, "the gateway ended by itself")),
    }
    tracing::info!("stopping: requests under way are finished first");
    stop.cancel();
    let is_hasty = tokio::select! {
        _ = edge => false,
        () = until_hurried(&mut wanted) => true,
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

/// Waits until somebody wants the end, refusing everything else: there is nothing yet to reload.
async fn until_stopped(wanted: &mut mpsc::Receiver<Intent>) {
    loop {
        match wanted.recv().await {
            None | Some(Intent::Stop | Intent::StopNow) => return,
            Some(Intent::Reload(asked)) => refuse(asked, "the program is not ready yet"),
            Some(Intent::ReopenLogs) => {}
        }
    }
}

/// Waits until somebody wants the end now, while the end is on its way already.
async fn until_hurried(wanted: &mut mpsc::Receiver<Intent>) {
    loop {
        match wanted.recv().await {
            Some(Intent::StopNow) => return,
            Some(Intent::Reload(asked)) => refuse(asked, "the program is stopping"),
            Some(Intent::Stop | Intent::ReopenLogs) => {}
            None => std::future::pending().await,
        }
    }
}

fn refuse(asked: Option<Asked>, why: &str) {
    tracing::warn!("no reload: {why}");
    if let Some(asked) = asked {
        asked.end(Err(Refusal::new(why)));
    }
}

/// Everything that runs, but the gateway's threads.
struct Site {
    source: Source,
    plan: Plan,
    routes: Routes,
    /// The routes that are ours to change: those of notebooks are the hub's.
    placed: Vec<(Option<String>, String)>,
    upstreams: Option<Arc<Upstreams>>,
    /// The site that runs elsewhere.
    elsewhere: Option<UpstreamId>,
    applications: Applications,
    hub: Option<Arc<Hub>>,
    tls: Option<Arc<Tls>>,
    access_log: Option<AccessLog>,
    meter: Option<Arc<Meter>>,
    board: Arc<Board>,
    /// Ends what runs beside the requests.
    stop: CancellationToken,
    tracker: TaskTracker,
    _lock: Lock,
}

impl Site {
    /// Starts everything in order. Requests are answered once the gateway runs.
    async fn start(
        source: Source,
        plan: Plan,
        intents: mpsc::Sender<Intent>,
        tracker: &TaskTracker,
    ) -> Result<(Self, Gateway), Failure> {
        let lock = plan.folders.open().map_err(failing::folders)?;
        let socket = plan.folders.control_socket();
        let secret = make_secret(&socket).map_err(|error| failing::file(&socket, error))?;
        let tls = edge::certificates(&plan)?;
        let access_log = edge::access_log(&plan)?;
        let routes = Routes::new();
        let (control_routes, redirecting) = (Routes::new(), Routes::new());
        let metrics_routes = Routes::new();
        let meter = plan.metrics.as_ref().map(|_| Meter::new(plan.threads));
        let tracer = plan.traces.as_ref().map(|traces| traces::start(traces, tracker));
        let open = edge::Open {
            plan: &plan,
            environment: &source.environment,
            routes: &routes,
            control: &control_routes,
            redirecting: &redirecting,
            tls: tls.as_deref(),
            access_log: access_log.clone(),
            metrics: &metrics_routes,
            meter: meter.clone(),
            tracer: tracer.clone(),
        };
        let gateway = open.bind()?;
        redirect::fill(&redirecting, &gateway.addresses());
        let (upstreams, elsewhere) = routes::upstreams(&plan.site).unzip();
        metrics::name_notebooks(&plan, &routes, meter.as_deref());
        let hub = open_hub(&source, &plan, &routes, upstreams.clone()).await?;
        let board = Arc::new(Board::new(&plan, upstreams.clone()));
        let notebooks = hub.as_ref().map(|hub| hub.service());
        if let Some(meter) = &meter {
            let sources = metrics::Sources {
                meter: meter.clone(),
                board: board.clone(),
                notebooks: notebooks.clone(),
                tracer,
            };
            metrics::serve_on(&metrics_routes, sources);
        }
        let told = Arc::clone(&board);
        let status = Arc::new(move || told.tell());
        Control::new(secret, intents, status, notebooks).serve_on(&control_routes);
        let applications = Applications::start(&source, &plan, upstreams.as_ref(), tracker).await?;
        board.watch(&applications);
        routes.serve_only(plan.site.hosts.as_deref());
        let placed = routes::place(
            &routes,
            routes::all(&plan, upstreams.as_ref(), &applications, meter.as_deref()),
        );
        let site = Self {
            source,
            plan,
            routes,
            placed,
            upstreams,
            elsewhere: elsewhere.flatten(),
            applications,
            hub,
            tls,
            access_log,
            meter,
            board,
            stop: CancellationToken::new(),
            tracker: tracker.clone(),
            _lock: lock,
        };
        site.run_beside();
        Ok((site, gateway))
    }

    /// Starts what runs beside the requests.
    fn run_beside(&self) {
        if let Some(hub) = self.hub.clone() {
            let stop = self.stop.clone();
            self.tracker.spawn(async move { hub.run(stop).await });
        }
        if let Some(tls) = self.tls.clone() {
            let stop = self.stop.clone();
            self.tracker.spawn(async move { tls.watch(stop).await });
        }
    }

    /// Fulfils wishes until one is the end.
    async fn until_stopped(&mut self, wanted: &mut mpsc::Receiver<Intent>) {
        let mut waiting = VecDeque::new();
        loop {
            let intent = match waiting.pop_front() {
                Some(intent) => intent,
                None => wanted.recv().await.unwrap_or(Intent::Stop),
            };
            match intent {
                Intent::Stop | Intent::StopNow => return,
                Intent::ReopenLogs => {
                    self.access_log.iter().for_each(AccessLog::reopen);
                    logging::reopen();
                }
                Intent::Reload(asked) => {
                    let reloaded = tokio::select! {
                        reloaded = self.reload(asked.as_ref()) => reloaded,
                        () = until_end_wanted(wanted, &mut waiting) => {
                            refuse(asked, "the program is stopping");
                            return;
                        }
                    };
                    tell_reloaded(reloaded, asked);
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
        self.stop.cancel();
        self.tracker.close();
        wanted.close();
        while wanted.recv().await.is_some() {}
        if timeout(LAST_WORDS, self.tracker.wait()).await.is_err() {
            tracing::warn!("something did not end in time; it is left behind");
        }
    }
}

/// Waits for a wish to end; other wishes wait for their turn.
async fn until_end_wanted(wanted: &mut mpsc::Receiver<Intent>, waiting: &mut VecDeque<Intent>) {
    loop {
        match wanted.recv().await {
            None | Some(Intent::Stop | Intent::StopNow) => return,
            Some(Intent::Reload(asked)) if waiting.len() >= WISHES => {
                refuse(asked, "too many reloads are waiting");
            }
            Some(other) => waiting.push_back(other),
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
        asked.end(reloaded);
    }
}

async fn open_hub(
    source: &Source,
    plan: &Plan,
    routes: &Routes,
    upstreams: Option<Arc<Upstreams>>,
) -> Result<Option<Arc<Hub>>, Failure> {
    let Some(notebook) = plan.notebook.clone() else { return Ok(None) };
    application::package(source)?;
    let hub = Hub::open(notebook, routes.clone(), upstreams).await.map_err(failing::hub)?;
    Ok(Some(Arc::new(hub)))
}
