//! Host and path prefix → route. Readers take a snapshot, writers swap it.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

use crate::Route;

/// The routes of a listener: cheap to clone, shared by all who read or edit them.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    table: Arc<ArcSwap<Table>>,
}

type Table = BTreeMap<Key, Arc<Route>>;

/// A host in lower case without port, or none for every host, and a path prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    host: Option<String>,
    prefix: String,
}

impl Routes {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces the route for a path prefix of a host, or of every host.
    ///
    /// A prefix with a slash at its end matches all that begins with it; one without matches
    /// itself and what follows after a slash, so that `/app` does not match `/apple`.
    pub fn insert(&self, host: Option<&str>, prefix: &str, route: Route) {
        let key = Key { host: host.map(str::to_ascii_lowercase), prefix: prefix.to_owned() };
        let route = Arc::new(route);
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            table.insert(key.clone(), route.clone());
            table
        });
    }

    /// Removes a route; says whether there was one.
    pub fn remove(&self, host: Option<&str>, prefix: &str) -> bool {
        let key = Key { host: host.map(str::to_ascii_lowercase), prefix: prefix.to_owned() };
        let before = self.table.rcu(|table| {
            let mut table = Table::clone(table);
            table.remove(&key);
            table
        });
        before.contains_key(&key)
    }
}
