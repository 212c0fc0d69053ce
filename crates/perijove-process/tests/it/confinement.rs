//! What a child that was confined can and cannot do, tried by the child itself.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use perijove_process::{Account, Child, Command, Limits, Sandbox, landlock};
use rustix::process::geteuid;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use crate::witness::Witness;

/// What a shell needs.
const SYSTEM: [&str; 7] =
    ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/passwd", "/proc"];

/// Runs each line by itself in a shell, and says of each whether it could be done.
async fn tries(change: impl FnOnce(&mut Command), lines: &[&str]) -> Vec<bool> {
    let (mut witness, descriptor) = Witness::new(3);
    let script: Vec<_> = lines
        .iter()
        .map(|line| format!("if ({line}) >/dev/null 2>&1; then echo y >&3; else echo n >&3; fi\n"))
        .collect();
    let mut command = Command::new("/bin/sh").arguments(["-c", &script.concat()]);
    command.environment.insert("PATH".into(), "/usr/bin:/bin".into());
    command.descriptors = vec![descriptor];
    command.folder = Some("/".into());
    change(&mut command);
    let tracker = TaskTracker::new();
    let child = Child::start(command, "tries", &tracker).unwrap();
    let mut could = Vec::new();
    for _ in lines {
        could.push(witness.line().await == "y");
    }
    child.ended().await;
    could
}

/// Says loudly what this kernel lacks; then there is nothing to try.
#[expect(clippy::print_stderr, reason = "what this kernel cannot show must be seen")]
fn has_landlock() -> bool {
    let version = landlock();
    if version.is_none() {
        eprintln!("NOT TESTED: this kernel has no Landlock, or it is switched off");
    }
    version.is_some()
}

struct Folders {
    own: TempDir,
    foreign: TempDir,
}

impl Folders {
    fn new() -> Self {
        let folders =
            Self { own: tempfile::tempdir().unwrap(), foreign: tempfile::tempdir().unwrap() };
        for folder in [&folders.own, &folders.foreign] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        }
        fs::write(folders.foreign.path().join("secret"), "s").unwrap();
        folders
    }

    fn sandbox(&self) -> Sandbox {
        Sandbox {
            read: SYSTEM.iter().map(Into::into).collect(),
            change: vec!["/dev/null".into(), "/dev/is-not-there".into()],
            write: vec![self.own.path().into()],
            ..Sandbox::default()
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_sandbox_holds_what_is_named_and_nothing_else() {
    if !has_landlock() {
        return;
    }
    let folders = Folders::new();
    let (own, foreign) = (text(folders.own.path()), text(folders.foreign.path()));
    let could = tries(
        |command| command.sandbox = Some(folders.sandbox()),
        &[
            &format!(
                "echo mine > {own}/a && mkdir {own}/b && mv {own}/a {own}/b/c && cat {own}/b/c"
            ),
            &format!("ln -s {foreign}/secret {own}/link"),
            &format!("cat {own}/link"),
            &format!("ls {foreign}"),
            &format!("cat {foreign}/secret"),
            &format!("echo x >> {foreign}/secret"),
            &format!("rm {foreign}/secret"),
            "cat /etc/passwd",
            "cat /etc/shadow",
            "ls /",
            "echo x > /usr/x",
            &format!("mknod {own}/null c 1 3"),
            &format!("cat /proc/{}/environ", std::process::id()),
            &format!("readlink /proc/{}/fd/0", std::process::id()),
            &format!("sh -c 'sh -c \"cat {foreign}/secret\"'"),
            "grep -q 'NoNewPrivs:.*1' /proc/self/status",
            "grep -q 'CapEff:.*0000000000000000' /proc/self/status",
        ],
    )
    .await;
    let expected = [
        true, true, false, false, false, false, false, true, false, false, false, false, false,
        false, false, true, true,
    ];
    assert_eq!(could, expected);
}

#[tokio::test]
async fn processes_outside_cannot_be_signalled() {
    if landlock().is_none_or(|version| version < 6) {
        eprintln!("NOT TESTED: this kernel's Landlock does not know signals (before Linux 6.12)");
        return;
    }
    let folders = Folders::new();
    let own = std::process::id();
    let lines = [format!("kill -0 {own}"), "sleep 100 & kill -0 $! && kill $!".to_owned()];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let free = tries(|_| (), &lines).await;
    assert_eq!(free, [true, true]);
    let could = tries(|command| command.sandbox = Some(folders.sandbox()), &lines).await;
    assert_eq!(could, [false, true]);
}

#[tokio::test]
async fn an_account_is_taken_with_its_groups_before_the_sandbox() {
    if !geteuid().is_root() || !has_landlock() {
        eprintln!("NOT TESTED: only root can take another account");
        return;
    }
    let folders = Folders::new();
    let own = text(folders.own.path());
    let could = tries(
        |command| {
            command.account = Some(Account { uid: 65_533, gid: 65_532, groups: vec![65_531] });
            command.sandbox = Some(folders.sandbox());
            command.limits = Limits { open_files: Some(64), ..Limits::default() };
        },
        &[
            "test \"$(id -u) $(id -g)\" = '65533 65532'",
            "id -G | grep -q 65531",
            "test \"$(ulimit -n)\" = 64",
            &format!("echo > {own}/mine"),
            "cat /proc/self/environ",
            &format!("cat /proc/{}/environ", std::process::id()),
        ],
    )
    .await;
    assert_eq!(could, [true, true, true, true, true, false]);
}

#[tokio::test]
async fn a_child_that_cannot_be_confined_does_not_run() {
    let mut command = Command::new("/bin/sh").arguments(["-c", "exit 0"]);
    command.folder = Some("/".into());
    // Nobody may run anything.
    command.sandbox = Some(Sandbox::default());
    let started = Child::start(command, "nothing", &TaskTracker::new());
    assert!(started.is_err());
}
