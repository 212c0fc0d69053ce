//! The numbers of one thread.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Ended, Spoken, histogram::Times};
use crate::error::Kind;

thread_local! {
    static SEAT: Cell<usize> = const { Cell::new(0) };
}

/// From now on the calling thread counts in the numbers of this place. No other may have the same.
pub(crate) fn take_seat(seat: usize) {
    SEAT.set(seat);
}

pub(super) fn seat() -> usize {
    SEAT.get()
}

/// Adds where only the calling thread writes: no more than a load and a store.
pub(super) fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

pub(super) fn read(number: &AtomicU64) -> u64 {
    number.load(Ordering::Relaxed)
}

/// Methods as they are counted: clients may send any word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Patch,
    Options,
    #[default]
    Other,
}

impl Method {
    pub(super) const ALL: [Self; 8] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Delete,
        Self::Patch,
        Self::Options,
        Self::Other,
    ];

    pub(crate) fn of(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "PATCH" => Self::Patch,
            "OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Post => "post",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Patch => "patch",
            Self::Options => "options",
            Self::Other => "other",
        }
    }
}

/// Classes of a status: `1xx` to `5xx`.
pub(super) const STATUSES: usize = 5;

pub(super) fn status_class(at: usize) -> &'static str {
    ["1xx", "2xx", "3xx", "4xx", "5xx"].get(at).copied().unwrap_or_default()
}

/// Aligned so that no two threads write the same cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Shard {
    routes: Box<[RouteShard]>,
    accepted: [AtomicU64; 3],
    closed: [AtomicU64; 3],
    faults: [AtomicU64; Kind::ALL.len()],
}

/// The requests of one label.
#[derive(Debug, Default)]
pub(super) struct RouteShard {
    requests: [[AtomicU64; STATUSES]; Method::ALL.len()],
    pub(super) whole: Times,
    pub(super) first: Times,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl RouteShard {
    pub(super) fn requests(&self, method: Method, status: usize) -> u64 {
        self.requests.get(method as usize).and_then(|row| row.get(status)).map_or(0, read)
    }
}

impl Shard {
    pub(super) fn new(labels: usize) -> Self {
        Self {
            routes: (0..labels).map(|_| RouteShard::default()).collect(),
            accepted: Default::default(),
            closed: Default::default(),
            faults: Default::default(),
        }
    }

    pub(super) fn route(&self, at: usize) -> Option<&RouteShard> {
        self.routes.get(at)
    }

    pub(super) fn record(&self, ended: &Ended) {
        let Some(route) = self.routes.get(usize::from(ended.label.0)) else { return };
        let status = usize::from(ended.status / 100).clamp(1, STATUSES) - 1;
        let row = route.requests.get(ended.method as usize);
        if let Some(count) = row.and_then(|row| row.get(status)) {
            add(count, 1);
        }
        if !ended.is_upgrade {
            route.whole.record(ended.whole);
        }
        if let Some(first) = ended.first {
            route.first.record(first);
        }
        add(&route.sent, ended.sent);
        add(&route.received, ended.received);
    }

    pub(super) fn fault(&self, kind: Kind) {
        if let Some(count) = self.faults.get(kind as usize) {
            add(count, 1);
        }
    }

    pub(super) fn faults(&self, kind: Kind) -> u64 {
        self.faults.get(kind as usize).map_or(0, read)
    }

    pub(super) fn opened(&self, spoken: Spoken) {
        if let Some(count) = self.accepted.get(spoken as usize) {
            add(count, 1);
        }
    }

    pub(super) fn closed(&self, spoken: Spoken) {
        if let Some(count) = self.closed.get(spoken as usize) {
            add(count, 1);
        }
    }

    /// How many were opened, and how many of those closed.
    pub(super) fn connections(&self, spoken: Spoken) -> (u64, u64) {
        let of = |all: &[AtomicU64; 3]| all.get(spoken as usize).map_or(0, read);
        (of(&self.accepted), of(&self.closed))
    }
}
