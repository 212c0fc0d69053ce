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
    control::reload::{Asked, Refusal},
};

impl Site {
    /// Reads the configuration again and takes it over; whoever asked is told each step. The error
    /// is why the old one goes on.
    pub(super) async fn reload(&mut self, asked: Option<&Asked>) -> Result<(), Refusal> {
        let told = self.renew(asked).await;
        self.board.tell_reload(told.as_ref().err());
        told
    }

    async fn renew(&mut self, asked: Option<&Asked>) -> Result<(), Refusal> {
        let plan = self.source.plan().map_err(|mistakes| Refusal::new(mistakes.to_string()))?;
        let fixed = need_restart(&self.plan, &plan);
        if !fixed.is_empty() {
            let keys: Vec<String> = fixed.iter().map(|key| format!("`{key}`")).collect();
            let what = format!("a change of {} needs a restart", keys.join(", "));
            return Err(Refusal::new(what));
        }
        let coming = self.applications.prepare(&self.source, &plan, &Asked::tell(asked)).await?;
        let services = self.services.prepare(&self.source, &plan).await?;
        if let (Some(hub), Some(notebook)) = (&self.hub, plan.notebook.clone()) {
            hub.reconfigure(notebook).map_err(Refusal::new)?;
        }
        self.tls.as_deref().map_or(Ok(()), Tls::reload).map_err(Refusal::new)?;
        self.applications.switch(coming).await?;
        self.services.switch(&self.source, &plan, services);
        self.take_over(plan);
        Ok(())
    }

    fn take_over(&mut self, plan: Plan) {
        self.move_upstream(&plan);
        let before = std::mem::take(&mut self.placed);
        let meter = self.meter.as_deref();
        let routes = routes::all(
            &plan,
            self.upstreams.as_ref(),
            (&self.applications, &self.services),
            meter,
        );
        self.roads.site.serve_only(plan.site.hosts.as_deref());
        self.placed = routes::place(&self.roads.site, routes);
        for (host, path) in before.iter().filter(|old| !self.placed.contains(old)) {
            self.roads.site.remove(host.as_deref(), path);
        }
        self.applications.retire(&plan);
        self.board.watch(&self.applications, &self.services);
        self.board.renew(&plan);
        self.plan = plan;
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
        ("log", before.log != now.log || before.log_files != now.log_files),
        ("metrics", before.metrics != now.metrics),
        ("traces", before.traces != now.traces),
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
