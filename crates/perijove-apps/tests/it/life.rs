//! How an application starts, survives its workers, is replaced and ends.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use perijove_apps::{Failure, Phase, StartError};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use crate::site::{LONG, Site, pids, serves, until};

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn workers_are_started_as_planned_and_published() {
    let site = Site::new("ready");
    fs::create_dir(&site.plan.sockets).unwrap();
    fs::write(site.plan.sockets.join("web-7.sock"), "left by a former life").unwrap();
    let app = site.start().await;
    let status = app.status();
    assert_eq!((status.generation, status.application.as_str()), (1, "shop:application"));
    let pids = pids(&status);
    assert_eq!((pids.len(), site.published()), (2, 2));
    assert_ne!(pids[0], pids[1]);
    for pid in &pids {
        let seen = site.seen(*pid);
        let start = &seen["start"];
        assert_eq!(start["app"], "shop:application");
        assert_eq!((&start["socket"], &start["threads"]), (&3.into(), &4.into()));
        assert_eq!(start["root"], site.plan.root.to_str().unwrap());
        assert_eq!(seen["folder"], start["root"]);
        let mut names: Vec<_> = seen["environment"].as_object().unwrap().keys().collect();
        // Python adds this one itself where no locale is set.
        names.retain(|name| *name != "LC_CTYPE");
        assert_eq!(names, ["GREETING", "PATH"]);
    }
    assert_ne!(site.seen(pids[0])["start"]["secret"], site.seen(pids[1])["start"]["secret"]);
    let sockets = site.sockets();
    assert_eq!(sockets.len(), 2);
    for socket in sockets {
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    }
    app.stop(LONG).await;
    site.is_over().await;
}

#[tokio::test]
async fn a_worker_that_dies_is_started_again_and_the_others_go_on() {
    let site = Site::new("ready");
    let app = site.start().await;
    let before = pids(&app.status());
    kill(before[0]);
    let status = until(&app, |status| status.workers[0].restarts == 1 && serves(status)).await;
    let after = pids(&status);
    assert_ne!(after[0], before[0]);
    assert_eq!((after[1], status.workers[1].restarts), (before[1], 0));
    let failure = status.workers[0].last_failure.as_ref().unwrap().to_string();
    assert!(failure.contains("signal 9"), "{failure}");
    assert_eq!((site.published(), site.sockets().len()), (2, 2));
    app.stop(LONG).await;
    site.is_over().await;
}

#[tokio::test]
async fn an_application_that_cannot_be_loaded_stops_the_start() {
    let site = Site::new("fail");
    let error = site.try_start().await.unwrap_err();
    assert!(matches!(error, StartError::Application { .. }), "{error:?}");
    assert_eq!(error.to_string(), "the application shop:application cannot be loaded");
    assert_eq!(error.last_lines(), ["Traceback (most recent call last):", "ImportError: no shop"]);
    assert!(error.hint().is_some());
    site.is_over().await;
}

#[tokio::test]
async fn a_worker_that_crashes_at_its_start_is_tried_again_but_not_for_ever() {
    let mut site = Site::new("crash once");
    site.plan.workers = 1;
    let app = site.start().await;
    assert_eq!(app.status().workers[0].restarts, 1);
    app.stop(LONG).await;
    site.is_over().await;

    let site = Site::new("crash");
    let error = site.try_start().await.unwrap_err();
    let StartError::Worker { failure: Failure::Ended(_), .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(error.last_lines(), ["no memory"]);
    site.is_over().await;
}

#[tokio::test]
async fn an_application_that_is_never_ready_is_given_up() {
    let mut site = Site::new("hang");
    site.plan.start_time = Duration::from_millis(200);
    let error = site.try_start().await.unwrap_err();
    assert_eq!(error.to_string(), "a worker of shop:application was not ready after 0.2 s");
    site.is_over().await;
}

#[tokio::test]
async fn a_worker_is_published_when_its_site_is_well() {
    let mut site = Site::new("ready");
    site.plan.health = Some("/health".into());
    let app = site.start().await;
    site.behave("unwell");
    let mut plan = site.plan.clone();
    plan.start_time = Duration::from_secs(4);
    let error = app.replace(plan).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "a worker of shop:application was not ready after 4.0 s: /health answered 503"
    );
    app.stop(LONG).await;
    site.is_over().await;
}

#[tokio::test]
async fn new_workers_take_over_when_all_are_ready() {
    let site = Site::new("ready");
    let app = site.start().await;
    let before = pids(&app.status());
    let mut plan = site.plan.clone();
    plan.workers = 3;
    app.replace(plan).await.unwrap();
    let status = until(&app, serves).await;
    assert_eq!((status.generation, status.workers.len()), (2, 3));
    assert!(pids(&status).iter().all(|pid| !before.contains(pid)));
    app.stop(LONG).await;
    site.is_over().await;
}

#[tokio::test]
async fn the_old_workers_stay_when_the_new_ones_fail() {
    let site = Site::new("ready");
    let app = site.start().await;
    let before = pids(&app.status());
    site.behave("fail");
    let error = app.replace(site.plan.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::Application { .. }), "{error:?}");
    let mut plan = site.plan.clone();
    plan.python = "/nowhere/python".into();
    let error = app.replace(plan).await.unwrap_err();
    assert!(matches!(error, StartError::Python(_)), "{error:?}");
    let status = until(&app, serves).await;
    assert_eq!((pids(&status), status.generation, site.published()), (before, 1, 2));
    app.stop(LONG).await;
    site.is_over().await;
}

#[tokio::test]
async fn a_stop_ends_a_replacement_under_way() {
    let site = Site::new("ready");
    let app = site.start().await;
    site.behave("hang");
    let replacing = tokio::spawn({
        let (app, plan) = (app.clone(), site.plan.clone());
        async move { app.replace(plan).await }
    });
    // Once the new workers are there.
    timeout(LONG, async {
        while site.sockets().len() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the new workers in time");
    app.stop(LONG).await;
    assert!(matches!(replacing.await.unwrap(), Err(StartError::Stopped)));
    assert!(matches!(app.replace(site.plan.clone()).await, Err(StartError::Stopped)));
    assert!(app.status().workers.is_empty());
    site.is_over().await;
}

#[tokio::test]
async fn a_worker_that_does_not_end_is_killed() {
    let site = Site::new("deaf");
    let app = site.start().await;
    timeout(LONG, app.stop(Duration::from_millis(100))).await.expect("the end in time");
    site.is_over().await;
}

#[tokio::test]
async fn a_second_stop_brings_the_end_nearer() {
    let site = Site::new("deaf");
    let app = site.start().await;
    let patient = tokio::spawn({
        let app = app.clone();
        async move { app.stop(Duration::from_secs(3600)).await }
    });
    until(&app, |status| status.workers.iter().all(|worker| worker.phase == Phase::Draining)).await;
    timeout(LONG, app.stop(Duration::ZERO)).await.expect("the end in time");
    patient.await.unwrap();
    site.is_over().await;
}

#[tokio::test]
async fn an_application_of_which_nobody_has_a_handle_ends() {
    let site = Site::new("ready");
    drop(site.start().await);
    site.is_over().await;
}
