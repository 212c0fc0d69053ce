//! The hub: opened from a plan, runs until it is told to stop.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::Path,
    sync::Arc,
    time::Duration,
};

use perijove_gateway::{CookieNames, Route, Routes, Service, Target, Upstreams};
use rustix::fs::FlockOperation;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::{
    api::Api,
    authority::Authority,
    config::Plan,
    core::{Core, Front},
    guard::Door,
    pages::Pages,
    site::Asked,
    site_cookies,
    spawn::{Local, Spawner},
    store::{Saver, Sqlite, Store, StoreError},
};

/// Names of sockets end at 107 bytes; ours need this much after the runtime folder.
const SOCKET_NAME: usize = "/notebook/0123456789abcdef/sock".len();
/// How long the tasks of servers may take to end; they only wait for what is being saved.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// Knows who has which notebook, and keeps the gateway's routes in step with that.
#[derive(Debug)]
pub struct Hub {
    core: Arc<Core>,
    site_cookies: Arc<CookieNames>,
    /// Held as long as this hub lives, so that there is never a second one.
    _lock: File,
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
        let site = site.ok_or(OpenError::NoAuthority)?;
        Self::open_with(plan, routes, site, Arc::new(Local)).await
    }

    async fn open_with(
        plan: Plan,
        routes: Routes,
        site: Arc<Upstreams>,
        spawner: Arc<dyn Spawner>,
    ) -> Result<Self, OpenError> {
        let runtime = plan.runtime_folder.as_os_str();
        if runtime.len() + SOCKET_NAME > 107 {
            return Err(OpenError::LongName { folder: runtime.display().to_string() });
        }
        make_folder(&plan.state_folder)?;
        make_own_folder(&plan.state_folder.join("notebooks"))?;
        make_own_folder(&plan.runtime_folder.join("notebook"))?;
        let lock = lock(&plan.state_folder)?;
        let state_folder = plan.state_folder.clone();
        let site_cookies = site.cookie_names().clone();
        let names = site_cookies.clone();
        let opened = tokio::task::spawn_blocking(move || {
            site_cookies::recall(&state_folder, &names);
            let store = Sqlite::open(&state_folder)?;
            let records = store.all()?;
            Ok::<_, StoreError>((store, records))
        });
        let opened = opened.await.map_err(|error| OpenError::State(error.to_string()))?;
        let (store, records) = opened.map_err(|error| OpenError::State(error.to_string()))?;
        let core = Core::new(plan, routes.clone(), Saver::new(Arc::new(store)), spawner);
        let authority = Authority::new(Arc::new(Asked::new(site.clone())));
        let front = Front {
            guard: Arc::new(Door::new(core.clone(), authority)),
            pages: Arc::new(Pages::new(core.clone())),
            site_cookies: site_cookies.clone(),
        };
        insert_routes(&core.plan.load(), &routes, &front, &site);
        core.set_front(front);
        for record in records {
            core.adopt(record);
        }
        Ok(Self { core, site_cookies, _lock: lock })
    }

    /// The control API below `/notebooks`. It checks no secret: that is done before it.
    pub fn service(&self) -> Arc<dyn Service> {
        Arc::new(Api::new(self.core.clone()))
    }

    /// Runs until `stop`; notebooks go on running afterwards.
    pub async fn run(&self, stop: CancellationToken) {
        let state_folder = self.core.plan.load().state_folder.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.core.saver.run() => {}
            () = site_cookies::keep(state_folder, self.site_cookies.clone()) => {}
        }
        self.core.stop.cancel();
        self.core.tasks.close();
        if tokio::time::timeout(LAST_MOMENT, self.core.tasks.wait()).await.is_err() {
            tracing::warn!("some notebooks' states were still being saved");
        }
    }

    /// Takes over changed settings; notebooks that run keep what they were started with.
    pub fn reconfigure(&self, plan: Plan) -> Result<(), ReconfigureError> {
        if let Some(key) = self.core.plan.load().differs_at_the_root(&plan) {
            return Err(ReconfigureError { key });
        }
        self.core.plan.store(Arc::new(plan));
        Ok(())
    }
}

/// The routes that are there whether or not anybody has a notebook.
fn insert_routes(plan: &Plan, routes: &Routes, front: &Front, site: &Arc<Upstreams>) {
    routes.insert(None, &plan.path, front.route());
    let to_slash = Target::Redirect { status: 308, location: plan.path.as_str().into() };
    routes.insert(None, plan.path.trim_end_matches('/'), Route::new(to_slash));
    for path in &plan.site_paths {
        let target = Target::Proxy { files: Arc::new([]), upstreams: site.clone() };
        routes.insert(None, &format!("{}{path}", plan.path), Route::new(target));
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

/// Takes the lock of the state folder, which the kernel gives back when this process ends,
/// however it ends.
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
    // For people only; on a full disk the lock holds without it.
    let written = file.set_len(0).and_then(|()| file.rewind());
    written.and_then(|()| writeln!(file, "{}", std::process::id())).ok();
    Ok(file)
}

#[cfg(test)]
mod tests;
