//! The listeners of a gateway: opened, changed while it runs, handed to another program.

use std::{
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::{BindError, Listener, Plan};
use crate::{
    connection::Door,
    error::Pages,
    listen::{Bound, Name},
    thread::{Crew, Post},
};

/// The listeners of a gateway, before it runs and while it does.
#[derive(Clone, Debug)]
pub struct Listeners {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Held for the length of one look or one change.
    open: Mutex<Vec<Open>>,
    rules: Arc<ArcSwap<Plan>>,
    /// From the moment the gateway runs.
    crew: OnceLock<Arc<Crew>>,
}

/// A listener that is bound.
#[derive(Debug)]
struct Open {
    /// Never used twice while the program runs.
    id: u64,
    name: String,
    bound: Bound,
    /// What connections that are taken from now on see.
    door: Arc<ArcSwap<Door>>,
}

/// Listeners and rules that wait to take the place of those in use. What could fail is done.
#[derive(Debug)]
pub struct Change {
    planned: Vec<Planned>,
    rules: Arc<Plan>,
}

#[derive(Debug)]
struct Planned {
    name: String,
    /// None for a listener that is there already.
    bound: Option<Bound>,
    door: Door,
}

/// A listener for another program to go on with.
#[derive(Debug)]
pub struct Handed {
    /// [`Listener::name`].
    pub name: String,
    /// A copy, which takes part in the same line of waiting connections.
    pub socket: OwnedFd,
    /// The file of a Unix socket.
    pub file: Option<PathBuf>,
}

impl Listeners {
    /// Opens every listener of the plan.
    pub(super) fn open(plan: Plan) -> Result<Self, BindError> {
        let listeners = Self {
            shared: Arc::new(Shared {
                open: Mutex::default(),
                rules: Arc::new(ArcSwap::from_pointee(Plan::default())),
                crew: OnceLock::new(),
            }),
        };
        let change = listeners.prepare(plan)?;
        listeners.apply(change);
        Ok(listeners)
    }

    /// Opens the listeners of a plan that are not there yet; those of the same name stay. Nothing
    /// has changed until it is applied.
    pub fn prepare(&self, mut plan: Plan) -> Result<Change, BindError> {
        let listeners = std::mem::take(&mut plan.listeners);
        let pages = Arc::new(Pages::new(plan.error_pages.clone()));
        let rules = Arc::new(plan);
        let open = self.lock();
        let planned = listeners.into_iter().map(|listener| {
            let Listener { name, address, routes, tls, strict_transport, is_logged, is_traced } =
                listener;
            let kept = open.iter().find(|open| open.name == name);
            let bound =
                if kept.is_some() { None } else { Some(Bound::open(address, rules.backlog)?) };
            let at = bound.as_ref().or(kept.map(|kept| &kept.bound));
            let door = Door {
                routes,
                tls,
                strict_transport,
                is_logged,
                is_traced,
                port: at.map_or(0, Bound::port),
                pages: pages.clone(),
                rules: rules.clone(),
                is_left: false.into(),
            };
            Ok(Planned { name, bound, door })
        });
        let planned = planned.collect::<Result<_, _>>()?;
        drop(open);
        Ok(Change { planned, rules })
    }

    /// Takes a change over: new connections meet what it says. Those that are open end with their
    /// next answer, so that clients come back to the new rules; so do those of listeners that are
    /// gone. The number of threads stays.
    pub fn apply(&self, change: Change) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let Change { planned, rules } = change;
        let crew = self.shared.crew.get();
        if let Some(crew) = crew {
            crew.limit(&rules);
        }
        self.shared.rules.store(rules);
        let mut open = self.lock();
        let mut before = std::mem::take(&mut *open);
        for Planned { name, bound, door } in planned {
            let found = before.iter().position(|open| open.name == name);
            if let Some(bound) = bound {
                let door = Arc::new(ArcSwap::from_pointee(door));
                let id = NEXT.fetch_add(1, Ordering::Relaxed);
                let opened = Open { id, name, bound, door };
                if let Some(crew) = crew {
                    crew.listen(|| opened.post());
                }
                open.push(opened);
            } else if let Some(found) = found {
                let kept = before.remove(found);
                kept.door.swap(Arc::new(door)).leave();
                open.push(kept);
            }
        }
        for gone in before {
            if let Some(crew) = crew {
                crew.close(gone.id);
            }
            gone.door.load().leave();
        }
    }

    /// The addresses that are bound, as `http://127.0.0.1:8000`, `https://…` or `unix:/path`, in
    /// the order of the plan.
    pub fn addresses(&self) -> Vec<String> {
        let text = |open: &Open| match &open.bound.name {
            Name::Tcp(address) if open.door.load().tls.is_some() => format!("https://{address}"),
            Name::Tcp(address) => format!("http://{address}"),
            Name::Unix(path) => format!("unix:{}", path.display()),
        };
        self.lock().iter().map(text).collect()
    }

    /// Copies of all listeners, for a program that is to go on with them. This one listens on.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn hand(&self) -> io::Result<Vec<Handed>> {
        let hand = |open: &Open| {
            let file = match &open.bound.name {
                Name::Tcp(_) => None,
                Name::Unix(_) => open.bound.file(),
            };
            Ok(Handed { name: open.name.clone(), socket: open.bound.socket.try_clone()?, file })
        };
        self.lock().iter().map(hand).collect()
    }

    /// From now on another program has the listeners: they are let go of with their files, and
    /// connections that are open end with their next answer. To be followed by the stop of the
    /// gateway, which is slower then: requests and upgraded connections may go on for `within`.
    pub fn leave(&self, within: Duration) {
        for open in self.lock().iter() {
            open.bound.own_file(false);
            open.door.load().leave();
        }
        if let Some(crew) = self.shared.crew.get() {
            crew.leave(Instant::now() + within);
        }
    }

    /// The files of Unix sockets that were handed over are removed at the end from now on.
    pub fn own(&self) {
        self.lock().iter().for_each(|open| open.bound.own_file(true));
    }

    pub(super) fn rules(&self) -> Arc<ArcSwap<Plan>> {
        self.shared.rules.clone()
    }

    /// Has threads wait at every listener.
    pub(super) fn man(&self, crew: &Arc<Crew>) {
        let open = self.lock();
        self.shared.crew.get_or_init(|| crew.clone());
        open.iter().for_each(|open| crew.listen(|| open.post()));
    }

    /// Lets go of the listeners.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Open>> {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// What one thread is told of it.
    fn post(&self) -> io::Result<Post> {
        let socket = self.bound.socket.try_clone()?;
        let (name, door) = (self.bound.name.clone(), self.door.clone());
        Ok(Post { id: self.id, socket, name, door })
    }
}
