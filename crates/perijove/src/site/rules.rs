//! What holds on a route whatever its target is: who may pass there beside the site's own rules, how
//! bodies are received, how long silence may last.

use perijove_apps::Driver;
use perijove_gateway::{Route, Spooling};

use super::fences::access;
use crate::config::{
    Plan,
    plan::{Application, RoutePlan, RouteTarget, SiteTarget},
};

/// The rules of a plan.
pub(super) struct Rules<'a> {
    plan: &'a Plan,
}

impl<'a> Rules<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self { plan }
    }

    /// Puts the rules of the site on one of its routes.
    pub(super) fn of_site(&self, route: &mut Route) {
        let Plan { site, .. } = self.plan;
        let runs_here = matches!(&site.target, SiteTarget::Application(app) if is_held(app));
        self.of_all(route);
        route.spooling = self.spooling(site.body_buffer, runs_here, site.body_limit);
    }

    /// Puts the rules of a further path on its route.
    pub(super) fn of_path(&self, written: &RoutePlan, route: &mut Route) {
        let runs_here = matches!(&written.target, RouteTarget::Application(app) if is_held(app));
        self.of_all(route);
        route.guard = access(&written.admission, None);
        route.spooling = self.spooling(written.body_buffer, runs_here, written.body_limit);
    }

    fn of_all(&self, route: &mut Route) {
        route.limits.upgrade_silence = self.plan.limits.websocket_idle_time.0;
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
