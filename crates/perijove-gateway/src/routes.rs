//! Host and path prefix → route. Readers take a snapshot, writers swap it.

mod fences;
mod hosts;
mod spelling;
mod tree;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

use crate::{Label, Route, Target};
pub use fences::Fence;
use hosts::Hosts;
use tree::Tree;

/// The routes of a listener: cheap to clone, shared by all who read or edit them.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    table: Arc<ArcSwap<Table>>,
    /// What routes below a path are counted as when they say nothing themselves.
    labels: Arc<ArcSwap<Vec<(String, Label)>>>,
}

/// What was inserted, and the same behind its fences, arranged for finding.
#[derive(Clone, Debug, Default)]
struct Table {
    routes: BTreeMap<Key, Arc<Route>>,
    fences: Arc<[Fence]>,
    hosts: Hosts<Tree>,
    every_host: Tree,
    /// The only hosts that are served, where there is such a list.
    known: Option<Arc<Hosts<()>>>,
}

/// A host in lower case without port (or `*.` and what it ends with), or none for every host, and
/// a path prefix.
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
    /// The host is none of those that are served.
    Misdirected,
    /// The path can be read in several ways that lead to different routes.
    Ambiguous,
}

impl Routes {
    pub fn new() -> Self {
        Self::default()
    }

    /// Routes that are inserted below a path from now on are counted as this, unless they say
    /// themselves as what.
    pub fn count_below(&self, prefix: &str, label: Label) {
        self.labels.rcu(|labels| {
            let mut labels = Vec::clone(labels);
            labels.retain(|(known, _)| known != prefix);
            labels.push((prefix.to_owned(), label));
            labels
        });
    }

    /// Adds or replaces the route for a path prefix of a host, or of every host. `*.example.com` is
    /// every host below `example.com`, as far as there is no nearer one.
    ///
    /// A prefix with a slash at its end matches all that begins with it; one without matches
    /// itself and what follows after a slash, so that `/app` does not match `/apple`. Prefixes and
    /// paths are compared with their percent-encoding taken off.
    pub fn insert(&self, host: Option<&str>, prefix: &str, mut route: Route) {
        if route.label == Label::default()
            && let Some((_, label)) =
                self.labels.load().iter().find(|(below, _)| prefix.starts_with(below))
        {
            route.label = *label;
        }
        let key = Key { host: host.map(str::to_ascii_lowercase), prefix: prefix.to_owned() };
        let route = Arc::new(route);
        self.table.rcu(|table| {
            let mut routes = table.routes.clone();
            routes.insert(key.clone(), route.clone());
            table.with(routes)
        });
    }

    /// Removes a route; says whether there was one.
    pub fn remove(&self, host: Option<&str>, prefix: &str) -> bool {
        let key = Key { host: host.map(str::to_ascii_lowercase), prefix: prefix.to_owned() };
        let before = self.table.rcu(|table| {
            let mut routes = table.routes.clone();
            routes.remove(&key);
            table.with(routes)
        });
        before.routes.contains_key(&key)
    }

    /// From now on these fences stand, around what is there and what is inserted later, and no
    /// others.
    pub fn fence(&self, fences: Vec<Fence>) {
        let fences: Arc<[Fence]> = fences.into();
        self.table.rcu(|table| {
            let table = Table { fences: fences.clone(), ..Table::clone(table) };
            table.with(table.routes.clone())
        });
    }

    /// From now on serves these hosts only, beside those that routes are for; with `None`, all. A
    /// host may be given as `*.example.com`.
    pub fn serve_only(&self, hosts: Option<&[String]>) {
        let known = hosts.map(|hosts| {
            let mut known = Hosts::default();
            for host in hosts {
                *known.entry(&host.to_ascii_lowercase()) = ();
            }
            Arc::new(known)
        });
        self.table.rcu(|table| Table { known: known.clone(), ..Table::clone(table) });
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
        if let Some(known) = &table.known
            && known.of(host).next().is_none()
            && table.hosts.of(host).next().is_none()
        {
            return Found::Misdirected;
        }
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
    /// The same with other routes.
    fn with(&self, routes: BTreeMap<Key, Arc<Route>>) -> Self {
        let (known, fences) = (self.known.clone(), self.fences.clone());
        let mut table = Self { fences, known, ..Self::default() };
        for (key, route) in &fences::fenced(&routes, &table.fences) {
            let tree = match &key.host {
                Some(host) => table.hosts.entry(host),
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
        if self.hosts.is_empty() {
            let (found, is_other) = self.every_host.find_as_sent(segments());
            return (found.cloned(), is_other);
        }
        let mut is_other = false;
        for tree in self.hosts.of(host).chain([&self.every_host]) {
            let (found, is_other_here) = tree.find_as_sent(segments());
            is_other |= is_other_here;
            if found.is_some() {
                return (found.cloned(), is_other);
            }
        }
        (None, is_other)
    }

    fn find<'a>(&'a self, host: &'a str, reading: &spelling::Reading) -> Option<&'a Arc<Route>> {
        let segments = || reading.iter().map(Vec::as_slice);
        self.hosts.of(host).chain([&self.every_host]).find_map(|tree| tree.find(segments()))
    }
}

#[cfg(test)]
mod tests;
