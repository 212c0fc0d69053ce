//! The life of a notebook, with a spawner that starts nothing but a socket.

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
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    sync::watch,
};

use crate::{
    api::Api,
    core::{Core, Front},
    pages::Pages,
    phase::Phase,
    record::{Ended, Record},
    server::View,
    spawn::{Handle, Pending, Place, SpawnError, Spawner, Start, Status},
    store::{Saver, Store, StoreError},
    user::User,
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
            Ok(Handle { process, started: 1_700_000_000, detail: Value::Null })
        })
    }

    fn find(&self, place: &Place) -> Option<Handle> {
        let process = *self.newest.lock().unwrap().get(&place.socket)?;
        let handle = Handle { process, started: 1_700_000_000, detail: Value::Null };
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
    records: Mutex<HashMap<User, Record>>,
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
        self.records.lock().unwrap().insert(record.user.clone(), record.clone());
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
        for (user, view) in self.core.all() {
            if view.phase == Phase::Ready {
                self.until_saved(user.name(), Phase::Ready).await;
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
        let api = Api::new(self.core.clone());
        let answer = api.call(request(method, path, body, "application/json", None)).await;
        let text = text(answer.body);
        (answer.status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn launch(&self, user: &str, body: Value) -> (u16, Value) {
        self.api("POST", &format!("/notebooks/{user}"), &body).await
    }

    async fn page(&self, method: &str, path: &str, user: &str) -> Response {
        let pages = Pages::new(self.core.clone());
        pages.call(request(method, path, &Value::Null, "text/html", Some(user))).await
    }

    async fn until(&self, user: &str, is_so: impl FnMut(&View) -> bool) -> View {
        let server = self.core.server(&User::new(user).unwrap()).unwrap();
        let mut views = server.follow();
        let so = tokio::time::timeout(Duration::from_secs(20), views.wait_for(is_so)).await;
        so.expect("in time").unwrap().clone()
    }

    async fn until_phase(&self, user: &str, phase: Phase) -> View {
        self.until(user, |view| view.phase == phase).await
    }

    /// What a process saves on its last day may still be under way when a test goes on.
    async fn until_saved(&self, user: &str, phase: Phase) {
        let mut saved = self.disk.saved.subscribe();
        let so = saved.wait_for(|_| self.saved(user) == phase);
        tokio::time::timeout(Duration::from_secs(20), so).await.expect("in time").unwrap();
    }

    fn saved(&self, user: &str) -> Phase {
        self.disk.records.lock().unwrap()[&User::new(user).unwrap()].phase
    }
}

fn core(folder: &TempDir, fake: &Arc<Fake>, disk: &Arc<Disk>) -> Arc<Core> {
    let around = crate::Surroundings {
        base: folder.path().into(),
        state_folder: folder.path().join("state"),
        runtime_folder: folder.path().join("run"),
        python: Some("/bin/sh".into()),
        package: folder.path().into(),
        guardian: "/bin/true".into(),
    };
    let config = crate::Config {
        max_notebooks: Some(2),
        start_timeout: Some(crate::Lapse(Duration::from_millis(1500))),
        ..Default::default()
    };
    let plan = config.resolve(&around).unwrap();
    let core = Core::new(plan, Routes::new(), Saver::new(disk.clone()), fake.clone());
    core.set_front(Front {
        guard: Arc::new(Open),
        pages: Arc::new(Pages::new(core.clone())),
        site_cookies: Arc::default(),
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

#[tokio::test]
async fn a_notebook_is_launched_joined_and_stopped() {
    let world = World::new();
    let (status, first) = world.launch("ada", json!({"startup": "a = 1"})).await;
    assert_eq!(
        (status, &first["state"], &first["created"]),
        (202, &json!("starting"), &json!(true))
    );
    let url = first["url"].as_str().unwrap();
    assert!(url.starts_with("/notebook/ada/lab/tree/default-") && url.ends_with(".ipynb"), "{url}");
    world.until_phase("ada", Phase::Ready).await;
    let (status, second) = world.launch("ada", json!({"startup": "a = 1"})).await;
    assert_eq!(
        (status, &second["state"], &second["created"]),
        (200, &json!("ready"), &json!(false))
    );
    assert_eq!(second["url"], first["url"]);
    let (status, entry) = world.api("GET", "/notebooks/ada", &Value::Null).await;
    assert_eq!((status, &entry["state"], &entry["pid"]), (200, &json!("ready"), &json!(100)));
    let (status, entry) = world.api("DELETE", "/notebooks/ada", &Value::Null).await;
    assert_eq!((status, &entry["state"]), (200, &json!("absent")));
    assert_eq!(world.saved("ada"), Phase::Absent);
    let (status, _) = world.api("DELETE", "/notebooks/ada", &Value::Null).await;
    assert_eq!(status, 404);
    assert_eq!(world.fake.started.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn clicks_at_once_start_one_notebook() {
    let world = World::new();
    let body = json!({"startup": "a = 1"});
    let (a, b, c) = tokio::join!(
        world.launch("ada", body.clone()),
        world.launch("ada", body.clone()),
        world.launch("ada", body.clone()),
    );
    for (status, answer) in [a, b, c] {
        assert!(status == 202 || status == 200, "{status} {answer}");
    }
    world.until_phase("ada", Phase::Ready).await;
    assert_eq!(world.fake.started.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn another_context_takes_its_place() {
    let world = World::new();
    world.launch("ada", json!({"context_hash": 1})).await;
    world.until_phase("ada", Phase::Ready).await;
    let (status, answer) = world.launch("ada", json!({"context_hash": 2})).await;
    assert_eq!((status, &answer["created"]), (202, &json!(true)));
    let is_new = |view: &View| view.phase == Phase::Ready && view.process == Some(101);
    let view = world.until("ada", is_new).await;
    assert_eq!(view.hash.as_deref(), Some("2"));
    assert!(answer["url"] == view.url);
    // Only the newest of several that come while the old one stops is started.
    world.launch("ada", json!({"context_hash": "3"})).await;
    let is_third = |view: &View| view.phase == Phase::Ready && view.hash.as_deref() == Some("3");
    world.until("ada", is_third).await;
    assert_eq!(world.core.all().len(), 1);
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_can_be_tried_again() {
    let world = World::new();
    world.behave(Behaviour::DiesAtOnce);
    world.launch("ada", json!({})).await;
    let view = world.until_phase("ada", Phase::Failed).await;
    assert_eq!(view.reason.as_deref(), Some("it ended by itself (exit status 3)"));
    let page = world.page("GET", "/notebook/ada/lab", "ada").await;
    assert_eq!(page.status, 502);
    let shown = text(page.body);
    assert!(shown.contains("It ended by itself (exit status 3).") && shown.contains("no module"));
    world.behave(Behaviour::Answers);
    let answer = world.page("POST", "/notebook/ada/-/start", "ada").await;
    assert_eq!(answer.status, 303);
    world.until_phase("ada", Phase::Ready).await;
}

#[tokio::test]
async fn a_start_that_takes_too_long_is_ended() {
    let world = World::new();
    world.behave(Behaviour::Hangs);
    world.launch("ada", json!({})).await;
    let view = world.until_phase("ada", Phase::Failed).await;
    assert_eq!(view.reason.as_deref(), Some("it did not answer within 1 s"));
    assert!(world.fake.servers.lock().unwrap()[&100].borrow().is_some());
}

#[tokio::test]
async fn a_start_can_be_stopped() {
    let world = World::new();
    world.behave(Behaviour::Hangs);
    world.launch("ada", json!({})).await;
    let (status, _) = world.api("DELETE", "/notebooks/ada", &Value::Null).await;
    assert_eq!(status, 200);
    assert!(world.fake.servers.lock().unwrap()[&100].borrow().is_some());
}

#[tokio::test]
async fn a_notebook_that_dies_is_shown_as_such() {
    let world = World::new();
    world.launch("ada", json!({})).await;
    world.until_phase("ada", Phase::Ready).await;
    world.fake.end(100, "it ended by itself (signal 9)");
    let view = world.until_phase("ada", Phase::Absent).await;
    assert_eq!(view.reason.as_deref(), Some("it ended by itself (signal 9)"));
    let page = world.page("GET", "/notebook/ada/lab", "ada").await;
    assert_eq!(page.status, 404);
    let shown = text(page.body);
    assert!(shown.contains("Start it again") && shown.contains("last words"), "{shown}");
}

#[tokio::test]
async fn there_are_never_too_many() {
    let world = World::new();
    world.launch("a", json!({})).await;
    world.launch("b", json!({})).await;
    let (status, answer) = world.launch("c", json!({})).await;
    assert_eq!(status, 503);
    assert_eq!(answer["error"], "too many notebooks are running: 2 at most");
    world.until_phase("a", Phase::Ready).await;
    let (status, _) = world.launch("a", json!({})).await;
    assert_eq!(status, 200);
    world.launch("a", json!({"context_hash": "other"})).await;
    world.until("a", |v| v.phase == Phase::Ready && v.hash.as_deref() == Some("other")).await;
    world.api("DELETE", "/notebooks/b", &Value::Null).await;
    let (status, _) = world.launch("c", json!({})).await;
    assert_eq!(status, 202);
}

#[tokio::test]
async fn a_full_disk_refuses_launches_and_nothing_else() {
    let world = World::new();
    world.launch("ada", json!({"context_hash": 1})).await;
    world.until_phase("ada", Phase::Ready).await;
    world.disk.is_full.store(true, Ordering::Relaxed);
    for (user, body) in [("bob", json!({})), ("ada", json!({"context_hash": 2}))] {
        let (status, answer) = world.launch(user, body).await;
        assert_eq!(status, 503);
        let error = answer["error"].as_str().unwrap();
        assert!(error.ends_with("the disk of the state folder /state is full"), "{error}");
    }
    let (status, answer) = world.launch("ada", json!({"context_hash": 1})).await;
    assert_eq!((status, &answer["state"]), (200, &json!("ready")));
    world.disk.is_full.store(false, Ordering::Relaxed);
    let (status, _) = world.launch("bob", json!({})).await;
    assert_eq!(status, 202);
}

#[tokio::test]
async fn what_runs_is_found_again() {
    let mut world = World::new();
    world.launch("ada", json!({"context_hash": 1})).await;
    world.until_phase("ada", Phase::Ready).await;
    world.behave(Behaviour::Hangs);
    world.launch("bob", json!({})).await;
    world.until("bob", |view| view.process.is_some()).await;
    world.behave(Behaviour::Answers);
    world.kill().await;
    world.revive();
    let ada = world.until_phase("ada", Phase::Ready).await;
    assert_eq!(ada.process, Some(100));
    // Bob's was starting: that start goes on, to its end.
    world.until_phase("bob", Phase::Failed).await;
    let (status, answer) = world.launch("ada", json!({"context_hash": 1})).await;
    assert_eq!((status, &answer["created"]), (200, &json!(false)));
    assert_eq!(world.fake.started.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_ended_meanwhile_is_known_after_a_restart() {
    let mut world = World::new();
    world.launch("ada", json!({})).await;
    world.until_phase("ada", Phase::Ready).await;
    world.kill().await;
    world.fake.end(100, "it was ended: its time was up");
    world.revive();
    let view = world.until_phase("ada", Phase::Absent).await;
    assert_eq!(view.reason.as_deref(), Some("it was ended: its time was up"));
    world.until_saved("ada", Phase::Absent).await;
}

/// Whatever the record says, what was started is neither lost nor started twice.
#[tokio::test]
async fn a_crash_between_any_two_steps_loses_nothing() {
    for (phase, has_handle, next, expected) in [
        (Phase::Starting, false, None, "1"),
        (Phase::Starting, true, None, "1"),
        (Phase::Ready, true, None, "1"),
        (Phase::Stopping, true, Some(2), "2"),
    ] {
        let mut world = World::new();
        world.launch("ada", json!({"context_hash": 1})).await;
        world.until_phase("ada", Phase::Ready).await;
        world.kill().await;
        {
            let mut records = world.disk.records.lock().unwrap();
            let record = records.get_mut(&User::new("ada").unwrap()).unwrap();
            record.phase = phase;
            record.next = next.map(|hash: i32| crate::record::Launch {
                hash: hash.to_string(),
                ..record.launch.clone()
            });
            if !has_handle {
                record.handle = None;
            }
        }
        world.revive();
        let is_so =
            |view: &View| view.phase == Phase::Ready && view.hash.as_deref() == Some(expected);
        world.until("ada", is_so).await;
        let started = if next.is_some() { 2 } else { 1 };
        assert_eq!(world.fake.started.load(Ordering::Relaxed), started, "{phase:?} {has_handle}");
    }
}

#[tokio::test]
async fn what_runs_unwanted_is_ended() {
    let mut world = World::new();
    world.launch("ada", json!({})).await;
    world.until_phase("ada", Phase::Ready).await;
    world.kill().await;
    {
        let mut records = world.disk.records.lock().unwrap();
        records.get_mut(&User::new("ada").unwrap()).unwrap().phase = Phase::Absent;
    }
    world.revive();
    world.until_phase("ada", Phase::Absent).await;
    assert!(world.fake.servers.lock().unwrap()[&100].borrow().is_some());
}

#[tokio::test]
async fn a_socket_that_was_swept_away_ends_its_notebook() {
    let mut world = World::new();
    world.launch("ada", json!({})).await;
    world.until_phase("ada", Phase::Ready).await;
    std::fs::remove_dir_all(world.folder.path().join("run")).unwrap();
    world.kill().await;
    world.revive();
    let view = world.until_phase("ada", Phase::Absent).await;
    assert_eq!(view.reason.as_deref(), Some("its socket was removed with the runtime folder"));
}

#[tokio::test]
async fn pages_stand_in_for_what_is_not_there_yet() {
    let world = World::new();
    let page = world.page("GET", "/notebook/ada/lab", "ada").await;
    assert_eq!(page.status, 404);
    assert!(text(page.body).contains("Open one from the site."));
    world.behave(Behaviour::Hangs);
    world.launch("ada", json!({})).await;
    let page = world.page("GET", "/notebook/ada/", "ada").await;
    assert_eq!(page.status, 200);
    let policy = page.fields.get("content-security-policy").unwrap().to_vec();
    let nonce = String::from_utf8_lossy(&policy).into_owned();
    let nonce = nonce.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let shown = text(page.body);
    assert!(shown.contains(&format!("<script nonce=\"{nonce}\">")), "{shown}");
    let events = "data-events=\"&#x2f;notebook&#x2f;ada&#x2f;-&#x2f;progress\"";
    assert!(shown.contains(events) && shown.contains("data-front=\"yes\""), "{shown}");
    assert!(shown.contains("<noscript><meta http-equiv=\"refresh\""), "{shown}");
    let own = world.page("GET", "/notebook/", "ada").await;
    assert_eq!(own.fields.get("location"), Some(&b"/notebook/ada/"[..]));
    let own = world.page("GET", "/notebook/notebooks/a%20b.ipynb?x=1", "ada@x.org").await;
    let location = own.fields.get("location").unwrap();
    assert_eq!(location, b"/notebook/ada%40x%2Eorg/notebooks/a%20b.ipynb?x=1");
    let own = world.page("GET", "/notebook/ada", "ada").await;
    assert_eq!(own.fields.get("location"), Some(&b"/notebook/ada/"[..]));
}

#[tokio::test]
async fn progress_is_told_to_its_end() {
    let world = World::new();
    world.launch("ada", json!({})).await;
    let answer = world.page("GET", "/notebook/ada/-/progress", "ada").await;
    let Body::Stream(mut events) = answer.body else { panic!("no stream") };
    let mut told = String::new();
    let listen = async {
        while let Some(piece) = std::future::poll_fn(|context| events.poll_chunk(context)).await {
            told.push_str(&String::from_utf8_lossy(&piece.unwrap()));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), listen).await.unwrap();
    assert!(told.starts_with("event: state\ndata: {\"state\":\"starting\""), "{told}");
    assert!(
        told.trim_end().ends_with(".ipynb\"}") && told.contains("\"state\":\"ready\""),
        "{told}"
    );
}

async fn check_refused(method: &str, path: &str, body: Value, status: u16, error: &str) {
    let world = World::new();
    let (got, answer) = world.api(method, path, &body).await;
    assert_eq!((got, answer["error"].as_str()), (status, Some(error)), "{method} {path}");
    assert!(!world.folder.path().join("state").exists(), "nothing was made");
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let long = format!("/notebooks/{}", "x".repeat(300));
    let too_long = "a user's name has at most 128 characters, this one has 300";
    check_refused("POST", &long, json!({}), 400, too_long).await;
    let dots = "a user's name must not be `.` or `..`";
    check_refused("POST", "/notebooks/%2E%2E", json!({}), 400, dots).await;
    let control = "a user's name must not hold control characters";
    check_refused("POST", "/notebooks/a%00", json!({}), 400, control).await;
    let empty = "a user's name must not be empty";
    check_refused("POST", "/notebooks//x", json!({}), 400, empty).await;
    let context = "`startup` must be Python source as text";
    check_refused("POST", "/notebooks/ada", json!({"startup": []}), 400, context).await;
    let named = "a notebook beside a user's first one is not supported yet";
    check_refused("POST", "/notebooks/ada/second", json!({}), 422, named).await;
    check_refused("GET", "/notebooks/ada", json!({}), 404, "no notebook of `ada` is known").await;
    check_refused("DELETE", "/notebooks/ada", json!({}), 404, "no notebook of `ada` is running")
        .await;
    check_refused("PUT", "/notebooks", json!({}), 405, "this address does not take this method")
        .await;
    check_refused("GET", "/notebooksx", json!({}), 404, "there is nothing at this address").await;
}
