//! The life of a notebook, with a spawner that starts nothing but a socket.

mod front;
mod life;
mod restart;

use std::{
    collections::HashMap,
    os::unix::fs::DirBuilderExt as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use perijove_gateway::{Body, Client, Head, Response, Routes, Scheme, Service, ServiceRequest};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    sync::watch,
};

use crate::{
    api::Api,
    core::{Core, Front},
    notebook::Notebook,
    pages::Pages,
    phase::Phase,
    record::{Ended, Record},
    server::View,
    spawn::{Handle, Pending, Place, SpawnError, Spawner, Start, Status},
    store::{Saver, Store, StoreError},
};

/// What the next servers do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Behaviour {
    Answers,
    /// Listens, but never answers.
    Hangs,
    DiesAtOnce,
}

/// Servers that live in the test itself, and outlive the hub.
#[derive(Debug)]
struct Fake {
    behaviour: Mutex<Behaviour>,
    /// By process: the way to end it, and how it ended.
    servers: Mutex<HashMap<i32, watch::Sender<Option<Ended>>>>,
    /// The newest process of each place.
    newest: Mutex<HashMap<std::path::PathBuf, i32>>,
    started: AtomicUsize,
}

impl Fake {
    fn end(&self, process: i32, reason: &str) {
        let lines = vec!["last words".to_owned()];
        let ended = Ended { reason: reason.to_owned(), last_lines: lines };
        let servers = self.servers.lock().unwrap();
        servers[&process].send_if_modified(|state| {
            let is_first = state.is_none();
            state.get_or_insert(ended);
            is_first
        });
    }

    fn watch(&self, handle: &Handle) -> watch::Receiver<Option<Ended>> {
        self.servers.lock().unwrap()[&handle.process].subscribe()
    }
}

impl Spawner for Fake {
    fn start<'a>(&'a self, start: Start<'a>) -> Pending<'a, Result<Handle, SpawnError>> {
        Box::pin(async move {
            let process =
                i32::try_from(self.started.fetch_add(1, Ordering::Relaxed)).unwrap() + 100;
            let behaviour = *self.behaviour.lock().unwrap();
            let (sender, mut ended) = watch::channel(None);
            self.servers.lock().unwrap().insert(process, sender);
            self.newest.lock().unwrap().insert(start.place.socket.clone(), process);
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&start.place.socket_folder)
                .unwrap();
            std::fs::remove_file(&start.place.socket).ok();
            let listener = UnixListener::bind(&start.place.socket).unwrap();
            let expected = format!("Authorization: token {}", start.token.reveal());
            tokio::spawn(async move {
                tokio::select! {
                    _ = ended.wait_for(Option::is_some) => {}
                    () = serve(&listener, &expected, behaviour) => {}
                }
            });
            if behaviour == Behaviour::DiesAtOnce {
                self.end(process, "it ended by itself (exit status 3)");
            }
            Ok(Handle { process, started: 1_700_000_000, is_warm: false, detail: Value::Null })
        })
    }

    fn find(&self, place: &Place) -> Option<Handle> {
        let process = *self.newest.lock().unwrap().get(&place.socket)?;
        let handle =
            Handle { process, started: 1_700_000_000, is_warm: false, detail: Value::Null };
        (self.poll(place, &handle) == Status::Running).then_some(handle)
    }

    fn poll(&self, _: &Place, handle: &Handle) -> Status {
        self.watch(handle).borrow().clone().map_or(Status::Running, Status::Ended)
    }

    fn ended<'a>(&'a self, _: &'a Place, handle: &'a Handle) -> Pending<'a, ()> {
        Box::pin(async move {
            self.watch(handle).wait_for(Option::is_some).await.unwrap();
        })
    }

    fn stop<'a>(&'a self, handle: &'a Handle, _: Duration) -> Pending<'a, Result<(), SpawnError>> {
        Box::pin(async move {
            self.end(handle.process, "it was stopped");
            Ok(())
        })
    }

    fn last_lines(&self, _: &Place) -> Vec<String> {
        vec!["Traceback".to_owned(), "no module".to_owned()]
    }
}

/// Answers every request whose token is right.
async fn serve(listener: &UnixListener, expected: &str, behaviour: Behaviour) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        if behaviour == Behaviour::Hangs {
            std::future::pending::<()>().await;
        }
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let text = String::from_utf8_lossy(&request[..length]).into_owned();
        let status = if text.contains(expected) { "200 OK" } else { "403 Forbidden" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.ok();
    }
}

/// A disk that can be full.
#[derive(Debug, Default)]
struct Disk {
    is_full: AtomicBool,
    records: Mutex<HashMap<Notebook, Record>>,
    /// Counts what was saved.
    saved: watch::Sender<u64>,
}

impl Store for Disk {
    fn all(&self) -> Result<Vec<Record>, StoreError> {
        Ok(self.records.lock().unwrap().values().cloned().collect())
    }

    fn put(&self, record: &Record) -> Result<(), StoreError> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(StoreError::Full { folder: "/state".to_owned() });
        }
        self.records.lock().unwrap().insert(record.notebook.clone(), record.clone());
        self.saved.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// A guard that lets everybody be whoever the test says.
#[derive(Debug)]
struct Open;

impl perijove_gateway::Guard for Open {
    fn check<'a>(
        &'a self,
        _: perijove_gateway::Question<'a>,
    ) -> Pending<'a, perijove_gateway::Verdict> {
        Box::pin(async { perijove_gateway::Verdict::Pass(perijove_gateway::Pass::default()) })
    }
}

struct World {
    folder: TempDir,
    fake: Arc<Fake>,
    disk: Arc<Disk>,
    core: Arc<Core>,
}

impl World {
    fn new() -> Self {
        let fake = Arc::new(Fake {
            behaviour: Mutex::new(Behaviour::Answers),
            servers: Mutex::default(),
            newest: Mutex::default(),
            started: AtomicUsize::new(0),
        });
        let folder = TempDir::with_prefix("pj-").unwrap();
        let disk = Arc::new(Disk::default());
        let core = core(&folder, &fake, &disk);
        Self { folder, fake, disk, core }
    }

    /// Ends the hub, whose servers go on.
    async fn kill(&self) {
        for (notebook, view) in self.core.all() {
            if view.phase == Phase::Ready {
                self.until_saved(&notebook.to_string(), Phase::Ready).await;
            }
        }
        self.core.stop.cancel();
        self.core.tasks.close();
        self.core.tasks.wait().await;
    }

    /// A new hub on what the old one has left.
    fn revive(&mut self) {
        self.core = core(&self.folder, &self.fake, &self.disk);
        for record in self.disk.all().unwrap() {
            self.core.adopt(record);
        }
    }

    fn behave(&self, behaviour: Behaviour) {
        *self.fake.behaviour.lock().unwrap() = behaviour;
    }

    async fn api(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let api = Api::new(self.core.clone(), None);
        let answer = api.call(request(method, path, body, "application/json", None)).await;
        let text = text(answer.body);
        (answer.status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn launch(&self, notebook: &str, body: Value) -> (u16, Value) {
        self.api("POST", &format!("/notebooks/{notebook}"), &body).await
    }

    async fn page(&self, method: &str, path: &str, user: &str) -> Response {
        let pages = Pages::new(self.core.clone());
        pages.call(request(method, path, &Value::Null, "text/html", Some(user))).await
    }

    async fn until(&self, notebook: &str, is_so: impl FnMut(&View) -> bool) -> View {
        let server = self.core.server(&Notebook::called(notebook)).unwrap();
        let mut views = server.follow();
        let so = tokio::time::timeout(Duration::from_secs(20), views.wait_for(is_so)).await;
        so.expect("in time").unwrap().clone()
    }

    async fn until_phase(&self, notebook: &str, phase: Phase) -> View {
        self.until(notebook, |view| view.phase == phase).await
    }

    /// What a process saves on its last day may still be under way when a test goes on.
    async fn until_saved(&self, notebook: &str, phase: Phase) {
        let mut saved = self.disk.saved.subscribe();
        let so = saved.wait_for(|_| self.saved(notebook) == phase);
        tokio::time::timeout(Duration::from_secs(20), so).await.expect("in time").unwrap();
    }

    fn saved(&self, notebook: &str) -> Phase {
        self.disk.records.lock().unwrap()[&Notebook::called(notebook)].phase
    }
}

fn core(folder: &TempDir, fake: &Arc<Fake>, disk: &Arc<Disk>) -> Arc<Core> {
    let around = crate::Surroundings {
        is_alone: false,
        hosts: Vec::new(),
        has_site: true,
        base: folder.path().into(),
        state_folder: folder.path().join("state"),
        runtime_folder: folder.path().join("run"),
        python: Some("/bin/sh".into()),
        package: folder.path().into(),
        guardian: "/bin/true".into(),
    };
    let config = crate::Config {
        max_notebooks: Some(3),
        max_per_user: Some(2),
        start_timeout: Some(crate::Lapse(Duration::from_millis(1500))),
        ..Default::default()
    };
    let plan = config.resolve(&around).unwrap();
    let core = Core::new(plan, Routes::new(), Saver::new(disk.clone()), fake.clone());
    core.set_front(Front {
        guard: Arc::new(Open),
        pages: Arc::new(Pages::new(core.clone())),
        site_cookies: Arc::default(),
        ancestors: None,
    });
    core
}

fn request(
    method: &str,
    path: &str,
    body: &Value,
    accept: &str,
    subject: Option<&str>,
) -> ServiceRequest {
    let fields: [(&[u8], &[u8]); 2] = [(b"Host", b"site"), (b"Accept", accept.as_bytes())];
    ServiceRequest {
        head: Head::from_parts(method, path.as_bytes(), &fields).unwrap(),
        body: if body.is_null() { "".into() } else { body.to_string().into() },
        client: Client {
            address: None,
            scheme: Scheme::Http,
            host: "site".into(),
            port: 0,
            peer: None,
            request_id: "1".into(),
            trace: None,
            proven: None,
        },
        subject: subject.map(Into::into),
    }
}

fn text(body: Body) -> String {
    match body {
        Body::Full(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        _ => String::new(),
    }
}
