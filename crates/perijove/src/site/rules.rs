//! What holds on a route whatever its target is: how bodies are received, how long silence may last.

use perijove_gateway::{Route, Spooling};

use crate::config::{
    Plan,
    plan::{RoutePlan, RouteTarget, SiteTarget},
};

/// Puts the rules of the site on one of its routes.
pub(super) fn of_site(plan: &Plan, route: &mut Route) {
    let runs_here = matches!(plan.site.target, SiteTarget::Application(_));
    of_all(plan, route);
    route.spooling = spooling(plan, plan.site.body_buffer, runs_here, plan.site.body_limit);
}

/// Puts the rules of a further path on its route.
pub(super) fn of_path(plan: &Plan, written: &RoutePlan, route: &mut Route) {
    let runs_here = matches!(written.target, RouteTarget::Application(_));
    of_all(plan, route);
    route.spooling = spooling(plan, written.body_buffer, runs_here, written.body_limit);
}

fn of_all(plan: &Plan, route: &mut Route) {
    route.limits.upgrade_silence = plan.limits.websocket_idle_time.0;
}

/// Which bodies are received as a whole: where nobody said so, all for an application of ours.
fn spooling(plan: &Plan, most: Option<u64>, runs_here: bool, limit: u64) -> Option<Spooling> {
    let most = most.unwrap_or(if runs_here { limit } else { 0 });
    (most > 0).then(|| Spooling { most, folder: plan.scratch.as_path().into() })
}
