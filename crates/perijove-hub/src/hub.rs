//! The hub: opened from a plan, runs until it is told to stop.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::{
            DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
        },
    },
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use perijove_gateway::{CookieNames, Routes, Service, Upstreams};
use rustix::fs::FlockOperation;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    api::Api,
    authority::Authenticator,
    config::Plan,
    core::{Core, Front},
    guard::{Door, Side},
    pages::Pages,
    site_cookies,
    spawn::{Local, Spawner},
    store::{Saver, Sqlite, Store, StoreError},
    ticket::Tickets,
};

mod doors;

use doors::{Doors, insert_routes, root_paths};

/// Names of sockets end at 107 bytes; ours need this much after the runtime folder.
const SOCKET_NAME: usize = "/notebook/0123456789abcdef/sock".len();
/// How long the tasks of servers may take to end; they only wait for what is being saved.
const LAST_MOMENT: Duration = Duration::from_secs(5);
/// How long a lock that is held is waited for, and how often it is looked at.
const HELD: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// Knows who has which notebook, and keeps the gateway's routes in step with that.
#[derive(Debug)]
pub struct Hub {
    core: Arc<Core>,
    authenticator: Arc<dyn Authenticator>,
    tickets: Option<Tickets>,
    site_cookies: Arc<CookieNames>,
    /// Held as long as this hub lives, or until another follows, so that there is never a second
    /// one.
    lock: Mutex<Option<StateLock>>,
}

/// Why the hub could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("another perijove uses the state folder {folder} (process {process})")]
    Locked { folder: String, process: String },
    #[error("notebooks need a site that says who may use them")]
    NoAuthority,
    #[error("the runtime folder {folder} has too long a name for sockets below it")]
    LongName { folder: String },
    #[error("could not use {path}")]
    Io { path: String, source: io::Error },
    #[error("{0}")]
    State(String),
}

/// Why a changed plan could not be taken over.
#[derive(Debug, Error)]
#[error("a change of {key} needs a restart")]
pub struct ReconfigureError {
    pub key: &'static str,
}

impl Hub {
    /// Takes the state folder, finds the notebooks that still run, and inserts all routes.
    ///
    /// To be called on the runtime that `run` is called on, and within it: notebooks are started
    /// from its thread.
    pub async fn open(
        plan: Plan,
        routes: Routes,
        site: Option<Arc<Upstreams>>,
    ) -> Result<Self, OpenError> {
        check_length(&plan)?;
        make_folder(&plan.state_folder)?;
        let lock = StateLock::take(&plan.state_folder).await?;
        Self::open_with(plan, routes, site, lock).await
    }

    /// Like [`Hub::open`], after a hub that was closed and has handed its lock on.
    pub async fn follow(
        plan: Plan,
        routes: Routes,
        site: Option<Arc<Upstreams>>,
        lock: StateLock,
    ) -> Result<Self, OpenError> {
        check_length(&plan)?;
        lock.note();
        Self::open_with(plan, routes, site, lock).await
    }

    async fn open_with(
        plan: Plan,
        routes: Routes,
        site: Option<Arc<Upstreams>>,
        lock: StateLock,
    ) -> Result<Self, OpenError> {
        let spawner: Arc<dyn Spawner> = Arc::new(Local::default());
        make_own_folder(&plan.state_folder.join("notebooks"))?;
        make_own_folder(&plan.runtime_folder.join("notebook"))?;
        let (wanted, asked) = (plan.clone(), site.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let doors = Doors::open(&wanted, asked.as_ref())?;
            let names = doors.cookie_names(asked.as_ref());
            site_cookies::recall(&wanted.state_folder, &names);
            let told = |error: StoreError| OpenError::State(error.to_string());
            let store = Sqlite::open(&wanted.state_folder).map_err(told)?;
            let records = store.all().map_err(told)?;
            Ok::<_, OpenError>((doors, names, store, records))
        });
        let opened = opened.await.map_err(|error| OpenError::State(error.to_string()))?;
        let (doors, site_cookies, store, records) = opened?;
        let core = Core::new(plan, routes.clone(), Saver::new(Arc::new(store)), spawner);
        let authenticator = doors.watched();
        let tickets = doors.tickets.clone();
        let plan = core.plan.load_full();
        let side = if plan.domain.is_some() { Side::Domain } else { Side::Site };
        let front = Front {
            guard: Arc::new(Door::new(core.clone(), doors.authenticator.clone(), side)),
            pages: Arc::new(Pages::new(core.clone())),
            site_cookies: site_cookies.clone(),
            ancestors: plan.ancestors().map(Arc::new),
        };
        insert_routes(&plan, &routes, &front, site.as_ref());
        doors.insert_routes(&core, &routes, &front);
        core.set_front(front);
        for record in records {
            core.adopt(record);
        }
        // A site that nobody has opened a notebook at need not have one made ready.
        if core.plan.load().is_warm_at_once || !core.all().is_empty() {
            core.spawner.prepare(&core.plan.load());
        }
        Ok(Self { core, authenticator, tickets, site_cookies, lock: Mutex::new(Some(lock)) })
    }

    /// The control API below `/notebooks`. It checks no secret: that is done before it.
    pub fn service(&self) -> Arc<dyn Service> {
        Arc::new(Api::new(self.core.clone(), self.tickets.clone()))
    }

    /// Runs until `stop`; notebooks go on running afterwards.
    pub async fn run(&self, stop: CancellationToken) {
        let state_folder = self.core.plan.load().state_folder.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.core.stop.cancelled() => {}
            () = self.core.saver.run() => {}
            () = self.authenticator.watch() => {}
            () = site_cookies::keep(state_folder, self.site_cookies.clone()) => {}
        }
        if !self.end_tasks().await {
            tracing::warn!("some notebooks' states were still being saved");
        }
    }

    /// Saves what could not be saved so far. False when it cannot be now either: a hub that followed
    /// this one would not know of it.
    pub async fn save(&self) -> bool {
        self.core.saver.save_what_is_left().await
    }

    /// Makes no move and writes nothing any more, so that another hub may follow on the same
    /// folder. Notebooks run on, and requests pass to them. False when something does not come to
    /// its end.
    pub async fn close(&self) -> bool {
        self.core.saver.save_what_is_left().await;
        let is_ended = self.end_tasks().await;
        self.core.saver.close().await;
        is_ended
    }

    async fn end_tasks(&self) -> bool {
        self.core.stop.cancel();
        self.core.tasks.close();
        tokio::time::timeout(LAST_MOMENT, self.core.tasks.wait()).await.is_ok()
    }

    /// Whether no notebook runs, nor is about to.
    pub fn is_idle(&self) -> bool {
        self.core.is_idle()
    }

    /// After it was closed, and for good: its own pages are gone too.
    pub fn clear_routes(&self) {
        let (plan, routes) = (self.core.plan.load(), self.core.routes());
        for (host, path) in root_paths(&plan) {
            routes.remove(host.as_deref(), &path);
        }
    }

    /// After it was closed: another hub has followed, and answers where this one's pages did. Who
    /// has waited here asks once more.
    pub fn give_way(&self) {
        self.core.followed.cancel();
    }

    /// After it was closed: the hub that follows is in another process. New requests for notebooks
    /// are sent there, and the lock is that one's alone.
    pub fn leave(&self) {
        self.core.close_all_doors();
        self.give_way();
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The same lock once more, for a hub that follows this one: held until both are dropped.
    pub fn share_lock(&self) -> io::Result<StateLock> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.as_ref().map_or_else(|| Err(io::ErrorKind::NotFound.into()), StateLock::share)
    }

    /// Takes over changed settings; notebooks that run keep what they were started with.
    pub fn reconfigure(&self, plan: Plan) -> Result<(), ReconfigureError> {
        if let Some(key) = self.core.plan.load().differs_at_the_root(&plan) {
            return Err(ReconfigureError { key });
        }
        if plan.is_warm_at_once || !self.core.all().is_empty() {
            self.core.spawner.prepare(&plan);
        }
        self.core.plan.store(Arc::new(plan));
        Ok(())
    }
}

fn make_folder(folder: &Path) -> Result<(), OpenError> {
    let told = |source| OpenError::Io { path: folder.display().to_string(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(told)
}

/// A folder that is ours alone. Its parent may be one that others write to: what they have put
/// there in our folder's name is not used.
fn make_own_folder(folder: &Path) -> Result<(), OpenError> {
    let told = |source| OpenError::Io { path: folder.display().to_string(), source };
    make_folder(folder)?;
    let there = fs::symlink_metadata(folder).map_err(told)?;
    if !there.is_dir() || there.uid() != rustix::process::geteuid().as_raw() {
        return Err(told(io::Error::other("it belongs to somebody else")));
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(told)
}

fn check_length(plan: &Plan) -> Result<(), OpenError> {
    let runtime = plan.runtime_folder.as_os_str();
    if runtime.len() + SOCKET_NAME > 107 {
        return Err(OpenError::LongName { folder: runtime.display().to_string() });
    }
    Ok(())
}

/// The lock of a state folder, which the kernel gives back when the last process that shares it
/// ends, however it ends.
#[derive(Debug)]
pub struct StateLock {
    file: File,
}

impl StateLock {
    /// A lock that another process holds and has passed on.
    pub fn passed_on(descriptor: OwnedFd) -> Self {
        Self { file: descriptor.into() }
    }

    /// For another process.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// The same lock once more, held until both are dropped.
    fn share(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()? })
    }

    /// Notes who holds it. For people only; on a full disk the lock holds without it.
    fn note(&self) {
        let mut file = &self.file;
        let written = file.set_len(0).and_then(|()| file.rewind());
        written.and_then(|()| writeln!(file, "{}", std::process::id())).ok();
    }

    /// Takes it, or waits a moment for it: of a perijove that was killed while it started a process,
    /// that process holds the lock until it is what it was to become.
    async fn take(folder: &Path) -> Result<Self, OpenError> {
        let until = Instant::now() + HELD;
        loop {
            match lock(folder) {
                Ok(file) => {
                    let lock = Self { file };
                    lock.note();
                    return Ok(lock);
                }
                Err(OpenError::Locked { .. }) if Instant::now() < until => sleep(LOOK).await,
                Err(error) => return Err(error),
            }
        }
    }
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("hub.lock");
    let told = |source| OpenError::Io { path: path.display().to_string(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(told)?;
    if let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(told(error.into()));
        }
        let mut process = String::new();
        file.read_to_string(&mut process).ok();
        let process = process.trim().to_owned();
        return Err(OpenError::Locked { folder: folder.display().to_string(), process });
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
