//! How the program is doing, for whoever asks on the control socket.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use perijove_gateway::Upstreams;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    application::{Applications, Running},
    elsewhere,
    services::{self, Services},
};
use crate::{
    config::{Plan, plan::SiteTarget},
    control::reload::Refusal,
};

/// What is told. Read by the gateway's threads, written by the main one.
#[derive(Debug)]
pub(super) struct Board {
    began: Instant,
    upstreams: Option<Arc<Upstreams>>,
    /// Told once requests are answered; changed by a reload, held for moments.
    addresses: Mutex<Option<Addresses>>,
    /// Changed by a reload, held for moments.
    applications: Mutex<Vec<Running>>,
    /// The same.
    services: Mutex<Vec<services::Running>>,
    /// Programs elsewhere, by where they are; the same.
    elsewhere: Mutex<Vec<(String, Arc<Upstreams>)>>,
    /// Facts of the plan in use; changed by a reload, held for moments.
    facts: Mutex<Value>,
    reloads: Mutex<Reloads>,
}

/// Where requests are answered.
#[derive(Debug)]
struct Addresses {
    public: Vec<String>,
    metrics: Option<String>,
}

/// How reloads went.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Reloads {
    /// How many took over.
    done: u64,
    failed: u64,
    /// When the last one took over, in seconds since the Unix epoch.
    last: Option<u64>,
    last_failure: Option<LastFailure>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct LastFailure {
    /// In seconds since the Unix epoch.
    at: u64,
    why: String,
    /// What the application wrote last, oldest first.
    last_lines: Vec<String>,
}

impl Board {
    pub(super) fn new(plan: &Plan, upstreams: Option<Arc<Upstreams>>) -> Self {
        Self {
            began: Instant::now(),
            upstreams,
            addresses: Mutex::default(),
            applications: Mutex::default(),
            services: Mutex::default(),
            elsewhere: Mutex::default(),
            facts: Mutex::new(facts(plan)),
            reloads: Mutex::default(),
        }
    }

    /// Notes how a reload went.
    pub(super) fn tell_reload(&self, refusal: Option<&Refusal>) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        match refusal {
            None => {
                reloads.done += 1;
                reloads.last = Some(at);
            }
            Some(Refusal { what, last_lines, .. }) => {
                reloads.failed += 1;
                let (why, last_lines) = (what.clone(), last_lines.clone());
                reloads.last_failure = Some(LastFailure { at, why, last_lines });
            }
        }
    }

    fn reloads(&self) -> Reloads {
        self.reloads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn listens(&self) -> MutexGuard<'_, Option<Addresses>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the site, and that of the metrics.
    pub(super) fn tell_addresses(&self, (addresses, metrics): (Vec<String>, Option<String>)) {
        if let Some(metrics) = &metrics {
            tracing::info!(address = metrics, "metrics");
        }
        *self.listens() = Some(Addresses { public: addresses, metrics });
    }

    /// Whether the addresses were told: requests are answered from then on.
    pub(super) fn is_announced(&self) -> bool {
        self.listens().is_some()
    }

    /// The files of the certificates in use.
    pub(super) fn certificates(&self) -> Vec<PathBuf> {
        let facts = self.lock();
        let files = facts.get("certificates").and_then(Value::as_array);
        files.into_iter().flatten().filter_map(Value::as_str).map(PathBuf::from).collect()
    }

    /// The applications, by where they are, and what their requests are sent to; the site that runs
    /// elsewhere is among them.
    pub(super) fn queues(&self) -> Vec<(String, Arc<Upstreams>)> {
        let running = self.running();
        let of_site = self.upstreams.iter().map(|all| ("/".to_owned(), all.clone()));
        let others = running.iter().filter(|running| !running.place.is_of_site());
        let others = others.map(|one| (one.place.to_string(), one.upstreams.clone()));
        of_site.chain(others).collect()
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        self.listens().as_ref().map(|listens| listens.public.clone()).unwrap_or_default()
    }

    pub(super) fn watch(&self, applications: &Applications, services: &Services) {
        self.running().clone_from(&applications.all);
        *self.services() = services.all();
    }

    pub(super) fn watch_elsewhere(&self, all: Vec<(String, Arc<Upstreams>)>) {
        *self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// Programs elsewhere, by where they are.
    fn elsewhere(&self) -> Vec<(String, Arc<Upstreams>)> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn services(&self) -> MutexGuard<'_, Vec<services::Running>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.applications.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a reload.
    pub(super) fn renew(&self, plan: &Plan) {
        *self.lock() = facts(plan);
    }

    fn lock(&self) -> MutexGuard<'_, Value> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self) -> Value {
        let mut told = self.lock().clone();
        let (under_way, waiting) = self.upstreams.as_ref().map_or((0, 0), |all| all.load());
        let running = self.running().clone();
        let of_site = running.iter().find(|running| running.place.is_of_site());
        let more = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "process": std::process::id(),
            "running": self.began.elapsed().as_secs(),
            "addresses": self.addresses(),
            "metrics": self.listens().as_ref().and_then(|listens| listens.metrics.clone()),
            "reloads": self.reloads(),
            "under-way": under_way,
            "waiting": waiting,
            "application": of_site.map(|running| running.app.status()),
            "applications": running.iter().map(of_application).collect::<Vec<_>>(),
            "upstreams": self.elsewhere().iter().flat_map(elsewhere::status).collect::<Vec<_>>(),
            "services": self.services().iter().map(services::Running::tell).collect::<Vec<_>>(),
        });
        if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
            told.extend(more);
        }
        told
    }
}

/// Where the code of all workers is.
pub(super) async fn stacks(board: Arc<Board>) -> Value {
    let running = board.running().clone();
    let mut told = Vec::new();
    for one in running {
        let workers = one.app.stacks().await;
        let application = one.app.status().application;
        told.push(json!({ "application": application, "workers": workers }));
    }
    Value::from(told)
}

/// One of the applications: where it is, how busy, its workers.
fn of_application(running: &Running) -> Value {
    let (under_way, waiting) = running.upstreams.load();
    let mut told = json!({
        "host": running.place.host,
        "path": running.place.path,
        "under-way": under_way,
        "waiting": waiting,
    });
    if let (Value::Object(told), Ok(Value::Object(more))) =
        (&mut told, serde_json::to_value(running.app.status()))
    {
        told.extend(more);
    }
    told
}

fn facts(plan: &Plan) -> Value {
    let upstream = match &plan.site.target {
        SiteTarget::Upstream(address) => Some(address.to_string()),
        SiteTarget::Application(_) | SiteTarget::Nothing => None,
    };
    let certificates = plan.tls.iter().flat_map(|tls| &tls.settings.certificates);
    let certificates = certificates.map(|files| &files.certificate);
    json!({
        "configuration": plan.file,
        "certificates": certificates.collect::<Vec<_>>(),
        "root": plan.site.root,
        "upstream": upstream,
        "state-folder": plan.folders.state,
        "runtime-folder": plan.folders.runtime,
        "notebook-path": plan.notebook.as_ref().map(|notebook| &notebook.path),
    })
}
