//! The routes of a plan, as the gateway wants them.

use std::{slice, sync::Arc};

use perijove_gateway::{
    FileMemory, Files, Limits, Meter, Moved, Protocol, Route, Routes, Target, Upstream,
    UpstreamAddress, UpstreamId, UpstreamSettings, Upstreams,
};

use super::{
    application::{self, Applications, Place},
    finish,
    rules::Rules,
    services::Services,
};
use crate::config::{
    Plan,
    plan::{RoutePlan, RouteTarget, SitePlan, SiteTarget, StaticPlan, UpstreamAt, covers},
};

/// Bytes of small files that are kept in memory.
const FILE_MEMORY: usize = 64 << 20;

/// A host (or every one), a path, and what is there.
pub(super) type Placed = (Option<String>, String, Route);

/// What a site's requests are sent to, and which of it is a site that runs elsewhere. Whoever runs
/// the application adds its workers.
pub(super) fn upstreams(plan: &Plan) -> (Arc<Upstreams>, Option<UpstreamId>) {
    let upstreams = Upstreams::new(application::settings(plan));
    let elsewhere = match &plan.site.target {
        SiteTarget::Upstream(address) => Some(upstreams.add(elsewhere(address))),
        SiteTarget::Application(_) | SiteTarget::Nothing => None,
    };
    (upstreams, elsewhere)
}

/// What a site's requests are sent to; none when it is files alone.
pub(super) fn used<'a>(
    site: &SitePlan,
    upstreams: &'a Arc<Upstreams>,
) -> Option<&'a Arc<Upstreams>> {
    (!matches!(site.target, SiteTarget::Nothing)).then_some(upstreams)
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
    (applications, services): (&Applications, &Services),
    meter: Option<&Meter>,
) -> Vec<Placed> {
    // One for all folders together.
    let memory = FileMemory::new(FILE_MEMORY);
    let rules = Rules::new(plan, applications);
    let mut placed = site(plan, upstreams, &memory);
    let finish = finish::of_site(&plan.site, &memory);
    for (_, path, route) in &mut placed {
        rules.of_site(path, route);
        route.finish.clone_from(&finish);
    }
    placed.extend(plan.routes.iter().filter_map(|written| {
        let mut placed = further(written, (applications, services), &memory)?;
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

pub(super) fn elsewhere(address: &UpstreamAt) -> Upstream {
    let address = match address {
        UpstreamAt::Tcp(address) => UpstreamAddress::Tcp(address.clone()),
        UpstreamAt::Unix(path) => UpstreamAddress::Unix(path.clone()),
    };
    let protocol = Protocol::Http1;
    Upstream { address, protocol, capacity: None, account: None, is_replaced: false }
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
        Some(Route { limits: limits.clone(), ..Route::new(target) })
    };
    // Each path once; several folders at one path are asked in their order.
    let mut paths: Vec<&str> = vec!["/"];
    let open = || site.files.iter().filter(|files| !files.is_internal);
    paths.extend(open().map(|files| files.path.as_str()));
    // And those where something else is asked, with the files that lie there all the same.
    paths.extend(plan.access.paths());
    paths.sort_unstable();
    paths.dedup();
    let placed = |path: &str| {
        let around = open().map(|files| &files.path).filter(|at| covers(slice::from_ref(at), path));
        let at = around.max_by_key(|at| at.len()).map_or(path, String::as_str);
        let here: Vec<&StaticPlan> = open().filter(|files| files.path == at).collect();
        Some((None, path.to_owned(), route(&here)?))
    };
    paths.into_iter().filter_map(placed).collect()
}

/// None when its application does not run: it is started before its route is placed.
fn further(
    plan: &RoutePlan,
    (applications, services): (&Applications, &Services),
    memory: &FileMemory,
) -> Option<Placed> {
    let target = match &plan.target {
        RouteTarget::Application(_) => {
            let place = Place { host: plan.host.clone(), path: plan.path.clone() };
            let upstreams = Arc::clone(&applications.at(&place)?.upstreams);
            Target::Proxy { files: Arc::new([]), upstreams }
        }
        RouteTarget::Service(name) => {
            let upstreams = services.upstreams(name)?;
            Target::Proxy { files: Arc::new([]), upstreams }
        }
        RouteTarget::Files(files) => Target::Files(Arc::new(files.open(memory))),
        RouteTarget::Redirect { status, to } => {
            Target::Moved(Arc::new(Moved::new(*status, &plan.path, to)))
        }
        RouteTarget::Upstream(address) => {
            let settings =
                UpstreamSettings { connect_time: plan.connect_time, ..UpstreamSettings::default() };
            let upstreams = Upstreams::new(settings);
            upstreams.add(elsewhere(address));
            Target::Proxy { files: Arc::new([]), upstreams }
        }
    };
    let limits =
        Limits { body: plan.body_limit, response_time: plan.response_time, ..Limits::default() };
    Some((plan.host.clone(), plan.path.clone(), Route { limits, ..Route::new(target) }))
}
