//! What all parts of the hub share: the plan, the servers, the routes they have.

use std::{
    collections::HashMap,
    fmt, fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use perijove_gateway::{
    Ancestors, Confinement, CookieNames, Guard, Limits, Protocol, Rewrite, Route, Routes, Secret,
    Service, Target, Upstream, UpstreamAddress, UpstreamSettings, Upstreams,
};
use tokio::{runtime::Handle, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Plan,
    launch::LaunchError,
    notebook::Notebook,
    pending::Waiting,
    record::{Record, Token},
    seats::{Full, Seat, SeatLimits, Seats},
    server::{Server, View, task::Task},
    spawn::{Place, Spawner},
    store::Saver,
    user::User,
};

/// Bytes of a request's body on its way to a notebook.
pub(crate) const BODY: u64 = 2 << 30;
/// A notebook may think for long: it converts documents, reads large files.
const RESPONSE_TIME: Duration = Duration::from_secs(600);

/// Shared by the hub, its tasks, its pages and its guard.
pub(crate) struct Core {
    pub(crate) plan: ArcSwap<Plan>,
    pub(crate) spawner: Arc<dyn Spawner>,
    pub(crate) saver: Saver,
    pub(crate) stop: CancellationToken,
    /// Another hub has followed this one.
    pub(crate) followed: CancellationToken,
    pub(crate) tasks: TaskTracker,
    routes: Routes,
    /// The runtime on which servers are looked after: their processes are started from its thread.
    runtime: Handle,
    /// Held for the length of one look or one change.
    servers: Mutex<HashMap<Notebook, Server>>,
    seats: Seats,
    pub(crate) waiting: Waiting,
    /// The guard and the pages of every notebook, once they are made.
    front: Mutex<Option<Front>>,
}

/// What stands before notebooks.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub(crate) guard: Arc<dyn Guard>,
    pub(crate) pages: Arc<dyn Service>,
    /// What the site sets as cookies, which no notebook may touch.
    pub(crate) site_cookies: Arc<CookieNames>,
    /// Which pages may show it in a frame, where that is said.
    pub(crate) ancestors: Option<Arc<Ancestors>>,
}

impl Core {
    pub(crate) fn new(
        plan: Plan,
        routes: Routes,
        saver: Saver,
        spawner: Arc<dyn Spawner>,
    ) -> Arc<Self> {
        Arc::new(Self {
            plan: ArcSwap::from_pointee(plan),
            spawner,
            saver,
            stop: CancellationToken::new(),
            followed: CancellationToken::new(),
            tasks: TaskTracker::new(),
            routes,
            runtime: Handle::current(),
            servers: Mutex::default(),
            seats: Seats::default(),
            waiting: Waiting::default(),
            front: Mutex::default(),
        })
    }

    /// A seat among the notebooks that run.
    pub(crate) fn seat(&self, user: &User) -> Result<Seat, LaunchError> {
        if self.waiting.is_queue() {
            // Nobody passes those who wait in line.
            return Err(LaunchError::TooMany { limit: self.plan.load().max_notebooks });
        }
        self.seat_of_queue(user)
    }

    /// Each time that a seat is given back.
    pub(crate) fn seat_changes(&self) -> watch::Receiver<u64> {
        self.seats.follow()
    }

    /// A seat for whoever is first in line.
    pub(crate) fn seat_of_queue(&self, user: &User) -> Result<Seat, LaunchError> {
        let plan = self.plan.load();
        let limits = SeatLimits { all: plan.max_notebooks, each: plan.max_per_user };
        self.seats.take(user, limits).map_err(|full| match full {
            Full::All => LaunchError::TooMany { limit: limits.all },
            Full::User => LaunchError::TooManyOfOne { limit: limits.each },
        })
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.seats.are_free()
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// A seat for a notebook that runs already.
    pub(crate) fn seat_anyway(&self, user: &User) -> Seat {
        self.seats.take_anyway(user)
    }

    pub(crate) fn server(&self, notebook: &Notebook) -> Option<Server> {
        self.servers().get(notebook).cloned()
    }

    /// All servers, in the order of their users' names and their own.
    pub(crate) fn all(&self) -> Vec<(Notebook, View)> {
        let servers = self.servers();
        let all = servers.iter().map(|(notebook, server)| (notebook.clone(), server.view()));
        let mut all: Vec<_> = all.collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// A notebook's server, whose task is begun when there is none yet.
    pub(crate) fn server_or_new(self: &Arc<Self>, notebook: &Notebook) -> Server {
        let mut servers = self.servers();
        if let Some(server) = servers.get(notebook) {
            return server.clone();
        }
        let server = self.begin(notebook, None);
        servers.insert(notebook.clone(), server.clone());
        server
    }

    /// Takes up what an earlier process has left.
    pub(crate) fn adopt(self: &Arc<Self>, record: Record) {
        let notebook = record.notebook.clone();
        let server = self.begin(&notebook, Some(record));
        self.servers().insert(notebook, server);
    }

    fn begin(self: &Arc<Self>, notebook: &Notebook, record: Option<Record>) -> Server {
        let place = Place::new(&self.plan.load(), notebook);
        let (server, messages, view) = Server::new(View::blank(&place));
        self.insert_own_pages(notebook, &place);
        let mut task = Task::new(self.clone(), notebook.clone(), place, messages, view);
        if let Some(record) = record {
            task.adopt(record);
        }
        self.tasks.spawn_on(task.run(), &self.runtime);
        server
    }

    /// Runs something beside the servers, until the hub ends.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    fn servers(&self) -> MutexGuard<'_, HashMap<Notebook, Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what stands before every notebook.
    pub(crate) fn set_front(&self, front: Front) {
        *self.front.lock().unwrap_or_else(PoisonError::into_inner) = Some(front);
    }

    fn front(&self) -> Option<Front> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets requests through to a notebook.
    pub(crate) fn open_door(&self, notebook: &Notebook, place: &Place, token: &Token) {
        let Some(front) = self.front() else { return };
        let settings = UpstreamSettings {
            wait: Duration::from_secs(10),
            queue: 1024,
            connect_time: Duration::from_secs(5),
        };
        let upstreams = Upstreams::new(settings);
        upstreams.add(Upstream {
            address: UpstreamAddress::Unix(place.socket.clone()),
            protocol: Protocol::Http1,
            capacity: None,
            account: Some(rustix::process::getuid().as_raw()),
            is_replaced: false,
        });
        let mut route = Route::new(Target::Proxy { files: Arc::new([]), upstreams });
        route.guard = Some(front.guard.clone());
        route.limits = Limits { body: BODY, response_time: RESPONSE_TIME, ..Limits::default() };
        // What the client sends as Authorization is meant for the site.
        route.rewrite = Rewrite {
            remove: Arc::new(["authorization".to_owned()]),
            set: Arc::new([(
                "authorization".to_owned(),
                Secret::new(format!("token {}", token.reveal())),
            )]),
            ..Rewrite::default()
        };
        let confinement =
            Confinement::new(place.address.clone()).beside(front.site_cookies.clone());
        route.confinement = Some(Arc::new(confinement));
        route.ancestors.clone_from(&front.ancestors);
        // Jupyter compares its base URL with what was sent, byte for byte.
        route.reads_as_sent = true;
        let host = self.plan.load().host_of(&notebook.user);
        self.routes.insert(host.as_deref(), &place.address, route);
        self.routes.insert(host.as_deref(), &own_pages(place), front.route());
        tracing::debug!(%notebook, address = place.address, "route inserted");
    }

    /// Lets no more requests through: they come to the hub's own pages from now on.
    pub(crate) fn close_door(&self, notebook: &Notebook, place: &Place) {
        self.remove_routes(notebook, place);
        self.insert_own_pages(notebook, place);
    }

    /// What lies below a further notebook's address is its own also while it does not run: the
    /// user's first notebook, whose address is shorter, is not asked for it.
    fn insert_own_pages(&self, notebook: &Notebook, place: &Place) {
        if let Some(front) = self.front().filter(|_| !notebook.name.is_first()) {
            let host = self.plan.load().host_of(&notebook.user);
            self.routes.insert(host.as_deref(), &place.address, front.route());
        }
    }

    fn remove_routes(&self, notebook: &Notebook, place: &Place) {
        let host = self.plan.load().host_of(&notebook.user);
        self.routes.remove(host.as_deref(), &place.address);
        self.routes.remove(host.as_deref(), &own_pages(place));
    }

    /// Lets no more requests through to any notebook.
    pub(crate) fn close_all_doors(&self) {
        let plan = self.plan.load();
        let notebooks: Vec<Notebook> = self.servers().keys().cloned().collect();
        for notebook in notebooks {
            self.remove_routes(&notebook, &Place::new(&plan, &notebook));
        }
    }

    /// Removes the socket of a notebook that has ended.
    pub(crate) async fn clear(&self, notebook: &Notebook, place: &Place) {
        self.close_door(notebook, place);
        let place = place.clone();
        let cleared = self.tasks.spawn_blocking(move || {
            fs::remove_file(&place.socket).ok();
            fs::remove_dir(&place.socket_folder).ok();
        });
        cleared.await.ok();
    }
}

impl Front {
    /// The route to the hub's own pages.
    pub(crate) fn route(&self) -> Route {
        let mut route = Route::new(Target::Service(self.pages.clone()));
        route.guard = Some(self.guard.clone());
        route.ancestors.clone_from(&self.ancestors);
        // As much as a notebook takes, so that the limit does not tell whether one is there.
        route.limits.body = BODY;
        route
    }
}

/// Where the hub's own pages about a notebook lie, also while it runs.
fn own_pages(place: &Place) -> String {
    format!("{}-/", place.address)
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}
