//! What the gateway counts: requests, times, bytes, connections, faults.
//!
//! Each thread counts for itself, in numbers that nobody else writes; whoever wants to know adds
//! them up. So counting takes no lock, no allocation, and no cache line from another thread.

mod histogram;
mod shard;

use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use histogram::Times;
pub use histogram::{BOUNDS, Histogram};
pub(crate) use shard::{Method, take_seat};

use crate::error::{Fault, Kind};
use shard::{Shard, status_class};

/// Names of routes that are counted apart; what comes after these is counted together.
const MOST_LABELS: usize = 64;
/// The first: no route was found.
const NO_ROUTE: &str = "none";
/// The last: there was no room for the name.
const OTHERS: &str = "others";

/// Counts what the gateway does.
#[derive(Debug)]
pub struct Meter {
    shards: Box<[Shard]>,
    /// Names of labels, by number; written when routes are made.
    labels: Mutex<Vec<Box<str>>>,
}

/// The name under which a route's requests are counted: one of a bounded number, whatever clients
/// send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Label(u16);

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    Http1,
    Http2,
    /// It was joined to an upstream: a websocket, mostly.
    Upgraded,
}

/// One request that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) label: Label,
    pub(crate) method: Method,
    pub(crate) status: u16,
    /// In microseconds, to the last byte of the answer.
    pub(crate) whole: u64,
    /// In microseconds, to the first byte of the answer, where there was one.
    pub(crate) first: Option<u64>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// It became another protocol's: its time says nothing about requests.
    pub(crate) is_upgrade: bool,
}

impl Meter {
    /// For a gateway of so many threads.
    pub fn new(threads: usize) -> Arc<Self> {
        let shards = (0..threads.max(1)).map(|_| Shard::new(MOST_LABELS)).collect();
        Arc::new(Self { shards, labels: Mutex::new(vec![NO_ROUTE.into()]) })
    }

    /// The label of a name, the same for the same name. Beyond the most that are told apart, all
    /// names have the same label.
    pub fn label(&self, name: &str) -> Label {
        let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match labels.iter().position(|known| **known == *name) {
            Some(at) => at,
            None if labels.len() < MOST_LABELS - 1 => {
                labels.push(name.into());
                labels.len() - 1
            }
            None => MOST_LABELS - 1,
        };
        Label(u16::try_from(at).unwrap_or_default())
    }

    /// The name of a label.
    pub(crate) fn name(&self, label: Label) -> Box<str> {
        let labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        labels.get(usize::from(label.0)).cloned().unwrap_or_else(|| OTHERS.into())
    }

    /// The numbers of the calling thread.
    fn own(&self) -> Option<&Shard> {
        let seat = shard::seat();
        self.shards.get(seat).or(self.shards.first())
    }

    pub(crate) fn record(&self, ended: &Ended) {
        if let Some(shard) = self.own() {
            shard.record(ended);
        }
    }

    pub(crate) fn fault(&self, fault: &Fault) {
        if let Some(shard) = self.own() {
            shard.fault(fault.kind());
        }
    }

    /// Counts a connection for as long as the guard lives.
    pub(crate) fn open(self: &Arc<Self>, spoken: Spoken) -> Open {
        if let Some(shard) = self.own() {
            shard.opened(spoken);
        }
        Open { meter: self.clone(), spoken }
    }

    /// All that was counted, by all threads.
    pub fn totals(&self) -> Totals {
        let names = self.labels.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name_of = |at: usize| names.get(at).map_or(OTHERS, |name| name).to_owned();
        let routes = (0..MOST_LABELS).filter_map(|at| {
            let totals = self.route(at, name_of(at));
            (at < names.len() || !totals.requests.is_empty()).then_some(totals)
        });
        let sum = |one: &dyn Fn(&Shard) -> u64| self.shards.iter().map(one).sum();
        let connections = [Spoken::Http1, Spoken::Http2, Spoken::Upgraded].map(|spoken| {
            let accepted: u64 = sum(&|shard| shard.connections(spoken).0);
            let closed: u64 = sum(&|shard| shard.connections(spoken).1);
            ConnectionTotals {
                spoken: spoken.name(),
                accepted,
                open: accepted.saturating_sub(closed),
            }
        });
        let faults = Kind::ALL.map(|kind| (kind.name(), sum(&|shard| shard.faults(kind))));
        Totals {
            routes: routes.collect(),
            connections: connections.to_vec(),
            faults: faults.to_vec(),
        }
    }

    fn route(&self, at: usize, name: String) -> RouteTotals {
        let mut totals = RouteTotals { name, ..RouteTotals::default() };
        let (whole, first) = (Times::default(), Times::default());
        for route in self.shards.iter().filter_map(|shard| shard.route(at)) {
            whole.add(&route.whole);
            first.add(&route.first);
            totals.sent += shard::read(&route.sent);
            totals.received += shard::read(&route.received);
        }
        (totals.whole, totals.first) = (whole.snapshot(), first.snapshot());
        for method in Method::ALL {
            for status in 0..shard::STATUSES {
                let of =
                    |shard: &Shard| shard.route(at).map_or(0, |one| one.requests(method, status));
                let count: u64 = self.shards.iter().map(of).sum();
                if count > 0 {
                    totals.requests.push((method.name(), status_class(status), count));
                }
            }
        }
        totals
    }
}

impl Spoken {
    fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Upgraded => "upgraded",
        }
    }
}

/// A connection that is counted as open.
#[derive(Debug)]
pub(crate) struct Open {
    meter: Arc<Meter>,
    spoken: Spoken,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(shard) = self.meter.own() {
            shard.closed(self.spoken);
        }
    }
}

/// What was counted since the start.
#[derive(Clone, Debug)]
pub struct Totals {
    pub routes: Vec<RouteTotals>,
    pub connections: Vec<ConnectionTotals>,
    /// How many requests were answered with an error, by its kind.
    pub faults: Vec<(&'static str, u64)>,
}

/// Of the requests of one label.
#[derive(Clone, Debug, Default)]
pub struct RouteTotals {
    pub name: String,
    /// Class of the method, class of the status, how many; only those that there were.
    pub requests: Vec<(&'static str, &'static str, u64)>,
    /// Seconds to the end of the answer.
    pub whole: Histogram,
    /// Seconds to its beginning.
    pub first: Histogram,
    /// Bytes of answers' bodies.
    pub sent: u64,
    /// Bytes of requests' bodies, as far as they were announced.
    pub received: u64,
}

/// Of the connections on which one protocol is spoken.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionTotals {
    /// `http1`, `http2` or `upgraded`.
    pub spoken: &'static str,
    pub accepted: u64,
    pub open: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(label: Label, method: &str, status: u16, whole: u64) -> Ended {
        Ended {
            label,
            method: Method::of(method),
            status,
            whole,
            first: Some(whole / 2),
            sent: 10,
            received: 1,
            is_upgrade: false,
        }
    }

    #[test]
    fn what_threads_count_is_added_up() {
        let meter = Meter::new(3);
        let label = meter.label("site");
        std::thread::scope(|scope| {
            for seat in 0..3 {
                let meter = &meter;
                scope.spawn(move || {
                    take_seat(seat);
                    for _ in 0..100 {
                        meter.record(&ended(label, "GET", 200, 700));
                    }
                    meter.record(&ended(label, "BREW", 418, 3_000_000));
                });
            }
        });
        let totals = meter.totals();
        let site = totals.routes.iter().find(|route| route.name == "site").unwrap();
        assert_eq!(site.requests, [("get", "2xx", 300), ("other", "4xx", 3)]);
        assert_eq!((site.sent, site.received), (3030, 303));
        assert_eq!(site.whole.count(), 303);
        assert!((site.whole.sum - 9.21).abs() < 1e-9, "{}", site.whole.sum);
        let below = |bound: f64| BOUNDS.iter().position(|known| *known >= bound).unwrap();
        assert_eq!(site.whole.counts[below(0.001)], 300);
        assert_eq!(site.whole.counts[below(5.0)], 3);
        assert_eq!(site.first.counts[below(0.0005)], 300);
    }

    #[test]
    fn names_are_bounded() {
        let meter = Meter::new(1);
        let labels: Vec<Label> = (0..1000).map(|at| meter.label(&format!("/{at}"))).collect();
        assert_eq!(meter.label("/3"), labels[3]);
        assert_eq!(labels[999], labels[500]);
        assert_eq!(&*meter.name(labels[999]), "others");
        assert_eq!(&*meter.name(Label::default()), "none");
        meter.record(&ended(labels[700], "GET", 200, 1));
        assert_eq!(meter.totals().routes.len(), MOST_LABELS);
    }

    #[test]
    fn connections_are_counted_while_they_are_open() {
        let meter = Meter::new(1);
        let (one, two) = (meter.open(Spoken::Http1), meter.open(Spoken::Http1));
        drop(one);
        let http1 = meter.totals().connections[0];
        assert_eq!((http1.spoken, http1.accepted, http1.open), ("http1", 2, 1));
        drop(two);
        assert_eq!(meter.totals().connections[0].open, 0);
    }
}
