//! Host and path prefix → route. Readers take a snapshot, writers swap it.

mod spelling;
mod tree;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

use crate::{Route, Target};
use tree::Tree;

/// The routes of a listener: cheap to clone, shared by all who read or edit them.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    table: Arc<ArcSwap<Table>>,
}

/// What was inserted, and the same arranged for finding.
#[derive(Clone, Debug, Default)]
struct Table {
    routes: BTreeMap<Key, Arc<Route>>,
    hosts: BTreeMap<String, Tree>,
    every_host: Tree,
}

/// A host in lower case without port, or none for every host, and a path prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    host: Option<String>,
    prefix: String,
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Route(Arc<Route>),
    Nothing,
    /// The path can be read in several ways that lead to different routes.
    Ambiguous,
}

impl Routes {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces the route for a path prefix of a host, or of every host.
    ///
    /// A prefix with a slash at its end matches all that begins with it; one without matches
    /// itself and what follows after a slash, so that `/app` does not match `/apple`. Prefixes and
    /// paths are compared with their percent-encoding taken off.
    pub fn insert(&self, host: Option<&str>, prefix: &str, route: Route) {
        let key = Key { host: host.map(str::to_ascii_lowercase), prefix: prefix.to_owned() };
        let route = Arc::new(route);
        self.table.rcu(|table| {
            let mut routes = table.routes.clone();
            routes.insert(key.clone(), route.clone());
            Table::of(routes)
        });
    }

    /// Removes a route; says whether there was one.
    pub fn remove(&self, host: Option<&str>, prefix: &str) -> bool {
        let key = Key { host: host.map(str::to_ascii_lowercase), prefix: prefix.to_owned() };
        let before = self.table.rcu(|table| {
            let mut routes = table.routes.clone();
            routes.remove(&key);
            Table::of(routes)
        });
        before.routes.contains_key(&key)
    }

    /// The route with the longest prefix of a path, among those of the host first. `host` is in
    /// lower case and may have a port; `path` is as it was sent.
    ///
    /// Upstreams decode paths, merge slashes and resolve dots, or do not. A request must not pass
    /// the guard of one route and mean what lies behind another, so all readings must agree. Only
    /// a service, which is our own and reads the path itself, and a target that is known to read
    /// it as sent are given what they alone see.
    pub(crate) fn find(&self, host: &str, path: &[u8]) -> Found {
        let table = self.table.load();
        let (as_sent, is_other) = table.find_as_sent(host, path);
        if !is_other && spelling::is_plain(path) {
            return as_sent.map_or(Found::Nothing, Found::Route);
        }
        let is_sure = as_sent
            .as_ref()
            .is_some_and(|route| route.reads_as_sent || matches!(route.target, Target::Service(_)));
        let is_same = |reading: spelling::Reading| match (&as_sent, table.find(host, &reading)) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        if !is_sure && !spelling::readings(path).all(is_same) {
            return Found::Ambiguous;
        }
        as_sent.map_or(Found::Nothing, Found::Route)
    }
}

impl Table {
    fn of(routes: BTreeMap<Key, Arc<Route>>) -> Self {
        let mut table = Self::default();
        for (key, route) in &routes {
            let tree = match &key.host {
                Some(host) => table.hosts.entry(host.clone()).or_default(),
                None => &mut table.every_host,
            };
            let is_folder = key.prefix.ends_with('/') || key.prefix.is_empty();
            let path = key.prefix.trim_end_matches('/').trim_start_matches('/');
            let segments = path.split('/').filter(|segment| !segment.is_empty());
            tree.insert(segments.map(str::as_bytes), is_folder, route.clone());
        }
        table.routes = routes;
        table
    }

    fn find_as_sent(&self, host: &str, path: &[u8]) -> (Option<Arc<Route>>, bool) {
        let segments = || path.split(|b| *b == b'/').skip(1);
        let (found, is_other) =
            self.of_host(host).map_or((None, false), |tree| tree.find_as_sent(segments()));
        if found.is_some() {
            return (found.cloned(), is_other);
        }
        let (found, is_still_other) = self.every_host.find_as_sent(segments());
        (found.cloned(), is_other || is_still_other)
    }

    fn find(&self, host: &str, reading: &spelling::Reading) -> Option<&Arc<Route>> {
        let segments = || reading.iter().map(Vec::as_slice);
        let found = self.of_host(host).and_then(|tree| tree.find(segments()));
        found.or_else(|| self.every_host.find(segments()))
    }

    fn of_host(&self, host: &str) -> Option<&Tree> {
        if self.hosts.is_empty() { None } else { self.hosts.get(without_port(host)) }
    }
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(at) if !host.get(at..).unwrap_or_default().contains(']') => {
            host.get(..at).unwrap_or(host)
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests;
