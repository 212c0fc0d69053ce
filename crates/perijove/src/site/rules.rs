//! What holds on a route whatever its target is: who may pass, how bodies are received, how long
//! silence may last.

use std::sync::Arc;

use perijove_apps::Driver;
use perijove_gateway::{Access, Guard, Route, Spooling, UpstreamSettings, Upstreams};

use super::{
    application::{Applications, Place},
    hooks::{Hooks, Kept},
};
use crate::config::{
    Plan,
    plan::{Admission, Application, RoutePlan, RouteTarget, SiteTarget, covers},
};

/// The rules of a plan.
pub(super) struct Rules<'a> {
    plan: &'a Plan,
    /// Who is asked about users and addresses.
    judges: Option<Arc<Upstreams>>,
    kept: Arc<Kept>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(plan: &'a Plan, applications: &Applications) -> Self {
        let judges = applications.at(&Place::of_access()).map(|found| found.upstreams.clone());
        Self { plan, judges, kept: Arc::new(Kept::new()) }
    }

    /// Puts the rules of the site on one of its routes.
    pub(super) fn of_site(&self, path: &str, route: &mut Route) {
        let Plan { site, .. } = self.plan;
        let runs_here = matches!(&site.target, SiteTarget::Application(app) if is_held(app));
        self.of_all(path, route);
        route.spooling = self.spooling(site.body_buffer, runs_here, site.body_limit);
    }

    /// Puts the rules of a further path on its route.
    pub(super) fn of_path(&self, written: &RoutePlan, route: &mut Route) {
        let runs_here = matches!(&written.target, RouteTarget::Application(app) if is_held(app));
        self.of_all(&written.path, route);
        route.guard = access(&written.admission, route.guard.take());
        route.spooling = self.spooling(written.body_buffer, runs_here, written.body_limit);
    }

    fn of_all(&self, path: &str, route: &mut Route) {
        let Plan { limits, access: rules, .. } = self.plan;
        route.limits.upgrade_silence = limits.websocket_idle_time.0;
        let mut admission = rules.admission.clone();
        admission.needs_certificate |= covers(&rules.certificate_paths, path);
        let hooks = self.hooks(path, route);
        route.guard = access(&admission, hooks);
    }

    /// Asks the site's functions, where they are to be asked. Who has signed in is told onward; the
    /// password is not.
    fn hooks(&self, path: &str, route: &mut Route) -> Option<Arc<dyn Guard>> {
        let rules = &self.plan.access;
        let auth = rules.auth.clone().filter(|auth| covers(&auth.paths, path));
        let allow = rules.allow.clone().filter(|allow| covers(&allow.paths, path));
        if auth.is_none() && allow.is_none() {
            return None;
        }
        if auth.is_some() {
            route.rewrite.remove =
                [&*route.rewrite.remove, &["authorization".to_owned()]].concat().into();
        }
        // Where nobody could be asked, nobody passes: an empty set has no answer.
        let upstreams =
            self.judges.clone().unwrap_or_else(|| Upstreams::new(UpstreamSettings::default()));
        Some(Arc::new(Hooks { upstreams, auth, allow, kept: self.kept.clone() }))
    }

    /// Which bodies are received as a whole: where nobody said so, all for an application of ours.
    fn spooling(&self, most: Option<u64>, runs_here: bool, limit: u64) -> Option<Spooling> {
        let most = most.unwrap_or(if runs_here { limit } else { 0 });
        (most > 0).then(|| Spooling { most, folder: self.plan.scratch.as_path().into() })
    }
}

/// Whether a client that sends slowly would hold a thread of an application. One of ASGI that our own
/// workers run tells so itself.
fn is_held(application: &Application) -> bool {
    !matches!(application.driver, Driver::Uvicorn | Driver::Command(_))
}

/// A guard for the rules, and for what is asked behind them; none where everybody may pass.
fn access(admission: &Admission, then: Option<Arc<dyn Guard>>) -> Option<Arc<dyn Guard>> {
    let access = Access {
        deny: admission.deny.clone(),
        allow: admission.allow.clone(),
        needs_certificate: admission.needs_certificate,
        then: None,
    };
    if access.is_open() { then } else { Some(Arc::new(Access { then, ..access })) }
}
