//! Guards of whole parts of the table: of every route there, whoever has inserted it, and whenever.

use std::{collections::BTreeMap, sync::Arc};

use super::{Key, spelling::decode};
use crate::{Guard, Route, guard::Both};

/// A guard of all that lies below a path, on every host.
///
/// Of several fences around a path the nearest counts, alone. It is asked before the guard of the
/// route itself.
#[derive(Clone, Debug)]
pub struct Fence {
    /// As of a route: with a slash at its end only what lies below, else itself too.
    pub prefix: String,
    /// `None` leaves the part out that a fence further outside is around.
    pub guard: Option<Arc<dyn Guard>>,
    /// Fields of a request that are meant for the guard, and not passed on. Names in lower case.
    pub keeps: Vec<String>,
}

/// The routes behind their fences. Where a fence stands amid what a route is for, the part behind it
/// becomes a route of its own.
pub(super) fn fenced(
    routes: &BTreeMap<Key, Arc<Route>>,
    fences: &[Fence],
) -> BTreeMap<Key, Arc<Route>> {
    let mut all = routes.clone();
    if fences.is_empty() {
        return all;
    }
    let fences: Vec<(Place, &Fence)> =
        fences.iter().map(|fence| (Place::of(&fence.prefix), fence)).collect();
    let places: Vec<(Place, &Key, &Arc<Route>)> =
        routes.iter().map(|(key, route)| (Place::of(&key.prefix), key, route)).collect();
    for (place, fence) in &fences {
        for (key, route) in cut(&places, place) {
            // Now it matters how a path is read: no spelling may lead around the fence.
            let route = Arc::new(Route { reads_as_sent: false, ..Route::clone(route) });
            let prefix = fence.prefix.clone();
            all.insert(Key { host: key.host.clone(), prefix }, route.clone());
            all.insert(key.clone(), route);
        }
    }
    for (key, route) in &mut all {
        let here = Place::of(&key.prefix);
        let around = fences.iter().filter(|(place, _)| place.covers(&here));
        let nearest = around.max_by_key(|(place, _)| place.depth());
        if let Some((_, Fence { guard: Some(guard), keeps, .. })) = nearest {
            *route = Arc::new(behind(route, guard, keeps));
        }
    }
    all
}

/// The routes that a place lies amid: of each host the nearest one around it, unless there is one at
/// that very place.
fn cut<'a>(
    places: &[(Place, &'a Key, &'a Arc<Route>)],
    place: &Place,
) -> Vec<(&'a Key, &'a Arc<Route>)> {
    let mut nearest: BTreeMap<Option<&str>, &(Place, &'a Key, &'a Arc<Route>)> = BTreeMap::new();
    for one in places.iter().filter(|(around, ..)| around.covers(place)) {
        let known = nearest.entry(one.1.host.as_deref()).or_insert(one);
        if one.0.depth() > known.0.depth() {
            *known = one;
        }
    }
    let amid = nearest.into_values().filter(|(around, ..)| around != place);
    amid.map(|(_, key, route)| (*key, *route)).collect()
}

fn behind(route: &Route, guard: &Arc<dyn Guard>, keeps: &[String]) -> Route {
    let mut route = route.clone();
    let first = guard.clone();
    route.guard = Some(match route.guard.take() {
        Some(second) => Arc::new(Both { first, second }),
        None => first,
    });
    let kept = keeps.iter().filter(|name| !route.rewrite.remove.contains(name)).cloned();
    route.rewrite.remove = route.rewrite.remove.iter().cloned().chain(kept).collect();
    route
}

/// Where a prefix stands, however it is spelled.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    segments: Vec<Vec<u8>>,
    /// Only what lies below.
    is_folder: bool,
}

impl Place {
    fn of(prefix: &str) -> Self {
        let segments = prefix.split('/').filter(|segment| !segment.is_empty());
        Self {
            segments: segments.map(|segment| decode(segment.as_bytes())).collect(),
            is_folder: prefix.ends_with('/') || prefix.is_empty(),
        }
    }

    /// Whether all that belongs to the other one belongs to this one.
    fn covers(&self, other: &Self) -> bool {
        other.segments.starts_with(&self.segments)
            && (!self.is_folder || other.is_folder || other.segments.len() > self.segments.len())
    }

    /// Of two that cover a third, the one with more of it is the nearer one.
    fn depth(&self) -> (usize, bool) {
        (self.segments.len(), self.is_folder)
    }
}
