//! From a click to the end, and what is refused.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{Behaviour, World, text};
use crate::{phase::Phase, server::View};

#[tokio::test]
async fn a_notebook_is_launched_joined_and_stopped() {
    let world = World::new();
    let (status, first) = world.launch("ada", json!({"startup": "a = 1"})).await;
    assert_eq!(
        (status, &first["state"], &first["created"]),
        (202, &json!("starting"), &json!(true))
    );
    let url = first["url"].as_str().unwrap();
    assert!(url.starts_with("/notebook/ada/lab/tree/default-"), "{url}");
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
    world.launch("a/second", json!({})).await;
    let (status, answer) = world.launch("a/third", json!({})).await;
    let limit = "2 notebooks of this user are running, and one may have no more";
    assert_eq!((status, answer["error"].as_str()), (503, Some(limit)));
    world.launch("b", json!({})).await;
    let (status, answer) = world.launch("c", json!({})).await;
    assert_eq!(status, 503);
    assert_eq!(answer["error"], "too many notebooks are running: 3 at most");
    world.until_phase("a", Phase::Ready).await;
    let (status, _) = world.launch("a", json!({})).await;
    assert_eq!(status, 200);
    world.launch("a", json!({"context_hash": "other"})).await;
    world.until("a", |v| v.phase == Phase::Ready && v.hash.as_deref() == Some("other")).await;
    world.api("DELETE", "/notebooks/b", &Value::Null).await;
    let (status, _) = world.launch("c", json!({})).await;
    assert_eq!(status, 202);
}

/// Each has an address, a script and a first file of its own, and the files in common.
#[tokio::test]
async fn a_user_has_one_notebook_beside_another() {
    let world = World::new();
    world.launch("ada", json!({"startup": "a = 1"})).await;
    let (_, second) = world.launch("ada/orders", json!({"startup": "a = 2"})).await;
    let url = second["url"].as_str().unwrap();
    assert!(url.starts_with("/notebook/ada/~orders/lab/tree/orders-"), "{url}");
    let first = world.until_phase("ada", Phase::Ready).await;
    let second = world.until_phase("ada/orders", Phase::Ready).await;
    let folder = first.folder.unwrap();
    assert_eq!(second.folder.as_ref(), Some(&folder));
    for (script, text) in [("startup.py", "a = 1"), ("orders/startup.py", "a = 2")] {
        assert_eq!(std::fs::read_to_string(folder.join(".perijove").join(script)).unwrap(), text);
    }
    let (_, all) = world.api("GET", "/notebooks", &Value::Null).await;
    assert_eq!((&all[0]["name"], &all[1]["name"]), (&Value::Null, &json!("orders")));
    // What lies below the second one's address is never the first one's.
    world.api("DELETE", "/notebooks/ada/orders", &Value::Null).await;
    let page = world.page("GET", "/notebook/ada/~orders/lab", "ada").await;
    assert_eq!(page.status, 404);
    assert_eq!(world.until_phase("ada", Phase::Ready).await.process, first.process);
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
