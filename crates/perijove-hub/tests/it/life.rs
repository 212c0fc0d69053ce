//! Notebooks live through the deaths of the hub, and die when they should.

use std::{fs, os::unix::fs::PermissionsExt as _};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::world::World;

#[tokio::test]
async fn a_notebook_is_launched_used_and_stopped() {
    let world = World::new().await;
    let entry = world.launch("ada", json!({"startup": "a = 1", "greeting": "hello"})).await;
    let answer = world.get("ada", "/notebook/ada/count").await;
    assert_eq!((answer.status, &answer.json()["count"]), (200, &json!(1)));
    let mut socket = world.websocket("ada", "/notebook/ada/socket").await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    let folder = world.path("state/folders/ada");
    assert_eq!(entry["folder"], json!(folder));
    assert_eq!(fs::read_to_string(folder.join(".perijove/startup.py")).unwrap(), "a = 1");
    let stopped = world.control("DELETE", "/notebooks/ada", Value::Null).await;
    assert_eq!((stopped.status, &stopped.json()["state"]), (200, &json!("absent")));
    let answer = world.get("ada", "/notebook/ada/count").await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (424, &json!("the notebook is not running"))
    );
}

#[tokio::test]
async fn a_notebook_inherits_nothing_of_ours() {
    let world = World::with(json!({"environment": {"WANTED": "yes"}})).await;
    let body = json!({"environment": {"ALSO": "this", "PYTHONSTARTUP": "/own.py"}});
    world.launch("ada", body).await;
    let environment = world.get("ada", "/notebook/ada/environment").await.json();
    let mut names: Vec<_> = environment.as_object().unwrap().keys().map(String::as_str).collect();
    names.retain(|name| *name != "LC_CTYPE");
    // Only where the kernel has Landlock: elsewhere `/tmp` is what it is, or the notebook's own.
    if !names.contains(&"TMPDIR") {
        names.insert(names.len() - 1, "TMPDIR");
    }
    assert_eq!(
        names,
        [
            "ALSO",
            "HOME",
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "LANG",
            "PATH",
            "PERIJOVE_PYTHONSTARTUP",
            "PERIJOVE_STARTUP",
            "PYTHONSTARTUP",
            "TMPDIR",
            "WANTED",
        ]
    );
    assert_eq!(environment["HOME"], json!(world.path("state/folders/ada")));
    assert_eq!(environment["PERIJOVE_PYTHONSTARTUP"], "/own.py");
    let loader = environment["PYTHONSTARTUP"].as_str().unwrap();
    assert!(loader.ends_with("/notebook/startup_loader.py"), "{loader}");
}

#[tokio::test]
async fn killed_and_started_again_it_finds_what_runs() {
    let mut world = World::new().await;
    let before = world.launch("ada", json!({"context_hash": 1})).await;
    let first = world.get("ada", "/notebook/ada/count").await.json();
    world.kill();
    world.revive().await;
    // It may have been killed before it had noted that the notebook was ready.
    world.until("ada", "ready").await;
    let second = world.get("ada", "/notebook/ada/count").await.json();
    assert_eq!((&second["pid"], &second["count"]), (&first["pid"], &json!(2)));
    let after = world.control("GET", "/notebooks/ada", Value::Null).await.json();
    assert_eq!((&after["pid"], &after["state"]), (&before["pid"], &json!("ready")));
    let joined = world.control("POST", "/notebooks/ada", json!({"context_hash": "1"})).await;
    assert_eq!((joined.status, &joined.json()["created"]), (200, &json!(false)));
}

#[tokio::test]
async fn killed_again_and_again_it_loses_and_doubles_nothing() {
    let mut world = World::new().await;
    for round in 0..5 {
        world.control("POST", "/notebooks/ada", json!({"context_hash": round / 2})).await;
        world.kill();
        world.revive().await;
    }
    world.launch("ada", json!({"context_hash": 2})).await;
    let status = fs::read_dir(world.path("state/notebooks")).unwrap().count();
    assert_eq!(status, 1);
    assert_eq!(world.get("ada", "/notebook/ada/count").await.status, 200);
}

#[tokio::test]
async fn the_guardian_keeps_the_time_while_the_hub_is_away() {
    let mut world = World::with(json!({"kill-timeout": "3s"})).await;
    world.control("POST", "/notebooks/ada", json!({})).await;
    // Not until it is ready: its time may be up before that.
    let entry = world.until_so("ada", |entry| entry["pid"].is_i64()).await;
    assert_eq!(entry["kill_at"].as_u64().unwrap(), entry["started"].as_u64().unwrap() + 3);
    world.kill();
    let guardian = i32::try_from(entry["pid"].as_i64().unwrap()).unwrap();
    let ended = tokio::task::spawn_blocking(move || wait_for_end(guardian));
    tokio::time::timeout(crate::client::PATIENCE, ended).await.unwrap().unwrap();
    world.revive().await;
    let entry = world.until_so("ada", |entry| !entry["reason"].is_null()).await;
    assert_eq!(entry["reason"], "it was ended: its time was up");
    let lines = entry["last_lines"].to_string();
    assert!(lines.contains("the fake starts"), "{lines}");
}

fn wait_for_end(process: i32) {
    use rustix::{
        event::{PollFd, PollFlags, poll},
        process::{Pid, PidfdFlags, pidfd_open},
    };
    let Ok(held) = pidfd_open(Pid::from_raw(process).unwrap(), PidfdFlags::empty()) else { return };
    poll(&mut [PollFd::new(&held, PollFlags::IN)], None).unwrap();
}

#[tokio::test]
async fn a_notebook_that_dies_is_told_of() {
    let world = World::new().await;
    world.launch("ada", json!({})).await;
    // It is started anew by itself, as long as that seems to be of use.
    for _ in 0..4 {
        let before = world.until("ada", "ready").await["pid"].clone();
        world.get("ada", "/notebook/ada/exit").await;
        let is_new = |entry: &Value| entry["state"] == "ready" && entry["pid"] != before;
        world.until_so("ada", is_new).await;
        assert!(world.get("ada", "/notebook/ada/-/state").await.json()["revived"].is_u64());
    }
    world.get("ada", "/notebook/ada/exit").await;
    let entry = world.until_so("ada", |entry| !entry["reason"].is_null()).await;
    let reason = "it ended by itself (signal 9): 5 times within 10 min, so it is left alone now";
    assert_eq!(entry["reason"], reason);
    let page = world.fetch(
        "GET",
        "/notebook/ada/lab",
        &[("Cookie", "session=ada"), ("Accept", "text/html")],
    );
    let page = page.await;
    assert!(page.status == 404 && page.body.contains("Start it again"), "{page:?}");
    let origin = format!("http://{}", world.address);
    let again = [("Cookie", "session=ada"), ("Origin", origin.as_str())];
    let again = world.fetch("POST", "/notebook/ada/-/start", &again).await;
    assert_eq!(again.status, 303);
    world.until("ada", "ready").await;
}

async fn check_failure(environment: Value, reason: &str, line: &str) {
    let world = World::new().await;
    let answer = world.control("POST", "/notebooks/ada", json!({"environment": environment})).await;
    assert_eq!(answer.status, 202);
    let entry = world.until("ada", "failed").await;
    assert_eq!(entry["reason"], reason);
    assert!(entry["last_lines"].to_string().contains(line), "{entry}");
    let fields = [("Cookie", "session=ada"), ("Accept", "text/html")];
    let page = world.fetch("GET", "/notebook/ada/", &fields).await;
    assert!(page.status == 502 && page.body.contains(line), "{page:?}");
    let origin = format!("http://{}", world.address);
    let again = [("Cookie", "session=ada"), ("Origin", origin.as_str())];
    world.fetch("POST", "/notebook/ada/-/start", &again).await;
    let entry = world.until("ada", "failed").await;
    // Of the second start, not of both.
    assert_eq!(entry["last_lines"].to_string().matches("the fake starts").count(), 1, "{entry}");
}

#[tokio::test]
async fn a_failed_start_is_explained() {
    let fault = "RuntimeError: a fault in the configuration";
    check_failure(json!({"FAKE": "dies"}), "it ended by itself (exit status 1)", fault).await;
    let missing = "jupyterlab is not installed";
    check_failure(json!({"FAKE": "missing"}), missing, missing).await;
}

#[tokio::test]
async fn a_start_without_end_is_given_up() {
    let world = World::with(json!({"start-timeout": "1s", "environment": {"FAKE": "hangs"}})).await;
    world.control("POST", "/notebooks/ada", json!({})).await;
    let entry = world.until("ada", "failed").await;
    assert_eq!(entry["reason"], "it did not answer within 1 s");
}

#[tokio::test]
async fn a_broken_database_costs_nobody_a_notebook() {
    let mut world = World::new().await;
    world.launch("ada", json!({})).await;
    let first = world.get("ada", "/notebook/ada/count").await.json();
    world.kill();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(world.path(&format!("state/state.db{suffix}"))).ok();
    }
    fs::write(world.path("state/state.db"), "nonsense ".repeat(1000)).unwrap();
    world.revive().await;
    world.until("ada", "ready").await;
    let second = world.get("ada", "/notebook/ada/count").await.json();
    assert_eq!((&second["pid"], &second["count"]), (&first["pid"], &json!(2)));
}

#[tokio::test]
async fn names_of_all_kinds_have_notebooks() {
    let world = World::new().await;
    for (name, address) in [
        ("ada@example.org", "ada%40example%2Eorg"),
        ("秀樹", "%E7%A7%80%E6%A8%B9"),
        ("a/b", "a%2Fb"),
        ("../../evil", "%2E%2E%2F%2E%2E%2Fevil"),
        ("lab", "%6Cab"),
        ("100%", "100%25"),
    ] {
        let encoded = name.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}"));
        let entry = world.launch(&encoded, json!({})).await;
        assert_eq!(entry["user"], name);
        let folder = entry["folder"].as_str().unwrap();
        let below = folder.strip_prefix(world.path("state/folders/").to_str().unwrap()).unwrap();
        assert!(!below.contains('/') && !below.starts_with('.'), "{below}");
        let path = format!("/notebook/{address}/count");
        assert_eq!(world.get(&encoded, &path).await.status, 200, "{name}");
        world.control("DELETE", &format!("/notebooks/{encoded}"), Value::Null).await;
    }
}

#[tokio::test]
async fn sockets_and_secrets_are_ours_alone() {
    let world = World::new().await;
    world.launch("ada", json!({})).await;
    let folder = fs::read_dir(world.path("run/notebook")).unwrap().next().unwrap().unwrap().path();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(world.path("state/state.db")), 0o600);
    assert_eq!(mode(folder.join("sock")), 0o600);
    assert_eq!(mode(folder), 0o700);
}
