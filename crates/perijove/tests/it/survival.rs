//! Workers that go wrong in ways of their own, and what visitors notice of it.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::site::{PATIENCE, Plan, Site, until};

fn plan() -> Plan {
    Plan::new().wsgi("lives").set("site.probation = '50ms'")
}

async fn pid(site: &Site) -> i32 {
    site.get("/pid").await.text().parse().unwrap()
}

fn is_there(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn one_that_leaks_is_replaced_before_it_hurts() {
    let site = plan().set("site.max-memory = '150M'").start().await;
    let before = pid(&site).await;
    site.get("/leak/40").await.is(200);
    assert_eq!(pid(&site).await, before);
    site.get("/leak/120").await.is(200);
    let line = site.logs("a worker is replaced: it uses");
    assert!(line.contains("MiB of memory"), "{line}");
    until("the new one answers", || site.workers().first().is_some_and(|pid| *pid != before)).await;
    until("the old one is gone", || !is_there(before)).await;
    assert_ne!(pid(&site).await, before);
    let worker = &site.status()["application"]["workers"][0];
    assert_eq!((&worker["recycled"], &worker["restarts"]), (&1.into(), &0.into()));
    assert!(worker["memory"].as_u64().unwrap() < 150 << 20);
}

#[tokio::test]
async fn one_that_has_had_its_requests_is_replaced_and_nobody_notices() {
    let site = plan()
        .set("site.workers = 3")
        .set("site.max-requests = 200")
        .set("site.max-requests-jitter = 100")
        .start()
        .await;
    until("all serve", || site.workers().len() == 3).await;
    let before = site.workers();
    let mut connection = site.connect().await;
    let mut is_done = false;
    let deadline = Instant::now() + PATIENCE;
    while !is_done {
        assert!(Instant::now() < deadline, "in vain: {}", site.status());
        for _ in 0..50 {
            connection.ask("GET", "/pid", b"").await.is(200);
        }
        let status = site.status();
        let workers = status["application"]["workers"].as_array().unwrap();
        let serving = workers.iter().filter(|worker| worker["phase"] == "serving").count();
        assert_eq!(serving, 3, "{status}");
        is_done = workers.iter().filter(|worker| worker["recycled"] != 0).count() >= 3;
    }
    until("all are new", || site.workers().iter().all(|pid| !before.contains(pid))).await;
}

#[tokio::test]
async fn one_that_is_old_is_replaced() {
    let site = plan().set("site.max-age = '1s'").start().await;
    let before = pid(&site).await;
    site.logs("a worker is replaced: it has run for 1 s");
    until("the old one is gone", || !is_there(before)).await;
    assert_ne!(pid(&site).await, before);
}

#[tokio::test]
async fn one_that_has_used_its_processor_time_is_replaced() {
    let site = plan().set("site.max-cpu-time = '2s'").start().await;
    let before = pid(&site).await;
    site.get("/burn/2").await.is(200);
    site.logs("a worker is replaced: it has used");
    until("the old one is gone", || !is_there(before)).await;
    assert_ne!(pid(&site).await, before);
}

#[tokio::test]
async fn one_that_nobody_asks_is_replaced_once() {
    let site = plan().set("site.inactivity-time = '500ms'").start().await;
    let before = pid(&site).await;
    site.logs("a worker is replaced: it has had no request");
    until("the old one is gone", || !is_there(before)).await;
    until("it has gone out", || site.workers().len() == 1).await;
    let after = site.workers();
    assert_ne!(after, [before]);
    // The new one has had none at all: it would be replaced by its like.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(site.workers(), after);
}

#[tokio::test]
async fn a_worker_that_is_to_be_replaced_goes_on_when_the_new_one_fails() {
    let site = plan().set("site.max-age = '2s'").start().await;
    let before = pid(&site).await;
    site.write("app.py", "import a_module_that_is_not_there\n");
    site.logs("that was to be replaced");
    assert_eq!(pid(&site).await, before);
    let told = site.status()["application"]["workers"][0]["last-failure"].to_string();
    assert!(told.contains("exit status 78"), "{told}");
}

#[tokio::test]
async fn children_of_a_worker_end_with_it_and_hold_no_connection_open() {
    for end in ["a kill", "a reload"] {
        let site = plan().start().await;
        let before = pid(&site).await;
        let children = site.get("/fork/").await.text();
        let children: Vec<i32> = children.split(' ').map(|pid| pid.parse().unwrap()).collect();
        assert!(children.iter().all(|pid| is_there(*pid)));
        // The copy has the worker's sockets: it must not answer in its place.
        match end {
            "a kill" => site.kill_worker(0),
            _ => assert_eq!(site.tell(&["reload"]), "reloaded\n"),
        }
        for _ in 0..20 {
            assert!(!children.contains(&pid(&site).await), "{end}");
        }
        until("the worker is gone", || !is_there(before)).await;
        until("its children are gone", || !children.iter().any(|pid| is_there(*pid))).await;
    }
}

#[tokio::test]
async fn one_that_cannot_be_reached_any_more_is_noticed_and_replaced() {
    for what in ["all", "listener"] {
        let site = plan().set("threads = 1").start().await;
        let before = pid(&site).await;
        // The answer may be lost with the connection.
        let answer = site.connect().await.try_ask(&format!("/close/{what}")).await;
        drop(answer);
        if what == "all" {
            let after = pid(&site).await;
            assert_ne!(after, before, "{what}");
            site.logs("another one is started");
            until("it is gone", || !is_there(before)).await;
        } else {
            // Who is connected already goes on; a worker that is well is not ended for it.
            assert_eq!(pid(&site).await, before, "{what}");
        }
    }
}

#[tokio::test]
async fn one_that_is_stuck_in_c_delays_only_its_own() {
    let site = plan().set("site.workers = 2").start().await;
    until("both serve", || site.workers().len() == 2).await;
    let stuck = site.begin("/hold/3").await;
    site.until_file("holding").await;
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let asked = Instant::now();
        site.get("/pid").await.is(200);
        slowest = slowest.max(asked.elapsed());
    }
    assert!(!stuck.is_finished(), "{:?} {slowest:?}", begun.elapsed());
    println!("50 requests beside a stuck worker: the slowest took {slowest:?}");
    stuck.await.unwrap().is(200);
}

#[tokio::test]
async fn one_that_is_stuck_for_good_says_where_and_is_started_again() {
    let site = plan().set("site.deadlock-time = '1s'").start().await;
    let before = pid(&site).await;
    // Longer than that is no deadlock where other threads of Python run meanwhile.
    site.get("/burn/1.5").await.is(200);
    assert_eq!(pid(&site).await, before);
    site.get("/hold/1000").await.is(502);
    site.logs("in hold");
    assert_ne!(pid(&site).await, before);
    let told = site.status()["application"]["workers"][0]["last-failure"].to_string();
    assert!(told.contains("exit status 1"), "{told}");
}

#[tokio::test]
async fn one_that_is_stuck_for_good_is_ended_by_a_reload() {
    let site = plan().set("limits.drain-time = '1s'").start().await;
    let before = pid(&site).await;
    let stuck = site.begin("/hold/1000").await;
    site.until_file("holding").await;
    assert_eq!(site.tell(&["reload"]), "reloaded\n");
    assert_ne!(pid(&site).await, before);
    stuck.await.unwrap().is(502);
    until("it is gone", || !is_there(before)).await;
}

#[tokio::test]
async fn an_application_that_raises_ends_nothing_but_its_request() {
    let site = plan().start().await;
    let before = pid(&site).await;
    site.get("/fail/before").await.is(500);
    site.get("/fail/after-head").await.is(500);
    for when in ["during", "at-end"] {
        // What came before was sent with 200: the answer is cut off, never ended as if it were whole.
        assert_eq!(site.connect().await.try_ask(&format!("/fail/{when}")).await, None, "{when}");
    }
    site.get("/fail/close").await.shows("first last");
    for words in
        ["before the head", "before the body", "during the body", "at the end", "is closed"]
    {
        site.logs(words);
    }
    assert_eq!(pid(&site).await, before);
    site.get("/end/").await;
    site.get("/pid").await.is(200);
}
