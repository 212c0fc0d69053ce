//! What an earlier process has left is taken up, at whatever point it ended.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::{Behaviour, World};
use crate::{notebook::Notebook, phase::Phase, server::View};

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
            let record = records.get_mut(&Notebook::called("ada")).unwrap();
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
        records.get_mut(&Notebook::called("ada")).unwrap().phase = Phase::Absent;
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
async fn what_nobody_has_a_record_of_is_ended_before_the_next_start() {
    let mut world = World::new();
    world.launch("ada", json!({})).await;
    world.until_phase("ada", Phase::Ready).await;
    world.kill().await;
    world.disk.records.lock().unwrap().clear();
    world.revive();
    world.launch("ada", json!({})).await;
    let view = world.until("ada", |view| view.phase != Phase::Starting).await;
    assert_eq!((view.phase, view.process), (Phase::Ready, Some(101)));
    assert!(world.fake.servers.lock().unwrap()[&100].borrow().is_some());
}
