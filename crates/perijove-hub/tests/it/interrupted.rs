//! Starts that are cut off by the death of the hub leave one notebook, not two and not none.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    client::PATIENCE,
    world::{World, program},
};

/// A guardian that notes each of its starts once it was told all, and takes its time over the
/// first.
fn slow_guardian(world: &World) -> PathBuf {
    let path = world.path("slow-guardian");
    let (starts, hub) = (world.path("starts"), program());
    let script = format!(
        "#!/bin/sh\n/bin/cat >{told}\n[ -e {starts} ] || late=2\necho start >>{starts}\n\
         /bin/sleep ${{late:-0}}\nexec {hub} guardian <{told}\n",
        told = world.path("told").display(),
        starts = starts.display(),
        hub = hub.display(),
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

async fn until_there(path: PathBuf) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(tokio::time::Instant::now() < deadline, "no {}", path.display());
        // There is no event for a file that a script makes.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_guardian_on_its_way_is_waited_for() {
    let mut world = World::new().await;
    world.kill();
    let guardian = slow_guardian(&world);
    world.wants("guardian", json!(guardian));
    world.revive().await;
    world.control("POST", "/notebooks/ada", json!({})).await;
    until_there(world.path("starts")).await;
    // It has been told what to start, and nobody has noted that it will.
    world.kill();
    world.revive().await;
    world.until("ada", "ready").await;
    assert_eq!(world.get("ada", "/notebook/ada/count").await.status, 200);
    assert_eq!(fs::read_to_string(world.path("starts")).unwrap(), "start\n");
    let stopped = world.control("DELETE", "/notebooks/ada", Value::Null).await;
    assert_eq!(stopped.json()["state"], "absent");
    world.launch("ada", json!({})).await;
}
