//! A full disk costs nobody the notebook that runs.

use std::{fs::File, io::Write as _};

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn a_full_disk_refuses_launches_until_there_is_room() {
    let world = World::with_small_disk().await;
    world.launch("ada", json!({"context_hash": 1})).await;
    let filler = world.path_within("state/filler");
    let mut file = File::create(&filler).unwrap();
    // To the last byte.
    for size in [64 << 10, 512, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    for (user, body) in [("bob", json!({})), ("ada", json!({"context_hash": 2}))] {
        let refused = world.control("POST", &format!("/notebooks/{user}"), body).await;
        assert_eq!(refused.status, 503);
        let error = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(
            error.contains("the disk of the state folder") && error.contains("is full"),
            "{error}"
        );
    }
    let answer = world.get("ada", "/notebook/ada/count").await;
    assert_eq!((answer.status, &answer.json()["count"]), (200, &json!(1)));
    let joined = world.control("POST", "/notebooks/ada", json!({"context_hash": 1})).await;
    assert_eq!((joined.status, &joined.json()["state"]), (200, &json!("ready")));
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    world.launch("bob", json!({})).await;
    let stopped = world.control("DELETE", "/notebooks/ada", Value::Null).await;
    assert_eq!(stopped.status, 200);
}
