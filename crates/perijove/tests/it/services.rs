//! Daemons beside the site: started, routed to, kept alive, exchanged, stopped.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use serde_json::Value;

use crate::site::{Plan, Site, root, until};

const SERVICE: &str = "
[[service]]
name = 'chat'
script = 'chat.py'
arguments = ['for', 'people']
environment = { COLOUR = 'blue' }
socket = true

[[route]]
path = '/chat/'
service = 'chat'
";

fn source() -> String {
    let path = root().join("crates/perijove/tests/it/apps/service.py");
    fs::read_to_string(Path::new(&path)).unwrap()
}

fn plan() -> Plan {
    let plan = Plan::new().wsgi("hello").file("chat.py", source());
    plan.set("site.environment = { SECRET = 'hush' }").set(SERVICE)
}

async fn ask(site: &Site) -> Value {
    let answer = site.get("/chat/room").await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).unwrap()
}

fn service(site: &Site) -> Value {
    site.status()["services"][0].clone()
}

#[tokio::test]
async fn a_service_is_reached_through_its_route() {
    let site = plan().start().await;
    let told = ask(&site).await;
    assert_eq!((&told["path"], &told["COLOUR"]), (&"/chat/room".into(), &"blue".into()));
    assert_eq!(told["SECRET"], "hush");
    assert!(told["PERIJOVE_CONTROL"].as_str().unwrap().ends_with("control.sock"));
    site.get("/").await.shows("hello");
    site.logs("serving version one for people");
    let known = service(&site);
    assert_eq!((&known["name"], &known["phase"]), (&"chat".into(), &"serving".into()));
    assert_eq!(known["pid"], told["pid"]);
    let socket = told["SOCKET"].as_str().unwrap().to_owned();
    let ended = site.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!Path::new(&socket).exists());
}

#[tokio::test]
async fn a_service_that_ends_is_started_again_and_requests_wait_for_it() {
    let site = plan().start().await;
    let first = ask(&site).await;
    // Not a GET: that would be sent again to the one that comes back.
    assert_eq!(site.post("/chat/die", b"now").await.status, 502);
    // Its last moments may take a further connection with them.
    until("its end is known", || service(&site)["restarts"] == 1).await;
    let second = ask(&site).await;
    assert_ne!(first["pid"], second["pid"]);
    let known = service(&site);
    assert_eq!(known["restarts"], 1);
    assert!(known["last-failure"].as_str().unwrap().contains("exit status 1"), "{known}");
}

#[tokio::test]
async fn a_reload_exchanges_a_service_that_has_changed_and_no_other() {
    let site = plan().start().await;
    let first = ask(&site).await;
    site.tell(&["reload"]);
    assert_eq!(ask(&site).await["pid"], first["pid"], "nothing has changed");
    site.write("chat.py", source().replace("\"one\"", "\"two\""));
    site.tell(&["reload"]);
    let second = ask(&site).await;
    assert_eq!(second["version"], "two");
    assert_ne!(second["SOCKET"], first["SOCKET"]);
    // A version that does not start changes nothing.
    site.write("chat.py", source().replace("\"one\"", "\"broken\""));
    let refused = site.command(&["reload"]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("the service \"chat\" ended before it served"), "{said}");
    assert_eq!(ask(&site).await["pid"], second["pid"]);
}

#[tokio::test]
async fn one_without_a_socket_is_never_there_twice() {
    let clock = "[[service]]\nname = 'clock'\nscript = 'chat.py'\nlog-file = 'clock.log'";
    let plan = Plan::new().wsgi("hello").file("chat.py", source()).set(clock);
    let site = plan.start().await;
    let pids = || fs::read_to_string(site.folder().join("alone")).unwrap_or_default();
    until("it runs", || pids().lines().count() == 1).await;
    let first: i32 = pids().trim().parse().unwrap();
    site.write("chat.py", source().replace("\"one\"", "\"two\""));
    site.tell(&["reload"]);
    until("the new one runs", || pids().lines().count() == 2).await;
    let pid = rustix::process::Pid::from_raw(first).unwrap();
    assert!(rustix::process::test_kill_process(pid).is_err(), "the old one has ended before");
    let log = || fs::read_to_string(site.folder().join("clock.log")).unwrap();
    let both = "serving version one\nserving version two\n";
    until("both have told", || log() == both).await;
    assert!(site.stop().code == Some(0));
}

#[tokio::test]
async fn a_stop_that_is_hastened_does_not_wait_for_a_service_that_takes_its_time() {
    let deaf = "[[service]]\nname = 'deaf'\nstop-time = '1h'\n\
                command = ['/bin/sh', '-c', 'trap \"\" TERM; echo > deaf; exec sleep 3600']";
    let site = Plan::new().wsgi("hello").set(deaf).start().await;
    site.until_file("deaf").await;
    site.signal(rustix::process::Signal::TERM);
    site.logs("stopping: requests under way are finished first");
    until("the workers have ended", || !site.folder().join("run/app/web-1.sock").exists()).await;
    site.signal(rustix::process::Signal::TERM);
    assert_eq!(site.ended().code, Some(0));
}

#[tokio::test]
async fn the_log_of_a_service_is_exchanged_like_others() {
    let talker = "[[service]]\nname = 'talker'\nlog-file = 'talker.log'\ncommand = ['/bin/sh', \
                  '-c', 'for i in $(seq 300); do echo line $i of a long tale; done; echo over; \
                  exec sleep 1000']";
    let plan = Plan::new().file("public/a.txt", "a");
    let site = plan.set("log.rotate = { size = '1K', keep = 3 }").set(talker).start().await;
    let read = |name: &str| fs::read_to_string(site.folder().join(name)).unwrap_or_default();
    until("it has told all", || read("talker.log").contains("over")).await;
    assert!(read("talker.log").len() <= 1024);
    let older = read("talker.log.1");
    assert!(older.len() <= 1024 && older.ends_with("of a long tale\n"), "{older}");
    assert!(!read("talker.log.3").is_empty() && read("talker.log.4").is_empty());
    // And opened again when somebody has moved it away.
    fs::rename(site.folder().join("talker.log"), site.folder().join("moved")).unwrap();
    site.signal(rustix::process::Signal::USR1);
    until("there is a new one", || site.folder().join("talker.log").exists()).await;
}

#[tokio::test]
async fn a_service_that_cannot_start_is_told_at_the_start() {
    let broken = source().replace("\"one\"", "\"broken\"");
    let ended = plan().file("chat.py", broken).run();
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    ended.shows("this version does not start").shows("the service \"chat\" ended before it served");
}

/// Only root can become somebody else; who is not is told so.
#[tokio::test]
async fn a_service_runs_as_the_account_that_is_named() {
    let who = "[[service]]\nname = 'who'\nlog-file = 'who.log'\n\
               command = ['/bin/sh', '-c', 'id -u; id -G; exec sleep 1000']";
    let plan = Plan::new().file("public/a.txt", "a").set("site.user = 'nobody'").set(who);
    if !rustix::process::geteuid().is_root() {
        plan.run().shows("only root can run something as \"nobody\"");
        return;
    }
    let site = plan.start().await;
    let log = || fs::read_to_string(site.folder().join("who.log")).unwrap_or_default();
    until("it has told", || log().lines().count() == 2).await;
    let nobody = std::process::Command::new("id").args(["-u", "nobody"]).output().unwrap();
    let nobody = String::from_utf8(nobody.stdout).unwrap();
    assert_eq!(log().lines().next(), Some(nobody.trim()));
    // The site's own processes reach the control socket as that account, and see nothing else.
    let at = |name: &str| fs::metadata(site.folder().join("run").join(name)).unwrap();
    assert_eq!(at("control.sock.secret").uid().to_string(), nobody.trim());
    assert_eq!(at("control.sock").uid().to_string(), nobody.trim());
    assert_eq!(at("control.sock.secret").permissions().mode() & 0o777, 0o600);
    assert_eq!(at(".").permissions().mode() & 0o777, 0o711);
    site.tell(&["status"]);
}

#[tokio::test]
async fn variables_come_from_a_file_too_and_texts_are_utf_8() {
    let plan =
        Plan::new().wsgi("hello").file(".env", "# of the site\nexport SHOP='a b'\nBOTH=file\n");
    let plan =
        plan.set("site.environment-file = '.env'").set("site.environment = { BOTH = 'table' }");
    let plan = plan.set("site.umask = '027'").variable("LANG", "");
    let site = plan.start().await;
    let told: Value = serde_json::from_slice(&site.get("/environment").await.body).unwrap();
    assert_eq!((&told["SHOP"], &told["BOTH"]), (&"a b".into(), &"table".into()));
    assert_eq!((&told["umask"], &told["LC_CTYPE"]), (&"027".into(), &"C.UTF-8".into()));
}
