//! Programs elsewhere: what requests to them are sent to. A reload that leaves them as they are
//! leaves them their connections and what is known of them.

use std::{sync::Arc, time::Duration};

use perijove_gateway::{
    HostSent, Protocol, Relocation, Route, Secret, Upstream, UpstreamAddress, UpstreamId,
    UpstreamSettings, Upstreams,
};
use serde_json::{Value, json};

use super::application::Place;
use crate::config::{
    Plan,
    plan::{ElsewherePlan, HostPlan, MemberPlan, RouteTarget, SiteTarget, UpstreamAt},
};

/// All programs elsewhere.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// Those of the site, among its upstreams.
    of_site: Vec<UpstreamId>,
    of_routes: Vec<Known>,
}

/// Those of one route.
#[derive(Clone, Debug)]
struct Known {
    place: Place,
    plan: ElsewherePlan,
    connect_time: Duration,
    upstreams: Arc<Upstreams>,
}

impl Elsewhere {
    /// For the start.
    pub(super) fn new(plan: &Plan, of_site: &Upstreams) -> Self {
        let added = added_for_site(plan).map(|members| fill(of_site, members));
        let mut elsewhere = Self { of_site: added.unwrap_or_default(), of_routes: Vec::new() };
        elsewhere.follow_routes(plan);
        elsewhere
    }

    /// From one plan to the next.
    pub(super) fn follow(&mut self, before: &Plan, plan: &Plan, of_site: &Upstreams) {
        let (was, now) = (added_for_site(before), added_for_site(plan));
        if was.map(|was| &was.members) != now.map(|now| &now.members) {
            let new = now.map(|now| fill(of_site, now)).unwrap_or_default();
            for old in std::mem::replace(&mut self.of_site, new) {
                of_site.remove(old);
            }
        }
        if was.is_none() && now.is_some() {
            // The workers of an application that ran here end by and by; none is asked any more.
            of_site.remove_others(&self.of_site);
        }
        self.follow_routes(plan);
    }

    fn follow_routes(&mut self, plan: &Plan) {
        let before = std::mem::take(&mut self.of_routes);
        self.of_routes.extend(plan.routes.iter().filter_map(|route| {
            let RouteTarget::Upstream(wanted) = &route.target else { return None };
            let place = Place { host: route.host.clone(), path: route.path.clone() };
            let connect_time = route.connect_time;
            let is_same = |known: &&Known| {
                known.place == place
                    && known.connect_time == connect_time
                    && known.plan.members == wanted.members
            };
            let upstreams = before.iter().find(is_same).map(|known| known.upstreams.clone());
            let upstreams = upstreams.unwrap_or_else(|| {
                let settings = UpstreamSettings { connect_time, ..UpstreamSettings::default() };
                let upstreams = Upstreams::new(settings);
                fill(&upstreams, wanted);
                upstreams
            });
            Some(Known { place, plan: wanted.clone(), connect_time, upstreams })
        }));
    }

    /// What the requests of a route are sent to.
    pub(super) fn at(&self, place: &Place) -> Option<&Arc<Upstreams>> {
        self.of_routes.iter().find(|known| known.place == *place).map(|known| &known.upstreams)
    }

    /// Each set of them, by where it is; that of the site too.
    pub(super) fn all(&self, of_site: &Arc<Upstreams>) -> Vec<(String, Arc<Upstreams>)> {
        let site = (!self.of_site.is_empty()).then(|| ("/".to_owned(), of_site.clone()));
        let routes = self.of_routes.iter();
        let routes = routes.map(|known| (known.place.to_string(), known.upstreams.clone()));
        site.into_iter().chain(routes).collect()
    }
}

fn added_for_site(plan: &Plan) -> Option<&ElsewherePlan> {
    match &plan.site.target {
        SiteTarget::Upstream(members) => Some(members),
        SiteTarget::Application(_) | SiteTarget::Nothing => None,
    }
}

fn fill(upstreams: &Upstreams, plan: &ElsewherePlan) -> Vec<UpstreamId> {
    let has_equals = plan.members.len() > 1;
    let add = |member: &MemberPlan| {
        let (address, protocol) = match &member.at {
            UpstreamAt::Tcp(at) => (UpstreamAddress::Tcp(at.clone()), Protocol::Http1),
            UpstreamAt::Tls(at, tls) => {
                (UpstreamAddress::Tcp(at.clone()), Protocol::Https(tls.clone()))
            }
            UpstreamAt::Unix(path) => (UpstreamAddress::Unix(path.clone()), Protocol::Http1),
        };
        let upstream =
            Upstream { address, protocol, capacity: None, account: None, is_replaced: false };
        // One alone has nobody to take turns with.
        if has_equals {
            upstreams.add_weighed(upstream, member.weight)
        } else {
            upstreams.add(upstream)
        }
    };
    plan.members.iter().map(add).collect()
}

/// Puts on a route what is said to programs elsewhere, and what is done to where their answers lead.
pub(super) fn tell(route: &mut Route, plan: &ElsewherePlan, here: &str) {
    let there = plan.path.as_deref().unwrap_or(here);
    let mut set = route.rewrite.set.to_vec();
    if let HostPlan::Named(name) = &plan.host {
        set.push(("Host".to_owned(), Secret::new(name.as_str())));
    }
    let prefix = here.trim_end_matches('/');
    if there != here && !prefix.is_empty() {
        set.push(("X-Forwarded-Prefix".to_owned(), Secret::new(prefix)));
    }
    route.rewrite.set = set.into();
    if plan.host == HostPlan::Upstream {
        route.rewrite.host = HostSent::Upstream;
    }
    if there != here || plan.host != HostPlan::Client {
        let names = plan.members.iter().filter_map(|member| match &member.at {
            UpstreamAt::Tcp(at) | UpstreamAt::Tls(at, _) => Some(at.clone()),
            UpstreamAt::Unix(_) => None,
        });
        let named = match &plan.host {
            HostPlan::Named(name) => Some(name.clone()),
            HostPlan::Client | HostPlan::Upstream => None,
        };
        let relocation = Relocation::new(here, there, names.chain(named));
        route.rewrite.relocation = Some(Arc::new(relocation));
    }
}

/// How the programs of one set are doing, for the status.
pub(super) fn status((place, upstreams): &(String, Arc<Upstreams>)) -> Vec<Value> {
    let of_one = |health: &perijove_gateway::Health| {
        json!({
            "path": place,
            "address": health.address,
            "phase": if health.rests { "resting" } else { "in use" },
            "under-way": health.under_way,
            "requests": health.served,
            "failures": health.failures,
        })
    };
    upstreams.health().iter().map(of_one).collect()
}
