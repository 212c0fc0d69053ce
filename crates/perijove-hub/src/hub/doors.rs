//! Who keeps the doors of notebooks, as the plan wants it, and the routes that are always there.

use std::{io, sync::Arc};

use perijove_gateway::{CookieNames, Guard, Route, Routes, Service, Target, Upstreams};

use super::OpenError;
use crate::{
    authority::{Authenticator, Authority},
    config::{Plan, VouchedBy},
    core::{Core, Front},
    entrance::Entrance,
    guard::Threshold,
    login::Login,
    session::COOKIE_NAMES,
    site::Asked,
    spent::Spent,
    ticket::Tickets,
};

/// Who says who may pass.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) authenticator: Arc<dyn Authenticator>,
    login: Option<Arc<Login>>,
    pub(super) tickets: Option<Tickets>,
}

impl Doors {
    /// Reads what the state folder knows. It blocks.
    pub(super) fn open(plan: &Plan, site: Option<&Arc<Upstreams>>) -> Result<Self, OpenError> {
        let told = |error: io::Error| OpenError::State(error.to_string());
        match plan.vouched_by {
            VouchedBy::Site => {
                let site = site.ok_or(OpenError::NoAuthority)?.clone();
                let authority = Authority::new(Arc::new(Asked::new(site)));
                Ok(Self { authenticator: Arc::new(authority), login: None, tickets: None })
            }
            VouchedBy::Login => {
                let spent = Arc::new(Spent::open(&plan.state_folder).map_err(told)?);
                let login = Login::open(&plan.state_folder, &plan.path, spent).map_err(told)?;
                let login = Arc::new(login);
                Ok(Self { authenticator: login.clone(), login: Some(login), tickets: None })
            }
            VouchedBy::Ticket => {
                let tickets = Tickets::open(&plan.state_folder, &plan.path).map_err(told)?;
                let authenticator = Arc::new(tickets.clone());
                Ok(Self { authenticator, login: None, tickets: Some(tickets) })
            }
        }
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

    /// Where users sign in and out; the root, too, where there is no site.
    pub(super) fn insert_routes(self, core: &Arc<Core>, routes: &Routes) {
        let plan = core.plan.load();
        if plan.vouched_by == VouchedBy::Site {
            return;
        }
        let entrance: Arc<dyn Service> =
            Arc::new(Entrance::new(core.clone(), self.login, self.tickets));
        let threshold: Arc<dyn Guard> = Arc::new(Threshold::new(core.clone()));
        let root = plan.is_alone.then(|| "/".to_owned());
        for path in [format!("{}-/", plan.path)].into_iter().chain(root) {
            let mut route = Route::new(Target::Service(entrance.clone()));
            route.guard = Some(threshold.clone());
            routes.insert(None, &path, route);
        }
    }
}

/// Where the routes are that are there whether or not anybody has a notebook.
pub(super) fn root_paths(plan: &Plan) -> Vec<String> {
    let below = plan.site_paths.iter().map(|path| format!("{}{path}", plan.path));
    let own = [plan.path.clone(), plan.path.trim_end_matches('/').to_owned()];
    let entrance = (plan.vouched_by != VouchedBy::Site).then(|| format!("{}-/", plan.path));
    let root = plan.is_alone.then(|| "/".to_owned());
    own.into_iter().chain(below).chain(entrance).chain(root).collect()
}

/// The routes that are there whether or not anybody has a notebook.
pub(super) fn insert_routes(
    plan: &Plan,
    routes: &Routes,
    front: &Front,
    site: Option<&Arc<Upstreams>>,
) {
    routes.insert(None, &plan.path, front.route());
    let to_slash = Target::Redirect { status: 308, location: plan.path.as_str().into() };
    routes.insert(None, plan.path.trim_end_matches('/'), Route::new(to_slash));
    let Some(site) = site else { return };
    for path in &plan.site_paths {
        let target = Target::Proxy { files: Arc::new([]), upstreams: site.clone() };
        routes.insert(None, &format!("{}{path}", plan.path), Route::new(target));
    }
}
