//! Warm starts: what is forked, what is started cold, and how the zygote is kept, with the real
//! Jupyter.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    client::PATIENCE,
    jupyter::{jupyter_python, package},
    kernel::Kernel,
    world::World,
};

/// What the hub says of its zygote, once that is so.
async fn starts(world: &World, is_so: impl Fn(&Value) -> bool) -> Value {
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
async fn a_zygote_is_kept_whatever_becomes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (python, packages) = environment(&folder.path().join("venv"));
    let world = World::start(json!({"start-timeout": "120s"}), python, package()).await;
    let first = starts(&world, is_ready).await;
    assert_eq!(world.launch("ada", json!({})).await["warm"], true);

    // One whose environment means something to its interpreter is not forked.
    let entry = world.launch("bob", json!({"environment": {"PYTHONOPTIMIZE": "1"}})).await;
    assert_eq!(entry["warm"], false);

    // One that is killed is made anew, and whoever comes meanwhile is not turned away.
    let pid = i32::try_from(first["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    world.launch("cleo", json!({})).await;
    let second = starts(&world, |now| is_ready(now) && now["pid"] != first["pid"]).await;

    // So is one whose packages have changed, at the next start.
    fs::create_dir(packages.join("another-1.0.dist-info")).unwrap();
    assert_eq!(world.launch("dora", json!({})).await["warm"], false);
    let third = starts(&world, |now| is_ready(now) && now["pid"] != second["pid"]).await;
    assert_eq!(world.launch("emil", json!({})).await["warm"], true);
    assert_eq!(third["reason"], Value::Null);

    // Those that were forked from any of them are still there.
    for user in ["ada", "bob", "cleo", "dora", "emil"] {
        assert_eq!(world.get(user, &format!("/notebook/{user}/api/status")).await.status, 200);
    }
}

#[tokio::test]
async fn a_kernel_outlives_the_process_it_was_forked_from() {
    let world = World::start(json!({"start-timeout": "120s"}), jupyter_python(), package()).await;
    let entry = world.launch("ada", json!({})).await;
    assert_eq!(entry["warm"], true);
    let mut kernel = Kernel::start(&world, "ada").await;
    assert_eq!(kernel.run("treasure = 7; import os; os.getppid()").await, entry["pid"].to_string());
    // The kernels' zygote: a child of the server that is named like it, and no kernel.
    let zygote = kernel.run(
        "print(*(pid for pid in os.listdir('/proc') if pid.isdigit() and int(pid) != os.getpid() \
         and os.path.exists(f'/proc/{pid}/cmdline') \
         and b'zygote.py' in open(f'/proc/{pid}/cmdline', 'rb').read() \
         and os.environ['HOME'] == os.readlink(f'/proc/{pid}/cwd') \
         and open(f'/proc/{pid}/stat').read().rsplit(') ')[1].split()[1] != str(os.getppid())))",
    );
    let zygote: i32 = zygote.await.trim().parse().expect("one process");
    kill_process(Pid::from_raw(zygote).unwrap(), Signal::KILL).unwrap();
    assert_eq!(kernel.run("treasure * 6").await, "42");
    // And another one is started cold.
    let mut another = Kernel::start(&world, "ada").await;
    assert_eq!(another.run("6 * 7").await, "42");
    assert_eq!(kernel.run("treasure").await, "7");
}
