//! The same with the real Jupyter, started by the real launcher.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    client::PATIENCE,
    kernel::{Kernel, change},
    world::{World, system_python},
};

const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A Python with Jupyter: named by the environment, or one of those that make sets up.
pub(crate) fn jupyter_python() -> PathBuf {
    if let Some(named) = std::env::var_os("PERIJOVE_TEST_JUPYTER") {
        return named.into();
    }
    let made = ["target/jupyter", "target/venvs/test"];
    let mut found = made.iter().map(|folder| Path::new(TREE).join(folder).join("bin/python"));
    found.find(|python| python.is_file()).expect("`make test-rust` sets up a Jupyter for this test")
}

pub(crate) fn package() -> PathBuf {
    Path::new(TREE).join("python/perijove").canonicalize().unwrap()
}

async fn world() -> World {
    World::start(json!({"start-timeout": "120s"}), jupyter_python(), package()).await
}

#[tokio::test]
async fn a_notebook_of_jupyter_is_the_users_own() {
    the_users_own(world().await).await;
}

#[tokio::test]
async fn a_notebook_that_is_started_cold_is_the_same() {
    let settings = json!({"start-timeout": "120s", "warm": false});
    the_users_own(World::start(settings, jupyter_python(), package()).await).await;
}

async fn the_users_own(world: World) {
    let body =
        json!({"startup": "a = 40\nprint('from the site')", "greeting": "Have a look at `a`."});
    let entry = world.launch("ada", body).await;
    let me = world.get("ada", "/notebook/ada/api/me").await.json();
    assert_eq!(
        (&me["identity"]["username"], &me["identity"]["name"]),
        (&json!("ada"), &json!("ada"))
    );
    let page = world.get("ada", "/notebook/ada/lab").await;
    assert!(page.status == 200 && page.body.contains("\"token\": \"\""), "{page:?}");
    assert_eq!(world.get("ada", "/notebook/ada/tree").await.status, 200);
    let first = entry["url"].as_str().unwrap().strip_prefix("/notebook/ada/lab/tree/").unwrap();
    let first = world.get("ada", &format!("/notebook/ada/api/contents/{first}")).await.json();
    assert_eq!(first["content"]["cells"][0]["source"], "Have a look at `a`.");
    for path in ["api/contents", "lab", "api/kernels"] {
        assert_eq!(world.get("bob", &format!("/notebook/ada/{path}")).await.status, 403);
    }

    let mut kernel = Kernel::start(&world, "ada").await;
    assert_eq!(kernel.run("a + 2").await, "from the site\n42");
    assert_eq!(kernel.run("a + 2").await, "42");
    kernel.restart(&world, "ada").await;
    assert_eq!(kernel.run("a").await, "from the site\n40");
    let secret = kernel.run("import os; os.environ.get('SITE_SECRET'), 'token' in str(os.environ)");
    assert_eq!(secret.await, "(None, False)");
}

#[tokio::test]
async fn a_terminal_is_at_hand() {
    let world = world().await;
    world.launch("ada", json!({})).await;
    let name = change(&world, "ada", "POST", "api/terminals").await["name"].clone();
    let path = format!("/notebook/ada/terminals/websocket/{}", name.as_str().unwrap());
    let mut socket = world.websocket("ada", &path).await.unwrap();
    let line = json!(["stdin", "echo $((6 * 7)) $PERIJOVE_STARTUP | tr a-z A-Z\r"]);
    socket.send(Message::text(line.to_string())).await.unwrap();
    let seen = async {
        let mut seen = String::new();
        while !(seen.contains("42 ") && seen.contains("STARTUP.PY")) {
            let message = socket.next().await.unwrap().unwrap();
            seen += message.to_text().unwrap_or_default();
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("the terminal's words in time");
}

#[tokio::test]
async fn kernels_and_variables_live_through_kill_and_start() {
    let mut world = world().await;
    world.launch("ada", json!({})).await;
    let mut kernel = Kernel::start(&world, "ada").await;
    assert_eq!(kernel.run("treasure = 7; import os; os.getpid() > 0").await, "True");
    world.kill();
    world.revive().await;
    world.until("ada", "ready").await;
    let mut kernel = Kernel::join(&world, "ada", &kernel.id).await;
    assert_eq!(kernel.run("treasure * 6").await, "42");
    let pid: i32 = kernel.run("os.getpid()").await.parse().unwrap();
    let is_there = || Path::new(&format!("/proc/{pid}")).exists();
    assert!(is_there());
    let stopped = world.control("DELETE", "/notebooks/ada", Value::Null).await;
    assert_eq!(stopped.status, 200);
    assert!(!is_there(), "the kernel ended with its server");
}

#[tokio::test]
async fn a_python_without_jupyter_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(system_python())
        .args(["-m", "venv", "--without-pip"])
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(made.success());
    let python = folder.path().join("bin/python");
    let world = World::start(json!({}), python.clone(), package()).await;
    world.control("POST", "/notebooks/ada", json!({})).await;
    let entry = world.until("ada", "failed").await;
    let python = python.display();
    assert_eq!(
        entry["reason"],
        json!(format!(
            "jupyter_server and jupyterlab are not installed for {python}: run \
             `{python} -m pip install jupyterlab notebook`"
        ))
    );
}

#[tokio::test]
async fn a_kernel_that_runs_out_of_memory_is_ended_and_the_next_one_says_so() {
    if perijove_process::group::writable().is_none() {
        eprintln!("NOT TESTED: no control group can be written here");
        return;
    }
    let settings = json!({"start-timeout": "120s", "limits": {"memory": "500M"}});
    let world = World::start(settings, jupyter_python(), package()).await;
    world.launch("ada", json!({})).await;
    let mut kernel = Kernel::start(&world, "ada").await;
    assert_eq!(kernel.run("6 * 7").await, "42");
    let hog = "hog = b'x' * (2 << 30)";
    // No answer comes from one that is ended.
    tokio::time::timeout(std::time::Duration::from_secs(5), kernel.run(hog)).await.ok();
    let entry = world.until_so("ada", |entry| !entry["out_of_memory"].is_null()).await;
    assert_eq!(entry["out_of_memory"]["limit"], 500 << 20);
    assert_eq!(entry["state"], "ready");
    kernel.restart(&world, "ada").await;
    let said = kernel.run("6 * 7").await;
    assert!(said.contains("out of memory") && said.contains("500 MiB"), "{said}");
    assert_eq!(kernel.run("6 * 7").await, "42");
}
