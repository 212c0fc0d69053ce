//! What the edge is to do: limits, trusted peers, certificates, routes to programs elsewhere.

use std::{net::IpAddr, time::Duration};

use perijove_gateway::network;

use super::{
    Application, Check,
    access::{self, Admission},
    application::{Described, Found},
    elsewhere::{self, ElsewherePlan, Written},
    files::{self, StaticPlan},
    finish::{self, FinishPlan},
};
use crate::config::{Config, Limits, Route};

/// A path that is served by something else than the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoutePlan {
    /// Its place in the list that was written, from zero.
    pub(crate) at: usize,
    pub(crate) path: String,
    pub(crate) host: Option<String>,
    pub(crate) target: RouteTarget,
    pub(crate) finish: FinishPlan,
    /// Bytes.
    pub(crate) body_limit: u64,
    pub(crate) body_buffer: Option<u64>,
    pub(crate) response_time: Duration,
    pub(crate) connect_time: Duration,
    pub(crate) admission: Admission,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RouteTarget {
    Application(Box<Application>),
    /// One of the services, by its name.
    Service(String),
    Upstream(ElsewherePlan),
    Files(Box<StaticPlan>),
    Redirect {
        status: u16,
        to: String,
    },
}

pub(super) fn limits(limits: &Limits, check: &mut Check<'_>) -> Limits {
    if limits.head.0 < 1024 || limits.head.0 > 1 << 20 {
        check.wrong("limits.head", "must be between 1K and 1M", "");
    }
    if limits.head_fields == 0 || limits.head_fields > 1000 {
        check.wrong("limits.head-fields", "must be between 1 and 1000", "");
    }
    check.not_zero(limits.head_time.0, "limits.head-time");
    check.not_zero(limits.idle_time.0, "limits.idle-time");
    check.not_zero(limits.transfer_time.0, "limits.transfer-time");
    check.at_least_one(Some(limits.backlog), "limits.backlog");
    check.at_least_one(Some(limits.connections), "limits.connections");
    limits.clone()
}

/// In the list of trusted proxies: whoever reaches a Unix socket that is listened on.
pub(super) const UNIX_PEERS: &str = "unix:";

pub(super) fn trusted_proxies(networks: &[String], check: &mut Check<'_>) -> Vec<(IpAddr, u8)> {
    let mut found = Vec::new();
    for (at, text) in networks.iter().enumerate().filter(|(_, text)| *text != UNIX_PEERS) {
        if let Some(network) = network(text) {
            found.push(network);
        } else {
            let hint = "write \"127.0.0.1\", \"10.0.0.0/8\", or \"unix:\" for Unix sockets";
            let what = format!("{text:?} is no address and no network");
            check.wrong(&format!("trusted-proxies[{at}]"), what, hint);
        }
    }
    found
}

pub(super) fn routes(config: &Config, site: &FinishPlan, check: &mut Check<'_>) -> Vec<RoutePlan> {
    let decide = |(at, route): (usize, &Route)| {
        let finish = finish::of_route(at, route, site, check);
        Some(RoutePlan { finish, ..self::route(at, route, config, check)? })
    };
    config.route.iter().enumerate().filter_map(decide).collect()
}

fn route(at: usize, route: &Route, config: &Config, check: &mut Check<'_>) -> Option<RoutePlan> {
    let key = format!("route[{at}]");
    // A route for a host is for all of it, unless it says more.
    let path = if route.path.is_empty() && route.host.is_some() { "/" } else { &route.path };
    if !path.starts_with('/') {
        let what = format!("{path:?} does not begin with a slash");
        check.wrong(&format!("{key}.path"), what, "for example \"/grafana/\"");
    }
    if let Some(host) = &route.host {
        check_host(host, &format!("{key}.host"), check);
    }
    let target = target(at, (route, path), config, check)?;
    Some(RoutePlan {
        at,
        path: path.to_owned(),
        host: route.host.as_ref().map(|host| host.to_lowercase()),
        target,
        finish: FinishPlan::default(),
        body_limit: route.body_limit.unwrap_or(config.site.body_limit).0,
        body_buffer: route.body_buffer.map(|size| size.0),
        response_time: route.response_time.unwrap_or(config.site.response_time).0,
        connect_time: route.connect_time.unwrap_or(config.site.connect_time).0,
        admission: access::of_route(at, route, config, check),
    })
}

/// None when what is written cannot be meant.
fn target(
    at: usize,
    (route, path): (&Route, &str),
    config: &Config,
    check: &mut Check<'_>,
) -> Option<RouteTarget> {
    let key = format!("route[{at}]");
    let base = check.layers.folder.clone();
    let has_files = route.folder.is_some() || route.file.is_some();
    if let Some(name) = &route.service
        && (&route.app, &route.upstream, has_files, &route.redirect) == (&None, &None, false, &None)
    {
        return Some(RouteTarget::Service(name.clone()));
    }
    match (&route.app, &route.upstream, has_files, &route.redirect) {
        (Some(_), None, false, None) => application(at, route, config, check),
        (None, Some(upstream), false, None) => {
            let written = Written {
                table: &key,
                base: &base,
                upstream,
                tls: route.upstream_tls.as_ref(),
                host: route.upstream_host.as_deref(),
                path: route.upstream_path.as_deref(),
            };
            elsewhere::decide(&written, check).map(RouteTarget::Upstream)
        }
        (None, None, true, None) => {
            let files = files::of_route(at, (route, path), &config.site, check)?;
            Some(RouteTarget::Files(Box::new(files)))
        }
        (None, None, false, Some(to)) => {
            let status = route.status.unwrap_or(302);
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                let what = format!("{status} is no status of a redirect");
                check.wrong(&format!("{key}.status"), what, "one of 301, 302, 303, 307, 308");
            }
            Some(RouteTarget::Redirect { status, to: to.clone() })
        }
        _ => {
            let what = "needs exactly one of `app`, `service`, `upstream`, `folder`, `file` and \
                        `redirect`";
            check.wrong(&key, what, "");
            None
        }
    }
}

/// Gathers what is wrong with the name of a host.
pub(super) fn check_host(host: &str, key: &str, check: &mut Check<'_>) {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    let has_port = !name.contains('[') && name.contains(':');
    if name.is_empty() || !name.chars().all(is_name) || has_port || name.starts_with('.') {
        let what = format!("{host:?} is no name of a host");
        check.wrong(key, what, "write \"example.com\", or \"*.example.com\" for all below it");
    }
}

fn application(
    at: usize,
    route: &Route,
    config: &Config,
    check: &mut Check<'_>,
) -> Option<RouteTarget> {
    let site = check.layers.folder.join(&config.site.root);
    let root = match &route.root {
        Some(root) => check.layers.folder.join(root),
        None => site,
    };
    let root = root.canonicalize().unwrap_or(root);
    if !root.is_dir() {
        let key = if route.root.is_some() { format!("route[{at}].root") } else { return None };
        check.wrong(&key, format!("there is no folder {}", root.display()), "");
        return None;
    }
    let written = Described::of_route(at, route, &config.site);
    written.check_numbers(check);
    match written.decide(&root, check)? {
        Found::Application(application) => Some(RouteTarget::Application(application)),
        Found::Nothing => None,
    }
}
