//! Who may pass to the site and to all else that lies at its addresses, by path: networks, certificates
//! of clients, functions in Python.

use std::sync::Arc;

use perijove_gateway::{Access, Fence, Guard, UpstreamSettings, Upstreams};

use super::hooks::{Hooks, Kept};
use crate::config::plan::{AccessPlan, Admission};

/// One fence around everything, and one for each path where something else is asked. `judges` is who is
/// asked about users and addresses.
pub(super) fn of(plan: &AccessPlan, judges: Option<Arc<Upstreams>>) -> Vec<Fence> {
    let kept = Arc::new(Kept::new());
    // Where nobody could be asked, nobody passes: an empty set has no answer.
    let judges = judges.unwrap_or_else(|| Upstreams::new(UpstreamSettings::default()));
    let mut paths: Vec<&str> = std::iter::once("/").chain(plan.paths()).collect();
    paths.sort_unstable();
    paths.dedup();
    let fence = |path: &str| {
        let hooks = hooks(plan, path, &judges, &kept);
        let asks_for_password = hooks.as_ref().is_some_and(|hooks| hooks.auth.is_some());
        // Who has signed in is told onward; the password is not.
        let keeps = if asks_for_password { vec!["authorization".to_owned()] } else { Vec::new() };
        let mut admission = plan.admission.clone();
        admission.needs_certificate |= plan.needs_certificate(path);
        let hooks = hooks.map(|hooks| Arc::new(hooks) as Arc<dyn Guard>);
        Fence { prefix: path.to_owned(), guard: access(&admission, hooks), keeps }
    };
    let fences: Vec<Fence> = paths.into_iter().map(fence).collect();
    if fences.iter().all(|fence| fence.guard.is_none()) { Vec::new() } else { fences }
}

/// Asks the site's functions, where they are to be asked.
fn hooks(
    plan: &AccessPlan,
    path: &str,
    judges: &Arc<Upstreams>,
    kept: &Arc<Kept>,
) -> Option<Hooks> {
    let auth = plan.auth.clone().filter(|auth| auth.reach.has(path));
    let allow = plan.allow.clone().filter(|allow| allow.reach.has(path));
    let is_asked = auth.is_some() || allow.is_some();
    is_asked.then(|| Hooks { upstreams: judges.clone(), auth, allow, kept: kept.clone() })
}

/// A guard for the rules, and for what is asked behind them; none where everybody may pass.
pub(super) fn access(
    admission: &Admission,
    then: Option<Arc<dyn Guard>>,
) -> Option<Arc<dyn Guard>> {
    let access = Access {
        deny: admission.deny.clone(),
        allow: admission.allow.clone(),
        needs_certificate: admission.needs_certificate,
        then: None,
    };
    if access.is_open() { then } else { Some(Arc::new(Access { then, ..access })) }
}
