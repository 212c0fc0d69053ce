//! How the program is doing, for whoever asks on the control socket.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use perijove_apps::App;
use perijove_gateway::Upstreams;
use serde_json::{Value, json};

use crate::config::{Plan, plan::SiteTarget};

/// What is told. Read by the gateway's threads, written by the main one.
#[derive(Debug)]
pub(super) struct Board {
    began: Instant,
    upstreams: Option<Arc<Upstreams>>,
    addresses: OnceLock<Vec<String>>,
    app: OnceLock<App>,
    /// Facts of the plan in use; changed by a reload, held for moments.
    facts: Mutex<Value>,
}

impl Board {
    pub(super) fn new(plan: &Plan, upstreams: Option<Arc<Upstreams>>) -> Self {
        Self {
            began: Instant::now(),
            upstreams,
            addresses: OnceLock::new(),
            app: OnceLock::new(),
            facts: Mutex::new(facts(plan)),
        }
    }

    pub(super) fn tell_addresses(&self, addresses: Vec<String>) {
        self.addresses.get_or_init(|| addresses);
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        self.addresses.get().cloned().unwrap_or_default()
    }

    pub(super) fn watch(&self, app: Option<App>) {
        if let Some(app) = app {
            self.app.get_or_init(|| app);
        }
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
        let more = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "process": std::process::id(),
            "running": self.began.elapsed().as_secs(),
            "addresses": self.addresses(),
            "under-way": under_way,
            "waiting": waiting,
            "application": self.app.get().map(App::status),
        });
        if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
            told.extend(more);
        }
        told
    }
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
