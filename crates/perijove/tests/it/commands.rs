//! Commands beside `serve`.

use std::{fs, process::Command};

use crate::site::{Plan, text};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perijove"));
    command.env_remove("NO_COLOR").env("COLUMNS", "100");
    command
}

#[tokio::test]
async fn the_smallest_site_can_be_served_at_once() {
    let plan = Plan::new().wsgi("hello");
    fs::remove_file(plan.folder().join("app.py")).unwrap();
    let made = program().args(["init", "."]).current_dir(plan.folder()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    insta::assert_snapshot!(text(&made.stdout));
    let checked = program().arg("check").current_dir(plan.folder()).output().unwrap();
    assert_eq!(text(&checked.stdout), "the configuration is right\n", "{checked:?}");
    let site = plan.start().await;
    site.get("/").await.shows("It works");
    site.get("/style.css").await.shows("font");
}

#[test]
fn init_keeps_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.py"), "mine").unwrap();
    let made = program().args(["init", "."]).current_dir(folder.path()).output().unwrap();
    assert!(text(&made.stdout).contains("kept ./app.py"), "{made:?}");
    assert_eq!(fs::read_to_string(folder.path().join("app.py")).unwrap(), "mine");
}

#[tokio::test]
async fn status_is_for_people_and_for_programs() {
    let site = Plan::new().wsgi("hello").start().await;
    let told = site.tell(&["status"]);
    assert!(told.contains("app:application") && told.contains("serving"), "{told}");
    let status = site.status();
    assert_eq!(status["addresses"][0], site.addresses[0].as_str());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
}

/// Runs a command on a terminal of its own, ends it by SIGTERM once it has drawn something, and prints
/// how it ended, and whether the terminal still shows what is typed.
const ON_A_TERMINAL: &str = r"
import os, pty, signal, subprocess, sys, termios
ours, theirs = pty.openpty()
before = termios.tcgetattr(theirs)[3]
child = subprocess.Popen(sys.argv[1:], stdin=theirs, stdout=theirs, stderr=theirs)
seen = b''
while b'q: enough' not in seen:
    seen += os.read(ours, 4096)
during = termios.tcgetattr(theirs)[3]
child.send_signal(signal.SIGTERM)
code = child.wait(60)
after = termios.tcgetattr(theirs)[3]
print(code, bool(during & termios.ECHO), after == before)
";

#[tokio::test]
async fn a_watch_that_is_ended_leaves_the_terminal_as_it_was() {
    let site = Plan::new().wsgi("hello").start().await;
    let mut python = Command::new("python3");
    python.args(["-c", ON_A_TERMINAL, env!("CARGO_BIN_EXE_perijove"), "status", "--watch"]);
    let told = python.current_dir(site.folder()).output().unwrap();
    assert_eq!(text(&told.stdout), "143 False True\n", "{told:?}");
}

#[test]
fn nobody_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("perijove.toml"), "runtime-folder = 'run'\n").unwrap();
    for command in [&["status"][..], &["reload"], &["stop"], &["notebook", "list"]] {
        let output = program().args(command).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(69), "{command:?}");
        assert!(text(&output.stderr).contains("not served now"), "{output:?}");
    }
}

#[test]
fn completions_and_manual_are_made() {
    let bash = program().args(["completions", "bash"]).output().unwrap();
    assert!(text(&bash.stdout).contains("_perijove"), "{bash:?}");
    let man = program().arg("man").output().unwrap();
    assert!(text(&man.stdout).contains(".TH perijove"), "{man:?}");
    let folder = tempfile::tempdir().unwrap();
    let pages = program().args(["man", "--folder"]).arg(folder.path()).output().unwrap();
    assert!(pages.status.success(), "{pages:?}");
    assert!(folder.path().join("perijove-serve.1").exists());
}

#[test]
fn hidden_commands_stay_hidden() {
    let help = program().arg("--help").output().unwrap();
    assert!(!text(&help.stdout).contains("guardian"), "{help:?}");
}
