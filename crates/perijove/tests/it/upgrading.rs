//! A new process of perijove in the place of the old one: nobody notices, whatever fails.

mod failing;
mod load;
mod notebooks;

use std::{fs, path::Path};

use rustix::process::Signal;
use serde_json::Value;

use crate::site::{Plan, Site, text, until};

/// The process that has the site, as it says itself.
fn process(site: &Site) -> i64 {
    site.status()["process"].as_i64().unwrap()
}

/// Upgrades, and waits until the old process has ended.
async fn upgrade(site: &mut Site) -> String {
    let before = process(site);
    let told = site.tell(&["upgrade"]);
    assert!(told.contains(&format!("from process {before}")), "{told}");
    let now = process(site);
    assert!(told.contains(&format!("process {now} ")), "{told}");
    until("the old process has ended", || !is_running(before)).await;
    told
}

fn is_running(process: i64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // What has ended and was not waited for yet is a zombie.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

#[tokio::test]
async fn another_process_serves_and_the_old_one_ends() {
    let mut site = Plan::new().wsgi("hello").set("pid-file = 'site.pid'").start().await;
    let first = process(&site);
    let workers = site.workers();
    upgrade(&mut site).await;
    let second = process(&site);
    assert_ne!(first, second);
    assert!(workers.iter().all(|worker| !is_running((*worker).into())), "{workers:?}");
    site.get("/").await.shows("hello");
    let noted = fs::read_to_string(site.folder().join("site.pid")).unwrap();
    assert_eq!(noted.trim(), second.to_string());
    // And once more, from the new one.
    upgrade(&mut site).await;
    site.get("/").await.shows("hello");
    assert_eq!(site.tell(&["reload"]), "reloaded\n");
    let third = process(&site);
    assert_eq!(site.tell(&["stop"]), "stopped\n");
    assert!(!is_running(third));
    assert!(!site.folder().join("site.pid").exists());
    assert!(!site.folder().join("run/control.sock").exists());
}

#[tokio::test]
async fn requests_under_way_are_finished_by_the_old_one() {
    let site = Plan::new().wsgi("hello").start().await;
    let request = site.begin("/wait/x").await;
    site.until_file("entered-x").await;
    let old = process(&site);
    site.tell(&["upgrade"]);
    assert_ne!(process(&site), old);
    assert!(is_running(old));
    site.make("release-x");
    request.await.unwrap().shows("waited for x");
    until("the old process has ended", || !is_running(old)).await;
}

/// Each is told by the one that serves.
#[tokio::test]
async fn a_stop_reaches_every_process_that_still_finishes_something() {
    let site = Plan::new().wsgi("hello").set("limits.drain-time = '500ms'").start().await;
    let mut processes = Vec::new();
    let mut requests = Vec::new();
    for key in ["a", "b"] {
        requests.push(site.begin(&format!("/wait/{key}")).await);
        site.until_file(&format!("entered-{key}")).await;
        processes.push(process(&site));
        site.tell(&["upgrade"]);
    }
    processes.push(process(&site));
    assert!(processes.iter().all(|process| is_running(*process)));
    site.tell(&["stop"]);
    until("all have ended", || !processes.iter().any(|process| is_running(*process))).await;
    for request in requests {
        request.abort();
    }
}

/// One in between has nothing to finish, and ends before those that came before it.
#[tokio::test]
async fn a_stop_reaches_one_whose_successor_has_ended() {
    // The application may take as long as it likes: only the stop ends it.
    let plan = Plan::new().wsgi("hello").set("site.response-time = '1h'");
    let site = plan.set("limits.drain-time = '500ms'").start().await;
    let first = process(&site);
    let mut client = site.connect().await;
    client.send(b"GET /wait/a HTTP/1.1\r\nHost: site\r\n\r\n").await;
    site.until_file("entered-a").await;
    site.tell(&["upgrade"]);
    let second = process(&site);
    site.tell(&["upgrade"]);
    until("the second has ended", || !is_running(second)).await;
    assert!(is_running(first));
    site.tell(&["stop"]);
    until("the first has ended", || !is_running(first)).await;
    drop(client);
}

#[tokio::test]
async fn what_is_wanted_no_more_leaves_no_file() {
    let plan = Plan::new().wsgi("hello").set("listen = ['unix:door.sock']");
    let mut site = plan.set("pid-file = 'door.pid'").start().await;
    let is_there = |site: &Site, name: &str| site.folder().join(name).exists();
    assert!(is_there(&site, "door.sock") && is_there(&site, "door.pid"));
    let configuration = fs::read_to_string(site.folder().join("perijove.toml")).unwrap();
    site.write("perijove.toml", configuration.replace("door.", "other."));
    upgrade(&mut site).await;
    assert!(is_there(&site, "other.sock") && is_there(&site, "other.pid"));
    assert!(!is_there(&site, "door.sock") && !is_there(&site, "door.pid"));
}

#[tokio::test]
async fn a_signal_upgrades_too() {
    let site = Plan::new().wsgi("hello").start().await;
    let old = process(&site);
    site.signal(Signal::USR2);
    site.logs("took over");
    until("the old process has ended", || !is_running(old)).await;
    site.get("/").await.shows("hello");
}

/// A copy of the program, as an installation puts it there.
fn install(from: &Path, to: &Path) {
    let draft = to.with_extension("new");
    fs::copy(from, &draft).unwrap();
    fs::rename(draft, to).unwrap();
}

#[tokio::test]
async fn the_program_that_lies_on_the_disk_now_is_started() {
    let plan = Plan::new().wsgi("hello");
    let program = Path::new(env!("CARGO_BIN_EXE_perijove"));
    let folder = plan.folder().to_owned();
    let (one, two) = (folder.join("one"), folder.join("two"));
    install(program, &one);
    install(program, &two);
    let current = folder.join("current");
    std::os::unix::fs::symlink(&one, &current).unwrap();
    let package = crate::site::root().join("python/perijove");
    let plan = plan.variable("PERIJOVE_PACKAGE", package.to_str().unwrap());
    let mut site = plan.program(&current).start().await;
    let runs = |site: &Site| fs::read_link(format!("/proc/{}/exe", process(site))).unwrap();
    assert_eq!(runs(&site), one);

    // The file is replaced, and the old one deleted by that.
    install(program, &one);
    upgrade(&mut site).await;
    assert_eq!(runs(&site), one);

    // The link leads elsewhere.
    fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink(&two, &current).unwrap();
    upgrade(&mut site).await;
    assert_eq!(runs(&site), two);

    // Another is named.
    let told = site.tell(&["upgrade", "--executable", one.to_str().unwrap()]);
    assert!(told.starts_with("upgraded"), "{told}");
    assert_eq!(runs(&site), one);
}

#[tokio::test]
async fn each_step_is_told() {
    let site = Plan::new().wsgi("hello").start().await;
    let output = site.command(&["upgrade"]);
    assert!(output.status.success(), "{output:?}");
    let told = text(&output.stderr);
    for step in ["starting /", "starts beside this one", "handing over"] {
        assert!(told.contains(step), "{step:?} is missing: {told}");
    }
}

#[tokio::test]
async fn a_changed_configuration_comes_with_the_upgrade() {
    let plan = Plan::new().wsgi("hello").set("threads = 1");
    let mut site = plan.start().await;
    site.configure("[[route]]\npath = '/more/'\nfolder = 'more'\n");
    site.write("more/index.html", "more of it");
    upgrade(&mut site).await;
    site.get("/more/").await.shows("more of it");
}

#[tokio::test]
async fn sockets_of_a_service_manager_and_files_of_sockets_are_kept() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut site = Plan::new().wsgi("hello").socket(listener).start().await;
    site.get("/").await.shows("hello");
    upgrade(&mut site).await;
    site.get("/").await.shows("hello");
    upgrade(&mut site).await;
    site.get("/").await.shows("hello");

    let mut site = Plan::new().wsgi("hello").set("listen = ['unix:door.sock']").start().await;
    let door = site.folder().join("door.sock");
    upgrade(&mut site).await;
    let stream = tokio::net::UnixStream::connect(&door).await.unwrap();
    let mut connection = crate::site::Connection::over(stream, "site.example");
    connection.ask("GET", "/", b"").await.shows("hello");
    site.tell(&["stop"]);
    assert!(!door.exists());
}

#[tokio::test]
async fn the_service_manager_is_told() {
    let plan = Plan::new().wsgi("hello");
    let path = plan.folder().join("notify.sock");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(crate::site::PATIENCE)).unwrap();
    let site = plan.variable("NOTIFY_SOCKET", path.to_str().unwrap()).start().await;
    let heard = || {
        let mut bytes = [0; 500];
        let count = manager.recv(&mut bytes).unwrap();
        text(&bytes[..count])
    };
    let first = heard();
    assert!(first.starts_with(&format!("MAINPID={}\nREADY=1", process(&site))), "{first}");
    site.tell(&["reload"]);
    let (begun, done) = (heard(), heard());
    assert!(begun.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{begun}");
    assert!(done.contains("READY=1"), "{done}");
    site.tell(&["upgrade"]);
    // Either may be the first to say it; the manager believes the old one.
    let said = [heard(), heard()].concat();
    assert!(said.contains(&format!("MAINPID={}", process(&site))), "{said}");
    assert!(said.contains("READY=1"), "{said}");
    site.tell(&["stop"]);
    assert!(heard().starts_with("STOPPING=1"));
}

#[tokio::test]
async fn what_is_asked_of_the_old_one_is_answered_by_the_new_one() {
    let site = Plan::new().wsgi("hello").start().await;
    let run = site.folder().join("run");
    let secret = fs::read_to_string(run.join("control.sock.secret")).unwrap();
    let field = format!("Authorization: Bearer {secret}");
    // A connection to the old process that is there before the upgrade, and used after it.
    let stream = tokio::net::UnixStream::connect(run.join("control.sock")).await.unwrap();
    let mut connection = crate::site::Connection::over(stream, "perijove");
    let old = process(&site);
    connection.ask_with("GET", "/status", &[&field], b"").await.is(200);
    site.tell(&["upgrade"]);
    let answer = connection.ask_with("GET", "/status", &[&field], b"").await;
    let status: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(status["process"].as_i64(), Some(process(&site)));
    assert_ne!(status["process"].as_i64(), Some(old));
}

#[tokio::test]
async fn a_daemon_without_a_socket_is_never_there_twice() {
    let clock = include_str!("apps/clock.py");
    let service = "\n[[service]]\nname = 'clock'\nscript = 'clock.py'\n";
    let site = Plan::new().wsgi("hello").file("clock.py", clock).set(service).start().await;
    let noted = || fs::read_to_string(site.folder().join("clock.log")).unwrap_or_default();
    until("it has begun", || noted() == "begin\n").await;
    site.tell(&["upgrade"]);
    until("the next has begun", || noted() == "begin\nend\nbegin\n").await;
    // One that fails at the last moment has it begin again here.
    let program = failing::successor(&site, "fails_to_take");
    let output = site.command(&["upgrade", "--executable", program.to_str().unwrap()]);
    assert!(!output.status.success());
    until("it has begun again", || noted() == "begin\nend\nbegin\nend\nbegin\n").await;
    until("its state is known", || site.status()["services"][0]["phase"] == "serving").await;
}
