//! The routes of a plan, as the gateway wants them.

use std::sync::Arc;

use perijove_gateway::{FileMemory, Files, Limits, Meter, Moved, Route, Routes, Target, Upstreams};

use super::{
    application::{Applications, Place},
    elsewhere::{self, Elsewhere},
    fences, finish,
    rules::Rules,
    services::Services,
};
use crate::config::{
    Plan,
    plan::{RoutePlan, RouteTarget, SitePlan, SiteTarget, StaticPlan},
};

/// Bytes of small files that are kept in memory.
const FILE_MEMORY: usize = 64 << 20;

/// A host (or every one), a path, and what is there.
pub(super) type Placed = (Option<String>, String, Route);

/// What stands behind routes.
#[derive(Clone, Copy)]
pub(super) struct Behind<'a> {
    pub(super) applications: &'a Applications,
    pub(super) services: &'a Services,
    pub(super) elsewhere: &'a Elsewhere,
}

/// What a site's requests are sent to; none when it is files alone.
pub(super) fn used<'a>(
    site: &SitePlan,
    upstreams: &'a Arc<Upstreams>,
) -> Option<&'a Arc<Upstreams>> {
    (!matches!(site.target, SiteTarget::Nothing)).then_some(upstreams)
}

/// Puts up what guards the site, and whatever else lies at its addresses: other paths, notebooks. To be
/// done before anything is placed.
pub(super) fn fence(plan: &Plan, routes: &Routes, applications: &Applications) {
    let judges = applications.at(&Place::of_access()).map(|found| found.upstreams.clone());
    routes.fence(fences::of(&plan.access, judges));
}

/// Puts routes in place, and says which they are.
pub(super) fn place(routes: &Routes, placed: Vec<Placed>) -> Vec<(Option<String>, String)> {
    let put = |(host, path, route): Placed| {
        routes.insert(host.as_deref(), &path, route);
        (host, path)
    };
    placed.into_iter().map(put).collect()
}

/// Every route of a plan; those of notebooks are the hub's.
pub(super) fn all(
    plan: &Plan,
    upstreams: Option<&Arc<Upstreams>>,
    behind: Behind<'_>,
    meter: Option<&Meter>,
) -> Vec<Placed> {
    // One for all folders together.
    let memory = FileMemory::new(FILE_MEMORY);
    let rules = Rules::new(plan);
    let mut placed = site(plan, upstreams, &memory);
    let finish = finish::of_site(&plan.site, &memory);
    for (_, _, route) in &mut placed {
        rules.of_site(route);
        route.finish.clone_from(&finish);
    }
    placed.extend(plan.routes.iter().filter_map(|written| {
        let mut placed = further(written, behind, &memory)?;
        rules.of_path(written, &mut placed.2);
        placed.2.finish = finish::of_plan(&written.finish, None);
        Some(placed)
    }));
    if let Some(meter) = meter {
        // Each is counted under the path it was written for.
        for (host, path, route) in &mut placed {
            let name = format!("{}{path}", host.as_deref().unwrap_or_default());
            route.label = meter.label(&name);
        }
    }
    placed
}

fn site(plan: &Plan, upstreams: Option<&Arc<Upstreams>>, memory: &FileMemory) -> Vec<Placed> {
    let site = &plan.site;
    let limits =
        Limits { body: site.body_limit, response_time: site.response_time, ..Limits::default() };
    let route = |files: &[&StaticPlan]| {
        let files: Arc<[Arc<Files>]> =
            files.iter().map(|files| Arc::new(files.open(memory))).collect();
        let target = match (upstreams, files.first()) {
            (Some(upstreams), _) => Target::Proxy { files, upstreams: upstreams.clone() },
            (None, first) => Target::Files(first?.clone()),
        };
        let mut route = Route { limits: limits.clone(), ..Route::new(target) };
        if let SiteTarget::Upstream(plan) = &site.target {
            elsewhere::tell(&mut route, plan, "/");
        }
        Some(route)
    };
    // Each path once; several folders at one path are asked in their order.
    let mut paths: Vec<&str> = vec!["/"];
    let open = || site.files.iter().filter(|files| !files.is_internal);
    paths.extend(open().map(|files| files.path.as_str()));
    paths.sort_unstable();
    paths.dedup();
    let placed = |path: &str| {
        let here: Vec<&StaticPlan> = open().filter(|files| files.path == path).collect();
        Some((None, path.to_owned(), route(&here)?))
    };
    paths.into_iter().filter_map(placed).collect()
}

/// None when its application does not run: it is started before its route is placed.
fn further(plan: &RoutePlan, behind: Behind<'_>, memory: &FileMemory) -> Option<Placed> {
    let place = || Place { host: plan.host.clone(), path: plan.path.clone() };
    let sent_to = |upstreams| Target::Proxy { files: Arc::new([]), upstreams };
    let target = match &plan.target {
        RouteTarget::Application(_) => {
            sent_to(Arc::clone(&behind.applications.at(&place())?.upstreams))
        }
        RouteTarget::Service(name) => sent_to(behind.services.upstreams(name)?),
        RouteTarget::Upstream(_) => sent_to(Arc::clone(behind.elsewhere.at(&place())?)),
        RouteTarget::Files(files) => Target::Files(Arc::new(files.open(memory))),
        RouteTarget::Redirect { status, to } => {
            Target::Moved(Arc::new(Moved::new(*status, &plan.path, to)))
        }
    };
    let limits =
        Limits { body: plan.body_limit, response_time: plan.response_time, ..Limits::default() };
    let mut route = Route { limits, ..Route::new(target) };
    if let RouteTarget::Upstream(program) = &plan.target {
        elsewhere::tell(&mut route, program, &plan.path);
    }
    Some((plan.host.clone(), plan.path.clone(), route))
}
