//! Notebooks that nobody uses: warned of, kept, ended.

use serde_json::{Value, json};

use crate::{client::Answer, world::World};

async fn world() -> World {
    World::with(json!({"idle-timeout": "4s", "warn-before": "3s"})).await
}

async fn post(world: &World, path: &str) -> Answer {
    let origin = format!("http://{}", world.address);
    world.fetch("POST", path, &[("Cookie", "session=ada"), ("Origin", &origin)]).await
}

async fn state(world: &World) -> Value {
    world.get("ada", "/notebook/ada/-/state").await.json()
}

#[tokio::test]
async fn what_nobody_uses_is_warned_of_and_ended() {
    let world = world().await;
    world.launch("ada", json!({"home_url": "/orders", "home_title": "Orders"})).await;
    let entry = world.until_so("ada", |entry| !entry["warning"].is_null()).await;
    assert_eq!(entry["warning"]["reason"], "idle");
    let said = state(&world).await;
    assert_eq!(said["warning"]["reason"], "idle");
    assert_eq!(said["home"], json!({"url": "/orders", "title": "Orders"}));
    let (now, at) = (said["now"].as_u64().unwrap(), said["warning"]["at"].as_u64().unwrap());
    assert!(at >= now && at <= now + 4, "{said}");
    let entry = world.until("ada", "absent").await;
    assert_eq!(entry["reason"], "it was ended: nobody had used it for 4 s");
}

#[tokio::test]
async fn what_is_kept_or_computes_goes_on() {
    let world = world().await;
    world.launch("ada", json!({})).await;
    world.until_so("ada", |entry| !entry["warning"].is_null()).await;
    let kept = post(&world, "/notebook/ada/-/keep").await;
    assert_eq!((kept.status, kept.json()), (200, json!({"kept": true})));
    assert_eq!(state(&world).await["warning"], Value::Null);
    world.get("ada", "/notebook/ada/busy").await;
    let from = state(&world).await["now"].as_u64().unwrap();
    let twelve_later = |entry: &Value| entry["busy"] == true && crate::idle::now() > from + 12;
    let entry = world.until_so("ada", twelve_later).await;
    assert_eq!((&entry["state"], &entry["warning"]), (&json!("ready"), &Value::Null));
    world.get("ada", "/notebook/ada/rest").await;
    world.until("ada", "absent").await;
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn an_end_after_a_restart_is_warned_of_too() {
    let mut world = world().await;
    world.launch("ada", json!({})).await;
    world.kill();
    // Longer than it may be idle: nobody is there to be asked meanwhile.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    world.revive().await;
    let entry = world.until_so("ada", |entry| !entry["warning"].is_null()).await;
    assert_eq!(entry["state"], "ready");
    world.until("ada", "absent").await;
}

#[tokio::test]
async fn the_kill_timeout_is_warned_of() {
    let world = World::with(json!({"kill-timeout": "6s", "warn-before": "4s"})).await;
    world.control("POST", "/notebooks/ada", json!({})).await;
    let entry = world.until_so("ada", |entry| !entry["warning"].is_null()).await;
    let warning = json!({"reason": "kill-timeout", "at": entry["kill_at"]});
    assert_eq!(entry["warning"], warning);
}

#[tokio::test]
async fn a_user_sees_and_stops_what_is_theirs() {
    let world = World::new().await;
    world.launch("ada", json!({})).await;
    world.launch("ada/side", json!({})).await;
    world.launch("bob", json!({})).await;
    let fields = [("Cookie", "session=ada"), ("Accept", "text/html")];
    let page = world.fetch("GET", "/notebook/ada/-/", &fields).await;
    assert_eq!(page.status, 200);
    for part in ["Your first notebook", "side", "2 of at most 5 run", "/notebook/ada/~side/-/stop"]
    {
        let body = page.body.replace("&#x2f;", "/");
        assert!(body.contains(part), "{part}: {body}");
    }
    assert!(!page.body.contains("bob"));
    // A link alone ends nothing.
    let asked = world.fetch("GET", "/notebook/ada/~side/-/stop", &fields).await;
    assert!(asked.status == 200 && asked.body.contains("Shut this notebook down?"), "{asked:?}");
    let stopped = post(&world, "/notebook/ada/~side/-/stop").await;
    assert_eq!(stopped.json(), json!({"state": "absent"}));
    let left = world.get("ada", "/notebook/ada/-/").await.json();
    assert_eq!((&left["running"], &left["notebooks"][1]["state"]), (&json!(1), &json!("absent")));
    assert_eq!(world.get("bob", "/notebook/ada/-/").await.status, 403);
    let foreign = [("Cookie", "session=ada"), ("Origin", "http://evil.example")];
    assert_eq!(world.fetch("POST", "/notebook/ada/-/stop", &foreign).await.status, 403);
}
