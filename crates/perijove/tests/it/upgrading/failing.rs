//! Upgrades that fail, at each step, and processes that are killed: one serves, or a start anew does.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use super::{is_running, process};
use crate::site::{Connection, Plan, Site, text, until};

/// The program of `apps/successor.py` that behaves like its name.
pub(super) fn successor(site: &Site, behaviour: &str) -> PathBuf {
    let path = site.folder().join("bad").join(behaviour);
    site.write(&format!("bad/{behaviour}"), include_str!("../apps/successor.py"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn site() -> Site {
    Plan::new().wsgi("held_start").start().await
}

#[tokio::test]
async fn a_new_one_that_fails_changes_nothing() {
    let site = site().await;
    let old = process(&site);
    let check = async |behaviour: &str, within: &str, expected: &str| {
        let program = successor(&site, behaviour);
        let program = program.to_str().unwrap();
        let output = site.command(&["upgrade", "--within", within, "--executable", program]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{behaviour}: {told}");
        assert!(told.contains(expected), "{behaviour}: {told}");
        assert!(told.contains("still serves"), "{behaviour}: {told}");
        assert_eq!(process(&site), old, "{behaviour}");
        site.get("/").await.shows("hello");
    };
    check("ends_at_once", "60", "exit status 3").await;
    check("talks_nonsense", "60", "does not answer as a perijove").await;
    check("speaks_otherwise", "60", "another version of the handover (99").await;
    check("fails", "60", "it has a reason of its own").await;
    check("is_never_ready", "1", "was not ready after 1 seconds").await;
    check("dies_before_it_is_ready", "60", "signal 9").await;
    check("dies_instead_of_taking", "60", "signal 9").await;
    check("fails_to_take", "60", "the state is unreadable").await;
    // After all that it still can.
    site.tell(&["upgrade"]);
    assert_ne!(process(&site), old);
    site.get("/").await.shows("hello");
}

#[tokio::test]
async fn the_reason_of_a_real_new_one_is_told() {
    let site = site().await;
    let old = process(&site);
    let fails = |expected: &str| {
        let output = site.command(&["upgrade"]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{told}");
        assert!(told.contains(expected), "{told}");
        assert_eq!(process(&site), old);
    };
    let app = fs::read_to_string(site.folder().join("app.py")).unwrap();
    site.write("app.py", "import a_module_that_is_not_there\n");
    fails("a_module_that_is_not_there");
    site.write("app.py", app);
    let configuration = fs::read_to_string(site.folder().join("perijove.toml")).unwrap();
    site.configure("site.thread = 2");
    fails("did you mean `site.threads`?");
    site.write("perijove.toml", configuration);
    let missing = site.command(&["upgrade", "--executable", "/nowhere/perijove"]);
    assert!(text(&missing.stderr).contains("/nowhere/perijove"), "{missing:?}");
    site.get("/").await.shows("hello");
    assert_eq!(process(&site), old);
}

/// Waits until the new process's worker imports the application; that process.
async fn importing(site: &Site, old: i64) -> i64 {
    let folder = site.folder().to_owned();
    let new_worker = || {
        let entries = fs::read_dir(&folder).unwrap().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let pids: Vec<i64> =
            names.filter_map(|name| name.strip_prefix("importing-")?.parse().ok()).collect();
        pids.into_iter().find(|pid| parent(*pid).is_some_and(|parent| parent != old))
    };
    until("the new worker is started", || new_worker().is_some()).await;
    parent(new_worker().unwrap()).unwrap()
}

fn parent(process: i64) -> Option<i64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn kill(process: i64, signal: Signal) {
    let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    kill_process(process, signal).unwrap();
}

#[tokio::test]
async fn a_new_one_that_is_killed_while_it_starts_changes_nothing() {
    let site = site().await;
    let old = process(&site);
    site.make("hold");
    let upgrading = site.begin_command(&["upgrade"]);
    let new = importing(&site, old).await;
    site.get("/").await.shows("hello");
    kill(new, Signal::KILL);
    let output = upgrading.await.unwrap();
    assert!(text(&output.stderr).contains("signal 9"), "{output:?}");
    assert_eq!(process(&site), old);
    site.get("/").await.shows("hello");
}

#[tokio::test]
async fn when_the_old_one_is_killed_the_new_one_takes_over_and_refuses_nobody() {
    let site = site().await;
    let old = process(&site);
    site.make("hold");
    let upgrading = site.begin_command(&["upgrade"]);
    let new = importing(&site, old).await;
    kill(old, Signal::KILL);
    assert!(!upgrading.await.unwrap().status.success());
    // Nobody answers yet, but who comes is held, not refused.
    let mut early = Connection::to(site.address()).await;
    early.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    fs::remove_file(site.folder().join("hold")).unwrap();
    early.answer(false).await.shows("hello");
    assert_eq!(process(&site), new);
    let second = site.command(&["serve"]);
    assert!(text(&second.stderr).contains("served already"), "{second:?}");
}

/// The third process starts from the beginning, as the first one did, which still has work to do.
#[tokio::test]
async fn one_that_is_started_anew_leaves_alone_what_a_replaced_one_needs() {
    let site = Plan::new().wsgi("hello").start().await;
    let first = process(&site);
    let waiting = site.begin("/wait/x").await;
    site.until_file("entered-x").await;
    let sockets = || {
        let apps = fs::read_dir(site.folder().join("run")).unwrap().flatten();
        let apps = apps.filter(|entry| entry.file_name().to_string_lossy().starts_with("app"));
        let all = apps.flat_map(|app| fs::read_dir(app.path()).unwrap().flatten());
        let mut all: Vec<PathBuf> = all.map(|entry| entry.path()).collect();
        all.sort();
        all
    };
    let of_first = sockets();
    assert!(!of_first.is_empty());
    site.tell(&["upgrade"]);
    kill(process(&site), Signal::KILL);
    let mut third = site.begin_another().await;
    let of_both = sockets();
    assert!(of_first.iter().all(|path| of_both.contains(path)), "{of_first:?} {of_both:?}");
    assert!(of_both.len() > of_first.len());
    site.make("release-x");
    waiting.await.unwrap().shows("waited for x");
    until("the first one has ended", || !is_running(first)).await;
    let of_third = sockets();
    assert!(of_third.iter().all(|path| !of_first.contains(path)), "{of_third:?}");
    assert_eq!(of_third.len(), of_both.len() - of_first.len());
    third.kill().unwrap();
    third.wait().unwrap();
}

#[tokio::test]
async fn when_both_die_amid_the_handover_a_start_anew_serves() {
    for behaviour in ["kills_the_old_one", "dies_after_taking"] {
        let site = site().await;
        let old = process(&site);
        let program = successor(&site, behaviour);
        drop(site.command(&["upgrade", "--executable", program.to_str().unwrap()]));
        until("the old one is gone", || !is_running(old)).await;
        let site = site.start_again().await;
        site.get("/").await.shows("hello");
    }
}

#[tokio::test]
async fn an_end_that_is_wanted_meanwhile_ends_both() {
    let site = site().await;
    let old = process(&site);
    site.make("hold");
    let upgrading = site.begin_command(&["upgrade"]);
    let new = importing(&site, old).await;
    site.signal(Signal::TERM);
    let output = upgrading.await.unwrap();
    assert!(text(&output.stderr).contains("stopping"), "{output:?}");
    until("both have ended", || !is_running(old) && !is_running(new)).await;
}

#[tokio::test]
async fn reloads_and_upgrades_wait_for_each_other() {
    let site = site().await;
    let old = process(&site);
    site.make("hold");
    let reloading = site.begin_command(&["reload"]);
    let hold = site.folder().join("hold");
    let folder = site.folder().to_owned();
    let imports = || {
        let entries = fs::read_dir(&folder).unwrap().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("importing-"))
            .count()
    };
    until("the reload has begun", || imports() == 2).await;
    let upgrading = site.begin_command(&["upgrade"]);
    let again = site.begin_command(&["upgrade"]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(process(&site), old);
    fs::remove_file(hold).unwrap();
    let reloaded = reloading.await.unwrap();
    assert!(reloaded.status.success(), "{reloaded:?}");
    // Whichever came second was in line at a process that has been replaced: the next one is asked.
    let mut replaced = Vec::new();
    for output in [upgrading.await.unwrap(), again.await.unwrap()] {
        assert!(output.status.success(), "{output:?}");
        let told = text(&output.stdout);
        let (_, from) = told.split_once("from process ").unwrap();
        replaced.push(from.split(' ').next().unwrap().parse::<i64>().unwrap());
    }
    assert!(replaced.contains(&old), "{replaced:?}");
    assert_ne!(replaced[0], replaced[1]);
    assert!(!replaced.contains(&process(&site)));
    site.get("/").await.shows("hello");
}
