//! From the plan in use to a new one, without dropping a connection.
//!
//! What can fail is done first, beside the old version; what cannot fail is done last and all at
//! once. So a reload that fails has changed nothing.

mod listening;
mod notebooks;

use perijove_gateway::Tls;

use super::{Site, application, broken, routes, watching::Baseline};
use crate::{
    config::Plan,
    control::reload::{Asked, Refusal},
    logging,
};
use listening::Listening;

impl Site {
    /// Reads the configuration again and takes it over; whoever asked is told each step. The error
    /// is why the old one goes on.
    pub(super) async fn reload(&mut self, asked: Option<&Asked>) -> Result<(), Refusal> {
        let told = self.renew(asked).await;
        self.board.tell_reload(told.as_ref().err());
        if let Err(refusal) = &told
            && self.plan.life.watch
        {
            self.show(refusal);
        }
        told
    }

    async fn renew(&mut self, asked: Option<&Asked>) -> Result<(), Refusal> {
        let plan = self.source.plan().map_err(|mistakes| Refusal::new(mistakes.to_string()))?;
        let fixed = need_upgrade(&self.plan, &plan);
        if !fixed.is_empty() {
            let keys: Vec<String> = fixed.iter().map(|key| format!("`{key}`")).collect();
            let keys = keys.join(", ");
            let hint = "`perijove upgrade` starts one without closing a socket";
            return Err(Refusal::new(format!(
                "a change of {keys} needs a new process\nhint: {hint}"
            )));
        }
        let baseline = Baseline::of(&plan);
        let listening = self.prepare_listening(&plan)?;
        let tell = Asked::tell(asked);
        let of_site = &self.upstreams;
        let coming = self.applications.prepare(&self.source, &plan, of_site, &tell).await?;
        let services = self.services.prepare(&self.source, &plan).await?;
        if listening.is_none() {
            self.tls.as_deref().map_or(Ok(()), Tls::reload).map_err(Refusal::new)?;
        }
        self.renew_notebooks(&plan).await?;
        self.applications.switch(coming).await?;
        self.services.switch(&self.source, &plan, services);
        self.take_over(plan, listening);
        self.watched.send_replace(baseline);
        Ok(())
    }

    /// Shows in place of the site why its newest version does not serve: while it is developed only.
    pub(super) fn show(&mut self, refusal: &Refusal) {
        self.roads.site.insert(None, "/", broken::route(refusal));
        let top = (None, "/".to_owned());
        // Whatever takes over puts its own there, or takes this away.
        if !self.placed.contains(&top) {
            self.placed.push(top);
        }
    }

    fn take_over(&mut self, plan: Plan, listening: Option<Listening>) {
        self.elsewhere.follow(&self.plan, &plan, &self.upstreams);
        self.upstreams.change(application::settings(&plan));
        for running in &self.applications.all {
            running.upstreams.change(application::settings(&plan));
        }
        let before = std::mem::take(&mut self.placed);
        let meter = self.meter.as_deref();
        let of_site = routes::used(&plan.site, &self.upstreams);
        routes::fence(&plan, &self.roads.site, &self.applications);
        let routes = routes::all(&plan, of_site, self.behind(), meter);
        self.roads.site.serve_only(plan.site.hosts.as_deref());
        self.placed = routes::place(&self.roads.site, routes);
        for (host, path) in before.iter().filter(|old| !self.placed.contains(old)) {
            self.roads.site.remove(host.as_deref(), path);
        }
        logging::change(plan.log.level);
        let moves_pid_file = plan.pid_file != self.plan.pid_file;
        self.plan = plan;
        if let Some(listening) = listening {
            self.listen(listening);
        }
        if moves_pid_file {
            self.pid_file = None;
            self.renew_pid_file();
        }
        self.applications.retire(&self.plan);
        self.watch();
        self.board.renew(&self.plan);
    }
}

/// The settings that differ and cannot change while this process runs.
fn need_upgrade(before: &Plan, now: &Plan) -> Vec<&'static str> {
    let (log, new_log) = (&before.log, &now.log);
    let files = |plan: &Plan| {
        let files = &plan.log_files;
        (files.program.clone(), files.site.clone(), files.audit.clone())
    };
    let differs = [
        ("threads", before.threads != now.threads),
        ("log.format", log.format != new_log.format),
        ("log.file", files(before) != files(now)),
        ("log.rotate", log.rotate != new_log.rotate),
        ("metrics", before.metrics.is_some() != now.metrics.is_some()),
        ("traces", before.traces != now.traces),
        ("state-folder", before.folders.state != now.folders.state),
        ("runtime-folder", before.folders.runtime != now.folders.runtime),
    ];
    differs.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect()
}
