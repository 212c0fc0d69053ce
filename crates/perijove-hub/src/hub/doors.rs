//! Who keeps the doors of notebooks, as the plan wants it, and the routes that are always there.

use std::{io, sync::Arc};

use perijove_gateway::{CookieNames, Guard, Route, Routes, Service, Target, Upstreams};

use super::OpenError;
use crate::{
    authority::{Authenticator, Authority},
    config::{Plan, VouchedBy},
    core::{Core, Front},
    crossing::Crossing,
    entrance::Entrance,
    guard::{Door, Side, Threshold},
    login::Login,
    session::COOKIE_NAMES,
    site::Asked,
    spent::Spent,
    ticket::Tickets,
};

/// Who says who may pass.
#[derive(Debug)]
pub(super) struct Doors {
    /// At the addresses of notebooks.
    pub(super) authenticator: Arc<dyn Authenticator>,
    /// At the same paths of the site, where notebooks have a domain to themselves.
    behind: Option<Arc<dyn Authenticator>>,
    login: Option<Arc<Login>>,
    pub(super) tickets: Option<Tickets>,
}

impl Doors {
    /// Reads what the state folder knows. It blocks.
    pub(super) fn open(plan: &Plan, site: Option<&Arc<Upstreams>>) -> Result<Self, OpenError> {
        let told = |error: io::Error| OpenError::State(error.to_string());
        let mut login = None;
        let known: Option<Arc<dyn Authenticator>> = match plan.vouched_by {
            VouchedBy::Site => {
                let site = site.ok_or(OpenError::NoAuthority)?.clone();
                Some(Arc::new(Authority::new(Arc::new(Asked::new(site)))))
            }
            VouchedBy::Login => {
                let spent = Arc::new(Spent::open(&plan.state_folder).map_err(told)?);
                let opened = Arc::new(Login::open(plan, spent).map_err(told)?);
                login = Some(opened.clone());
                Some(opened)
            }
            VouchedBy::Ticket => None,
        };
        match known {
            Some(known) if plan.domain.is_none() => {
                Ok(Self { authenticator: known, behind: None, login, tickets: None })
            }
            behind => {
                let tickets = Tickets::open(plan, behind.clone()).map_err(told)?;
                let authenticator = Arc::new(tickets.clone());
                Ok(Self { authenticator, behind, login, tickets: Some(tickets) })
            }
        }
    }

    /// What goes on beside the requests.
    pub(super) fn watched(&self) -> Arc<dyn Authenticator> {
        self.behind.as_ref().unwrap_or(&self.authenticator).clone()
    }

    /// The names of cookies that no notebook may touch: the site's, and our own.
    pub(super) fn cookie_names(&self, site: Option<&Arc<Upstreams>>) -> Arc<CookieNames> {
        let names = site.map(|site| site.cookie_names().clone()).unwrap_or_default();
        if self.login.is_some() || self.tickets.is_some() {
            for name in COOKIE_NAMES {
                names.record(name.as_bytes());
            }
        }
        names
    }

    /// Where users sign in and out, where tickets are taken, and where they are given; the root, too,
    /// where there is no site, and on a domain of notebooks.
    pub(super) fn insert_routes(self, core: &Arc<Core>, routes: &Routes, front: &Front) {
        let plan = core.plan.load();
        let entrance = |login, tickets, side| {
            let service = Entrance::new(core.clone(), login, tickets, side);
            let mut route = Route::new(Target::Service(Arc::new(service) as Arc<dyn Service>));
            route.guard = Some(Arc::new(Threshold::new(core.clone(), side)) as Arc<dyn Guard>);
            route.ancestors.clone_from(&front.ancestors);
            route
        };
        let own = format!("{}-/", plan.path);
        let is_site = plan.vouched_by == VouchedBy::Site;
        if let Some(hosts) = plan.hosts() {
            let route = entrance(None, self.tickets.clone(), Side::Domain);
            routes.insert(Some(&hosts), &own, route.clone());
            routes.insert(Some(&hosts), "/", route);
        }
        if let (Some(behind), Some(tickets)) = (self.behind, &self.tickets) {
            let crossing = Crossing::new(core.clone(), tickets.clone());
            let mut route = Route::new(Target::Service(Arc::new(crossing)));
            route.guard = Some(Arc::new(Door::new(core.clone(), behind, Side::Site)));
            route.ancestors.clone_from(&front.ancestors);
            // As much as a notebook takes, as everywhere: a limit must not tell.
            route.limits.body = crate::core::BODY;
            routes.insert(None, &plan.path, route);
        }
        if is_site {
            return;
        }
        let tickets = self.tickets.filter(|_| plan.domain.is_none());
        let route = entrance(self.login, tickets, Side::Site);
        if plan.is_alone {
            routes.insert(None, "/", route.clone());
        }
        routes.insert(None, &own, route);
    }
}

/// Where the routes are that are there whether or not anybody has a notebook: host and path.
pub(super) fn root_paths(plan: &Plan) -> Vec<(Option<String>, String)> {
    let entrance = format!("{}-/", plan.path);
    let own = [plan.path.clone(), plan.path.trim_end_matches('/').to_owned()];
    let below = plan.site_paths.iter().map(|path| format!("{}{path}", plan.path));
    let root = plan.is_alone.then(|| "/".to_owned());
    let at_site = own.clone().into_iter().chain(below).chain(root).chain([entrance.clone()]);
    let hosts = plan.hosts();
    let at_domain = own.into_iter().chain([entrance, "/".to_owned()]);
    let at_domain = at_domain.filter(|_| hosts.is_some()).map(|path| (hosts.clone(), path));
    at_site.map(|path| (None, path)).chain(at_domain).collect()
}

/// The routes that are there whether or not anybody has a notebook.
pub(super) fn insert_routes(
    plan: &Plan,
    routes: &Routes,
    front: &Front,
    site: Option<&Arc<Upstreams>>,
) {
    let hosts = plan.hosts();
    let to_slash = Target::Redirect { status: 308, location: plan.path.as_str().into() };
    let without_slash = plan.path.trim_end_matches('/');
    routes.insert(hosts.as_deref(), &plan.path, front.route());
    routes.insert(hosts.as_deref(), without_slash, Route::new(to_slash.clone()));
    routes.insert(None, without_slash, Route::new(to_slash));
    let Some(site) = site else { return };
    for path in &plan.site_paths {
        let target = Target::Proxy { files: Arc::new([]), upstreams: site.clone() };
        routes.insert(None, &format!("{}{path}", plan.path), Route::new(target));
    }
}
