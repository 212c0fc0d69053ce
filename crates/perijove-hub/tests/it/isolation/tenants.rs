//! Notebooks with accounts that are made for them, and notebooks without a network.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use rustix::process::geteuid;
use serde_json::{Value, json};

use super::bubblewrap_works;
use crate::world::World;

/// An account that perijove makes in a test: whatever happens, it is not there afterwards.
struct Made(String);

impl Made {
    /// What no account is called: of this process, and of no other test.
    fn prefix(what: &str) -> (String, Self) {
        let prefix = format!("pjt{}{what}-", std::process::id());
        let name = format!("{prefix}ada");
        (prefix, Self(name))
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let done = Command::new(program)
            .args(arguments)
            .arg(&self.0)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let mut delete = Command::new("userdel");
        delete.arg(&self.0).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().ok();
    }
}

/// A world whose folders accounts can pass through, with a Python that they can read.
async fn world(settings: Value) -> World {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake");
    let world = World::start(settings, "/usr/bin/python3".into(), package).await;
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o711)).unwrap();
    world
}

const WHO: &str = "import os, pwd, stat\n\
    home = os.stat(os.environ['HOME'])\n\
    result = [pwd.getpwuid(os.getuid()).pw_name, os.getuid() == os.geteuid(), sorted(os.getgroups()), \
    home.st_uid == os.getuid(), oct(stat.S_IMODE(home.st_mode)), os.environ['USER']]";

#[tokio::test]
async fn an_account_is_made_when_it_is_allowed_and_has_its_groups() {
    if !geteuid().is_root() {
        eprintln!("NOT TESTED: only root can make accounts");
        return;
    }
    let (prefix, made) = Made::prefix("m");
    let run_as = format!("{prefix}{{user}}");
    let settings = json!({"run-as": run_as, "create-accounts": true, "warm": false});
    let world = world(settings).await;
    world.launch("ada", json!({})).await;
    let who = world.run("ada", WHO).await;
    let own = who[2].as_array().unwrap().clone();
    assert_eq!(own.len(), 1, "a group of its own and no other: {who}");
    let expected = json!([made.0, true, own, true, "0o700", made.0]);
    assert_eq!(who, expected);

    // The next one finds it, with the groups that somebody has put it into meanwhile.
    made.run("usermod", &["--append", "--groups", "games"]);
    let stopped = world.control("DELETE", "/notebooks/ada", Value::Null).await;
    assert!(stopped.status < 300, "{stopped:?}");
    world.until("ada", "absent").await;
    world.launch("ada", json!({})).await;
    let who = world.run("ada", WHO).await;
    assert_eq!(who[0], made.0);
    assert_eq!(who[2].as_array().unwrap().len(), 2, "{who}");

    // Nobody else comes into the folder, and it comes into nobody else's.
    let folder = world.path("state/folders/ada");
    let mut list = Command::new("/usr/bin/python3");
    list.args([
        "-c",
        "import os, sys; os.setgid(65534); os.setuid(65534); os.listdir(sys.argv[1])",
    ]);
    let tried = list.arg(&folder).output().unwrap();
    assert!(String::from_utf8_lossy(&tried.stderr).contains("PermissionError"), "{tried:?}");
    world.control("DELETE", "/notebooks/ada", Value::Null).await;
    world.until("ada", "absent").await;
}

const CONNECTS: &str = "import socket\n\
    def tried(address):\n\
    \x20   try:\n\
    \x20       socket.create_connection(address, 5).close()\n\
    \x20       return 'connected'\n\
    \x20   except OSError as error:\n\
    \x20       return type(error).__name__\n";

#[tokio::test]
async fn a_notebook_without_a_network_connects_to_nothing() {
    if !bubblewrap_works() {
        eprintln!("NOT TESTED: bubblewrap does not work here");
        return;
    }
    for (network, connected) in [(true, true), (false, false)] {
        let settings = json!({"sandbox": "bubblewrap", "network": network, "warm": false});
        let world = world(settings).await;
        world.launch("ada", json!({})).await;
        let (host, port) = world.site.address.rsplit_once(':').unwrap();
        let code = format!("{CONNECTS}result = tried(({host:?}, {port}))");
        let told = world.run("ada", &code).await;
        assert_eq!(told == "connected", connected, "{told}");
        // Nor is there anything to connect by, but what is inside.
        let devices = "result = [line.split(':')[0].strip() for line in open('/proc/net/dev') if ':' in line]";
        let devices = world.run("ada", devices).await;
        if !network {
            assert_eq!(devices, json!(["lo"]));
        }
        let inside = format!(
            "{CONNECTS}door = socket.create_server(('127.0.0.1', 0))\nresult = tried(door.getsockname())"
        );
        assert_eq!(world.run("ada", &inside).await, "connected");
    }
}
