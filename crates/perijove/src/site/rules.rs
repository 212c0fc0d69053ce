//! What holds on a route whatever its target is: who may pass, how bodies are received, how long
//! silence may last.

use std::sync::Arc;

use perijove_gateway::{Access, Guard, Route, Spooling};

use crate::config::{
    Plan,
    plan::{Admission, RoutePlan, RouteTarget, SiteTarget, covers},
};

/// Puts the rules of the site on one of its routes.
pub(super) fn of_site(plan: &Plan, path: &str, route: &mut Route) {
    let runs_here = matches!(plan.site.target, SiteTarget::Application(_));
    of_all(plan, path, route);
    route.spooling = spooling(plan, plan.site.body_buffer, runs_here, plan.site.body_limit);
}

/// Puts the rules of a further path on its route.
pub(super) fn of_path(plan: &Plan, written: &RoutePlan, route: &mut Route) {
    let runs_here = matches!(written.target, RouteTarget::Application(_));
    of_all(plan, &written.path, route);
    let own = access(&written.admission, route.guard.take());
    route.guard = own;
    route.spooling = spooling(plan, written.body_buffer, runs_here, written.body_limit);
}

fn of_all(plan: &Plan, path: &str, route: &mut Route) {
    route.limits.upgrade_silence = plan.limits.websocket_idle_time.0;
    let mut admission = plan.access.admission.clone();
    admission.needs_certificate |= covers(&plan.access.certificate_paths, path);
    route.guard = access(&admission, route.guard.take());
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

/// Which bodies are received as a whole: where nobody said so, all for an application of ours.
fn spooling(plan: &Plan, most: Option<u64>, runs_here: bool, limit: u64) -> Option<Spooling> {
    let most = most.unwrap_or(if runs_here { limit } else { 0 });
    (most > 0).then(|| Spooling { most, folder: plan.scratch.as_path().into() })
}
