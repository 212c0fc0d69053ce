//! From the plan in use to a new one, without dropping a connection.
//!
//! What can fail is done first, beside the old version; what cannot fail is done last and all at
//! once. So a reload that fails has changed nothing.

use perijove_gateway::Tls;

use super::{Site, routes};
use crate::{
    config::{
        Plan,
        plan::{SiteTarget, UpstreamAt},
    },
    failure::Failure,
};

impl Site {
    /// Reads the configuration again and takes it over. The error is why the old one goes on.
    pub(super) async fn reload(&mut self) -> Result<(), String> {
        let plan = self.source.plan().map_err(|mistakes| mistakes.to_string())?;
        let fixed = need_restart(&self.plan, &plan);
        if !fixed.is_empty() {
            let keys: Vec<String> = fixed.iter().map(|key| format!("`{key}`")).collect();
            return Err(format!("a change of {} needs a restart", keys.join(", ")));
        }
        self.applications.renew(&self.source, &plan).await.map_err(told)?;
        self.take_over(plan)
    }

    fn take_over(&mut self, plan: Plan) -> Result<(), String> {
        if let (Some(hub), Some(notebook)) = (&self.hub, plan.notebook.clone()) {
            hub.reconfigure(notebook).map_err(|error| error.to_string())?;
        }
        self.tls.as_deref().map_or(Ok(()), Tls::reload).map_err(|error| error.to_string())?;
        self.move_upstream(&plan);
        let before = std::mem::take(&mut self.placed);
        let routes = routes::all(&plan, self.upstreams.as_ref(), &self.applications);
        self.routes.serve_only(plan.site.hosts.as_deref());
        self.placed = routes::place(&self.routes, routes);
        for (host, path) in before.iter().filter(|old| !self.placed.contains(old)) {
            self.routes.remove(host.as_deref(), path);
        }
        self.applications.retire(&plan);
        self.board.watch(&self.applications);
        self.board.renew(&plan);
        self.plan = plan;
        Ok(())
    }

    /// A site elsewhere that has moved.
    fn move_upstream(&mut self, plan: &Plan) {
        let (Some(before), Some(now)) = (upstream(&self.plan), upstream(plan)) else { return };
        let Some(upstreams) = self.upstreams.as_ref().filter(|_| before != now) else { return };
        let new = upstreams.add(routes::elsewhere(now));
        if let Some(old) = self.elsewhere.replace(new) {
            upstreams.remove(old);
        }
    }
}

fn upstream(plan: &Plan) -> Option<&UpstreamAt> {
    match &plan.site.target {
        SiteTarget::Upstream(address) => Some(address),
        SiteTarget::Application(_) | SiteTarget::Nothing => None,
    }
}

/// The settings that differ and cannot change while the program runs.
fn need_restart(before: &Plan, now: &Plan) -> Vec<&'static str> {
    let kind = |plan: &Plan| std::mem::discriminant(&plan.site.target);
    let notebook_path = |plan: &Plan| plan.notebook.as_ref().map(|notebook| notebook.path.clone());
    let differs = [
        ("listen", before.listen != now.listen),
        ("tls", before.tls != now.tls),
        ("trusted-proxies", trusted(before) != trusted(now)),
        ("threads", before.threads != now.threads),
        ("limits", before.limits != now.limits),
        ("log", before.log != now.log || before.access_file != now.access_file),
        ("state-folder", before.folders.state != now.folders.state),
        ("runtime-folder", before.folders.runtime != now.folders.runtime),
        ("site.wait", before.site.wait != now.site.wait),
        ("site.queue", before.site.queue != now.site.queue),
        ("site.connect-time", before.site.connect_time != now.site.connect_time),
        ("site.error-pages", before.site.error_pages != now.site.error_pages),
        ("site.upstream", kind(before) != kind(now)),
        ("notebook.path", notebook_path(before) != notebook_path(now)),
    ];
    differs.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect()
}

fn trusted(plan: &Plan) -> (&[(std::net::IpAddr, u8)], bool) {
    (&plan.trusted_proxies, plan.trusts_unix_peers)
}

/// A failure as the reason of another.
fn told(failure: Failure) -> String {
    failure.text().trim_start_matches("error: ").to_owned()
}
