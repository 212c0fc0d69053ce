//! How the program is doing, for whoever asks on the control socket.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use perijove_gateway::Upstreams;
use serde_json::{Value, json};

use super::application::{Applications, Running};
use crate::config::{Plan, plan::SiteTarget};

/// What is told. Read by the gateway's threads, written by the main one.
#[derive(Debug)]
pub(super) struct Board {
    began: Instant,
    upstreams: Option<Arc<Upstreams>>,
    addresses: OnceLock<Vec<String>>,
    /// Changed by a reload, held for moments.
    applications: Mutex<Vec<Running>>,
    /// Facts of the plan in use; changed by a reload, held for moments.
    facts: Mutex<Value>,
}

impl Board {
    pub(super) fn new(plan: &Plan, upstreams: Option<Arc<Upstreams>>) -> Self {
        Self {
            began: Instant::now(),
            upstreams,
            addresses: OnceLock::new(),
            applications: Mutex::default(),
            facts: Mutex::new(facts(plan)),
        }
    }

    pub(super) fn tell_addresses(&self, addresses: Vec<String>) {
        self.addresses.get_or_init(|| addresses);
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        self.addresses.get().cloned().unwrap_or_default()
    }

    pub(super) fn watch(&self, applications: &Applications) {
        self.running().clone_from(&applications.all);
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
            "under-way": under_way,
            "waiting": waiting,
            "application": of_site.map(|running| running.app.status()),
            "applications": running.iter().map(of_application).collect::<Vec<_>>(),
        });
        if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
            told.extend(more);
        }
        told
    }
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
    json!({
        "configuration": plan.file,
        "root": plan.site.root,
        "upstream": upstream,
        "state-folder": plan.folders.state,
        "runtime-folder": plan.folders.runtime,
        "notebook-path": plan.notebook.as_ref().map(|notebook| &notebook.path),
    })
}
