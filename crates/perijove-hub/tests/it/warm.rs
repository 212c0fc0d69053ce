//! Warm starts: what is forked, what is started cold, and how the zygote is kept, with the real
//! Jupyter.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    client::PATIENCE,
    jupyter::{jupyter_python, package},
    kernel::{Kernel, change},
    world::World,
};

/// What the hub says of its zygote, once that is so.
pub(crate) async fn starts(world: &World, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let starts = world.control("GET", "/starts", Value::Null).await.json();
        if is_so(&starts) {
            return starts;
        }
        assert!(Instant::now() < deadline, "it stays like this: {starts}");
        // There is no event for who only talks to the control socket.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_ready(starts: &Value) -> bool {
    starts["state"] == "ready"
}

/// One whose zygote is ready: on a busy machine that may take longer than a start waits for it.
pub(crate) async fn ready_world(mut notebook: Value, python: PathBuf) -> World {
    notebook["start-timeout"] = json!("120s");
    // Made at once, not with the first notebook.
    notebook["warm"] = json!(true);
    let world = World::start(notebook, python, package()).await;
    starts(&world, is_ready).await;
    world
}

/// An environment of its own that borrows the packages of the tests' one, and where they lie.
fn environment(folder: &std::path::Path) -> (PathBuf, PathBuf) {
    let python = jupyter_python();
    let made = Command::new(&python).args(["-m", "venv", "--without-pip"]).arg(folder).status();
    assert!(made.unwrap().success());
    let packages = |prefix: &std::path::Path| {
        let mut found = fs::read_dir(prefix.join("lib")).unwrap();
        found.next().unwrap().unwrap().path().join("site-packages")
    };
    let own = packages(folder);
    let borrowed = packages(python.ancestors().nth(2).unwrap());
    fs::write(own.join("borrowed.pth"), format!("{}\n", borrowed.display())).unwrap();
    (folder.join("bin/python"), own)
}

#[tokio::test]
async fn a_zygote_that_is_killed_is_made_anew() {
    let world = ready_world(json!({}), jupyter_python()).await;
    assert_eq!(world.launch("ada", json!({})).await["warm"], true);
    let first = starts(&world, is_ready).await;
    let pid = i32::try_from(first["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    // Whoever comes meanwhile is not turned away.
    world.launch("bob", json!({})).await;
    starts(&world, |now| is_ready(now) && now["pid"] != first["pid"]).await;
    for user in ["ada", "bob"] {
        assert_eq!(world.get(user, &format!("/notebook/{user}/api/status")).await.status, 200);
    }
}

#[tokio::test]
async fn a_zygote_whose_packages_have_changed_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (python, packages) = environment(&folder.path().join("venv"));
    // The packages it borrows lie in no place that a sandbox knows of.
    let world = ready_world(json!({"sandbox": "none"}), python).await;
    let first = starts(&world, is_ready).await;
    fs::create_dir(packages.join("another-1.0.dist-info")).unwrap();
    assert_eq!(world.launch("ada", json!({})).await["warm"], false);
    starts(&world, |now| is_ready(now) && now["pid"] != first["pid"]).await;
    assert_eq!(world.launch("bob", json!({})).await["warm"], true);
}

#[tokio::test]
async fn a_kernel_outlives_the_process_it_was_forked_from() {
    let world = ready_world(json!({}), jupyter_python()).await;
    let entry = world.launch("ada", json!({})).await;
    assert_eq!(entry["warm"], true);
    let mut kernel = Kernel::start(&world, "ada").await;
    assert_eq!(kernel.run("treasure = 7; import os; os.getppid()").await, entry["pid"].to_string());
    let zygote = kernels_zygote(entry["pid"].as_i64().unwrap()).expect("one is there");
    kill_process(Pid::from_raw(zygote).unwrap(), Signal::KILL).unwrap();
    assert_eq!(kernel.run("treasure * 6").await, "42");
    // And another one is started cold.
    let mut another = Kernel::start(&world, "ada").await;
    assert_eq!(another.run("6 * 7").await, "42");
    assert_eq!(kernel.run("treasure").await, "7");
}

/// The process from which kernels are forked: a child of the server, which the guardian holds.
fn kernels_zygote(guardian: i64) -> Option<i32> {
    let parent = |pid: i64| -> Option<i64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let is_it = |pid: &i64| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        parent(*pid).and_then(parent) == Some(guardian) && command.contains("zygote.py")
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    let mut all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.find(is_it).and_then(|pid| pid.try_into().ok())
}

#[tokio::test]
async fn a_forked_kernel_is_interrupted_and_dies_as_any_other() {
    let world = ready_world(json!({}), jupyter_python()).await;
    assert_eq!(world.launch("ada", json!({})).await["warm"], true);
    let mut kernel = Kernel::start(&world, "ada").await;
    let address = format!("api/kernels/{}", kernel.id);
    let interrupted = async {
        loop {
            // One that comes before the cell runs is lost.
            tokio::time::sleep(Duration::from_millis(200)).await;
            change(&world, "ada", "POST", &format!("{address}/interrupt")).await;
        }
    };
    tokio::select! {
        shown = kernel.run("import time; time.sleep(600)") => {
            assert!(shown.contains("KeyboardInterrupt"), "{shown}");
        }
        () = interrupted => {}
    }
    // The group of a kernel ends with it, and Jupyter sees that it has died and starts another.
    let pid = kernel.run("import os, subprocess; subprocess.Popen(['sleep', '600']).pid").await;
    let group = kernel.run("(os.getpid() == os.getpgrp(), os.getpid() == os.getsid(0))").await;
    assert_eq!(group, "(True, True)");
    change(&world, "ada", "DELETE", &address).await;
    let deadline = Instant::now() + PATIENCE;
    while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < deadline, "what a kernel has started is ended with it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut kernel = Kernel::start(&world, "ada").await;
    let first = kernel.run("import os; os.getpid()").await;
    kill_process(Pid::from_raw(first.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    // Asked until it answers: by then another one has taken its place.
    kernel.wait().await;
    assert_ne!(kernel.run("import os; os.getpid()").await, first);
}
