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
