//! What computes in a real Jupyter keeps it, however idle its user; an open page does not.

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    idle::now,
    jupyter::{jupyter_python, package},
    kernel::{Kernel, change},
    world::World,
};

/// Seconds for which nobody may do anything.
const IDLE: u64 = 4;

async fn world() -> World {
    let idle = json!({"start-timeout": "120s", "idle-timeout": IDLE, "warn-before": 1});
    let world = World::start(idle, jupyter_python(), package()).await;
    world.launch("ada", json!({})).await;
    world
}

/// It lives three times as long as it would if it were idle, is not warned of, and then ends.
async fn check(world: &World, began: u64) {
    let lived = |entry: &Value| {
        assert_eq!((&entry["state"], &entry["warning"]), (&json!("ready"), &Value::Null));
        now() > began + 3 * IDLE
    };
    world.until_so("ada", lived).await;
    world.until_so("ada", |entry| !entry["warning"].is_null()).await;
    let entry = world.until("ada", "absent").await;
    assert_eq!(entry["reason"], format!("it was ended: nobody had used it for {IDLE} s"));
}

#[tokio::test]
async fn a_kernel_that_computes_silently() {
    let world = world().await;
    let mut kernel = Kernel::start(&world, "ada").await;
    let began = now();
    let code = format!("import time; time.sleep({})", 3 * IDLE + 1);
    let silence = kernel.run(&code);
    let (silence, ()) = tokio::join!(silence, check(&world, began));
    assert_eq!(silence, "");
}

#[tokio::test]
async fn a_terminal_with_something_in_its_foreground() {
    let world = world().await;
    let name = change(&world, "ada", "POST", "api/terminals").await["name"].clone();
    let path = format!("/notebook/ada/terminals/websocket/{}", name.as_str().unwrap());
    let mut socket = world.websocket("ada", &path).await.unwrap();
    let line = json!(["stdin", format!("sleep {}\r", 3 * IDLE + 1)]);
    let began = now();
    socket.send(Message::text(line.to_string())).await.unwrap();
    check(&world, began).await;
}

#[tokio::test]
async fn a_kernel_alone_is_ended_when_nobody_uses_it() {
    let idle = json!({"start-timeout": "120s", "kernel-idle-timeout": 2});
    let world = World::start(idle, jupyter_python(), package()).await;
    world.launch("ada", json!({})).await;
    let _kernel = Kernel::start(&world, "ada").await;
    let deadline = now() + 40;
    while world.get("ada", "/notebook/ada/api/kernels").await.json() != json!([]) {
        assert!(now() < deadline, "the kernel lives on");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(world.until("ada", "ready").await["state"], "ready");
}
