//! Workers that die, hang, or are many.

use crate::site::{Plan, until};

#[tokio::test]
async fn a_worker_that_is_killed_is_started_again() {
    let site = Plan::new().wsgi("hello").start().await;
    let before = site.get("/pid").await.text();
    site.kill_worker(0);
    // Asked while there is none, the request waits for the next one.
    let after = site.get("/pid").await;
    after.is(200);
    assert_ne!(before, after.text());
    site.logs("another one is started");
}

#[tokio::test]
async fn only_the_requests_of_a_worker_that_died_are_lost() {
    let site = Plan::new().wsgi("hello").set("site.workers = 2").start().await;
    until("both serve", || site.workers().len() == 2).await;
    let stuck = site.begin("/wait/lost").await;
    site.until_file("entered-lost").await;
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(site.begin("/wait/kept").await);
    }
    site.until_file("entered-kept").await;
    site.get("/die").await.is(502);
    site.make("release-lost");
    site.make("release-kept");
    let mut lost = usize::from(stuck.await.unwrap().status != 200);
    for other in others {
        let answer = other.await.unwrap();
        assert!(matches!(answer.status, 200 | 502), "{answer:?}");
        lost += usize::from(answer.status == 502);
    }
    // One worker has four threads: no more can have been inside it.
    assert!(lost <= 4, "{lost} were lost");
    site.get("/").await.shows("hello");
}

#[tokio::test]
async fn a_stuck_view_delays_nobody() {
    let site = Plan::new().wsgi("hello").start().await;
    let stuck = site.begin("/wait/x").await;
    site.until_file("entered-x").await;
    for _ in 0..50 {
        site.get("/").await.shows("hello");
    }
    assert!(!stuck.is_finished());
    site.make("release-x");
    stuck.await.unwrap().shows("waited for x");
}

#[tokio::test]
async fn who_finds_no_free_thread_waits_in_line() {
    let site = Plan::new().wsgi("hello").set("site.threads = 1").start().await;
    let first = site.begin("/wait/a").await;
    site.until_file("entered-a").await;
    let second = site.begin("/").await;
    until("it waits", || {
        site.status()["under-way"].as_u64().unwrap_or(0)
            + site.status()["waiting"].as_u64().unwrap_or(0)
            >= 2
    })
    .await;
    assert!(!second.is_finished());
    site.make("release-a");
    first.await.unwrap().shows("waited for a");
    second.await.unwrap().shows("hello");
}

#[tokio::test]
async fn who_waits_too_long_at_a_worker_is_told_to_come_again_too() {
    let site = Plan::new()
        .wsgi("hello")
        .set("threads = 1")
        .set("site.threads = 1")
        .set("site.wait = '200ms'")
        .start()
        .await;
    let first = site.begin("/wait/a").await;
    site.until_file("entered-a").await;
    let second = site.get("/").await;
    assert_eq!(second.status, 503, "{second:?}");
    assert!(second.field("retry-after").is_some());
    site.make("release-a");
    first.await.unwrap().shows("waited for a");
    site.get("/").await.shows("hello");
}

/// Requests that are given to one worker at most.
const AT_A_WORKER: u64 = 64;

#[tokio::test]
async fn who_waits_too_long_is_told_to_come_again() {
    let site =
        Plan::new().wsgi("hello").set("site.threads = 1").set("site.wait = '200ms'").start().await;
    let first = site.begin("/wait/a").await;
    site.until_file("entered-a").await;
    // A worker takes some requests before it has a thread for them; who comes then stands in line.
    let mut others = Vec::new();
    for _ in 0..AT_A_WORKER {
        others.push(site.begin("/").await);
    }
    for other in others {
        let answer = other.await.unwrap();
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.field("retry-after").is_some());
    }
    site.make("release-a");
    first.await.unwrap().shows("waited for a");
    site.get("/").await.shows("hello");
}

#[tokio::test]
async fn the_stacks_of_threads_are_told() {
    let site = Plan::new().wsgi("hello").start().await;
    let stuck = site.begin("/wait/x").await;
    site.until_file("entered-x").await;
    let told = site.tell(&["status", "--stacks"]);
    assert!(told.starts_with(&format!("process {} of app", site.workers()[0])), "{told}");
    assert!(told.contains("in wait") && told.contains("thread perijove-"), "{told}");
    // It is no business of the log.
    let json = site.tell(&["status", "--stacks", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["workers"][0]["pid"], site.workers()[0]);
    site.make("release-x");
    stuck.await.unwrap().is(200);
    assert!(!site.stop().log.contains("in wait"));
}

#[tokio::test]
async fn the_stacks_of_tasks_are_told_even_by_a_loop_that_is_stuck() {
    let site = Plan::new().wsgi("patience").start().await;
    let waits = site.begin("/wait/x").await;
    site.until_file("entered-x").await;
    let blocks = site.begin("/block/3000").await;
    let mut told = String::new();
    until("the loop is blocked", || {
        told = site.tell(&["status", "--stacks"]);
        told.contains("in block")
    })
    .await;
    assert!(told.contains("thread MainThread:"), "{told}");
    assert!(told.contains("in wait") && told.contains("in deeper"), "{told}");
    blocks.await.unwrap().is(200);
    site.make("release-x");
    waits.await.unwrap().is(200);
}

#[tokio::test]
async fn who_does_not_tell_its_stacks_is_named() {
    let site = Plan::new().wsgi("hello").set("site.server = 'wsgiref'").start().await;
    assert!(site.tell(&["status", "--stacks"]).contains("it does not say"));
}

/// As `ps` and `top` show it; what can be read of its environment stays.
#[tokio::test]
async fn workers_say_what_they_are() {
    let site = Plan::new()
        .wsgi("hello")
        .set("site.workers = 2")
        .set("site.process-name = 'Käse-und-Wurst'")
        .set("site.environment = { SHOP = 'yes' }")
        .start()
        .await;
    until("both serve", || site.workers().len() == 2).await;
    let read = |pid: &i32, name: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/{name}")).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let workers = site.workers();
    let shown = |name: &str| -> Vec<String> {
        let line = |pid| read(pid, name).trim_end_matches(['\0', '\n']).to_owned();
        workers.iter().map(line).collect()
    };
    let title = |number| format!("perijove: worker {number} of Käse-und-Wurst");
    // It is there a moment before it says so.
    let has_said = || shown("cmdline").iter().all(|line| line.starts_with("perijove: "));
    until("both have said it", has_said).await;
    assert_eq!(shown("cmdline"), [title(1), title(2)]);
    assert_eq!(shown("comm"), ["Käse-und-Wur 1", "Käse-und-Wur 2"]);
    assert!(workers.iter().all(|pid| read(pid, "environ").contains("SHOP=yes\0")));
    // A new one in the place of another has its name.
    site.kill_worker(1);
    let is_named = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(title(2).as_bytes())
    };
    let is_new = |pid: &i32| !workers.contains(pid) && is_named(pid);
    until("another one has its name", || site.workers().iter().any(is_new)).await;
}

/// A server that takes a request at a time, and connections that wait for it in its socket.
#[tokio::test]
async fn no_request_is_lost_that_a_killed_worker_has_not_read() {
    let site = Plan::new().wsgi("hello").set("site.server = 'wsgiref'").start().await;
    let mut connection = site.connect().await;
    for _ in 0..3 {
        connection.ask("GET", "/pid", b"").await.is(200);
        site.kill_worker(0);
        // At once, on the connection that is kept: the worker is dead, and nobody knows it yet.
        connection.ask("GET", "/pid", b"").await.is(200);
        until("another one serves", || site.workers().len() == 1).await;
    }
}

#[tokio::test]
async fn workers_do_not_outlive_the_program() {
    let site = Plan::new().wsgi("hello").start().await;
    let worker = site.workers()[0];
    site.signal(rustix::process::Signal::KILL);
    drop(site.ended());
    let is_there = || {
        std::fs::read_to_string(format!("/proc/{worker}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    };
    until("the worker is gone", || !is_there()).await;
}
