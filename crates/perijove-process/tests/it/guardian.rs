//! Guardians: what they hold, and how it ends.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use perijove_process::{
    Confinement, How,
    guardian::{self, Ended, Handle, Program, Record, Spec, StartError, Status, Why},
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::witness::{LONG, Witness};

/// The example `guardian`, which is built with the tests.
fn executable() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(|deps| deps.parent()).unwrap().join("examples/guardian");
    assert!(path.exists(), "{} is built by `cargo test` and by `cargo nextest`", path.display());
    path
}

pub(crate) struct Story {
    folder: TempDir,
    pub(crate) spec: Spec,
}

impl Story {
    /// A server that is a shell script; it may speak to a witness as descriptor 3.
    pub(crate) fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spec = Spec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: [("PATH".into(), "/usr/bin:/bin".into())].into(),
            folder: "/".into(),
            confinement: Confinement::default(),
            group: None,
            is_wrapped: false,
            input: String::new(),
            kill_after: None,
            stop_grace: LONG,
            log: folder.path().join("log"),
            status: folder.path().join("status.json"),
        };
        Self { folder, spec }
    }

    async fn try_start(&self) -> Result<(Handle, Witness), StartError> {
        let (witness, descriptor) = Witness::new(3);
        let program = Program { path: executable(), arguments: Vec::new() };
        let claim = guardian::claim(&self.spec.status).unwrap().expect("no other guardian");
        let handle = guardian::start_with(&program, &self.spec, vec![descriptor], claim).await?;
        Ok((handle, witness))
    }

    pub(crate) async fn start(&self) -> (Handle, Witness) {
        self.try_start().await.unwrap()
    }

    async fn ended(&self, handle: &Handle) -> Ended {
        timeout(LONG, guardian::ended(handle)).await.expect("the end in time").unwrap();
        match guardian::poll(handle, &self.spec.status) {
            Status::Ended(ended) => ended,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn record(&self) -> Record {
        Record::read(&self.spec.status).unwrap()
    }

    fn server(&self) -> Pid {
        Pid::from_raw(self.record().server.unwrap()).unwrap()
    }
}

fn is_one_of_ours(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_server_gets_what_the_specification_says() {
    let mut story =
        Story::new("pwd >&3; env | grep -v '^_=\\|^PWD=\\|^SHLVL=' | sort >&3; cat >&3");
    story.spec.environment.insert("GREETING".into(), "good day".into());
    story.spec.folder = "/usr".into();
    story.spec.input = "secret\n".repeat(30_000);
    let (handle, mut witness) = story.start().await;
    for expected in ["/usr", "GREETING=good day", "PATH=/usr/bin:/bin"] {
        assert_eq!(witness.line().await, expected);
    }
    assert_eq!(witness.rest().await, story.spec.input);
    story.ended(&handle).await;
}

#[tokio::test]
async fn the_end_of_a_server_is_recorded() {
    for (script, how) in [
        ("echo on; echo the brink >&2; exit 3", How::Exited(3)),
        ("echo on; echo the brink; kill -KILL $$", How::Signalled(9)),
    ] {
        let story = Story::new(script);
        let (handle, _witness) = story.start().await;
        let ended = story.ended(&handle).await;
        assert_eq!((ended.why, ended.how), (Why::Itself, Some(how)));
        assert_eq!(ended.last_lines, ["on", "the brink"]);
        assert!(ended.at >= handle.started);
        assert_eq!(fs::read_to_string(&story.spec.log).unwrap(), "on\nthe brink\n");
        assert_eq!(guardian::last_lines(&story.spec.log).unwrap(), ["on", "the brink"]);
        for file in [&story.spec.log, &story.spec.status] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}

#[tokio::test]
async fn a_guardian_is_nobodys_child_and_tells_who_it_is() {
    let story = Story::new("echo up >&3; exec sleep 1000");
    let (handle, mut witness) = story.start().await;
    assert_eq!(witness.line().await, "up");
    assert_eq!(guardian::poll(&handle, &story.spec.status), Status::Running);
    let record = story.record();
    assert_eq!((&record.guardian, record.started_at), (&handle.process, handle.started));
    assert_eq!(guardian::adopt(&story.spec.status).as_ref(), Some(&handle));

    let stat = |pid| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let field = |pid, number: usize| {
        let stat = stat(pid);
        let (_, rest) = stat.rsplit_once(')').unwrap();
        rest.split_ascii_whitespace().nth(number - 3).unwrap().parse::<i32>().unwrap()
    };
    let (guardian_pid, server) = (handle.process.pid, record.server.unwrap());
    assert_ne!(field(guardian_pid, 4), std::process::id().cast_signed());
    assert_ne!(field(guardian_pid, 6), field(std::process::id().cast_signed(), 6));
    // The server leads a session of its own.
    assert_eq!((field(server, 4), field(server, 6)), (guardian_pid, server));

    guardian::stop(&handle, LONG).await.unwrap();
    assert_eq!(story.ended(&handle).await.why, Why::Stopped);
    assert_eq!(guardian::adopt(&story.spec.status), None);
    // Stopping what is stopped is no mistake.
    guardian::stop(&handle, LONG).await.unwrap();
}

#[tokio::test]
async fn a_guardian_survives_its_starter() {
    let mut story = Story::new("trap 'exit 5' USR1; echo up; while :; do sleep 0.05; done");
    story.spec.stop_grace = Duration::from_secs(1);
    let mut starter = Command::new(executable())
        .arg(serde_json::to_string(&story.spec).unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(starter.stdout.as_mut().unwrap()),
        &mut said,
    )
    .unwrap();
    let handle: Handle = serde_json::from_str(&said).unwrap();
    starter.kill().unwrap();
    starter.wait().unwrap();
    assert_eq!(guardian::poll(&handle, &story.spec.status), Status::Running);
    kill_process(story.server(), Signal::USR1).unwrap();
    // What happens now is kept until somebody asks.
    let ended = story.ended(&handle).await;
    assert_eq!((ended.why, ended.last_lines), (Why::Itself, vec!["up".to_owned()]));
}

#[tokio::test]
async fn time_is_up_whatever_happens() {
    let mut story = Story::new("echo up >&3; exec sleep 1000");
    story.spec.kill_after = Some(Duration::from_millis(300));
    let (handle, mut witness) = story.start().await;
    assert_eq!(story.record().kill_at, Some(handle.started));
    let ended = story.ended(&handle).await;
    assert_eq!((ended.why, ended.how), (Why::TimedOut, Some(How::Signalled(15))));
    assert_eq!(witness.rest().await.replace("up\n", ""), "");
}

#[tokio::test]
async fn nothing_that_a_server_started_outlives_it() {
    // Sessions of their own, parents that are gone, deaf to SIGTERM.
    let script = "
        deaf() { trap '' TERM HUP; echo deaf >&3; while :; do sleep 0.1; done; }
        (deaf &) & wait $!
        (setsid sh -c '(sleep 1000 &)'; setsid sleep 1000 &) & wait $!
        setsid sleep 1000 &
        echo up >&3
        ";
    for last in ["exit 6", "exec sleep 1000"] {
        let story = Story::new(&format!("{script}{last}"));
        let (handle, mut witness) = story.start().await;
        let mut said = [witness.line().await, witness.line().await];
        said.sort();
        assert_eq!(said, ["deaf", "up"]);
        if last != "exit 6" {
            guardian::stop(&handle, LONG).await.unwrap();
        }
        let ended = story.ended(&handle).await;
        let expected = match last {
            "exit 6" => (Why::Itself, Some(How::Exited(6))),
            _ => (Why::Stopped, Some(How::Signalled(15))),
        };
        assert_eq!((ended.why, ended.how), expected);
        assert_eq!(witness.rest().await, "");
    }
}

#[tokio::test]
async fn a_server_that_ignores_sigterm_is_killed() {
    let deaf = "trap '' TERM; echo up >&3; while :; do sleep 0.1; done";
    // When its grace is over, and when the one who stops it has no more patience.
    for (grace, within) in [(Duration::from_millis(100), LONG), (LONG, Duration::from_millis(100))]
    {
        let mut story = Story::new(deaf);
        story.spec.stop_grace = grace;
        let (handle, mut witness) = story.start().await;
        assert_eq!(witness.line().await, "up");
        guardian::stop(&handle, within).await.unwrap();
        let ended = story.ended(&handle).await;
        assert_eq!((ended.why, ended.how), (Why::Stopped, Some(How::Signalled(9))));
        assert_eq!(witness.rest().await, "");
    }
}

#[tokio::test]
async fn a_server_that_prints_without_end_is_logged_in_bounds_and_stopped() {
    let story = Story::new("echo up >&3; exec yes a line of some length, again and again");
    let (handle, mut witness) = story.start().await;
    assert_eq!(witness.line().await, "up");
    let oldest = story.folder.path().join("log.2");
    timeout(LONG, async {
        while !oldest.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("two rotations in time");
    guardian::stop(&handle, LONG).await.unwrap();
    let ended = story.ended(&handle).await;
    assert_eq!((ended.why, ended.last_lines.len()), (Why::Stopped, 50));
    for name in ["log", "log.1", "log.2"] {
        let file = fs::metadata(story.folder.path().join(name)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert!(file.len() <= (5 << 20) + 4096, "{name}: {}", file.len());
    }
    assert!(!story.folder.path().join("log.3").exists());
}

#[tokio::test]
async fn a_reused_id_is_not_mistaken() {
    let story = Story::new("echo up >&3; exec sleep 1000");
    let (handle, mut witness) = story.start().await;
    assert_eq!(witness.line().await, "up");
    let mut another = handle.clone();
    another.process.start_time += 1;
    assert_eq!(guardian::poll(&another, &story.spec.status), Status::Gone);
    guardian::stop(&another, LONG).await.unwrap();
    guardian::ended(&another).await.unwrap();
    assert_eq!(guardian::poll(&handle, &story.spec.status), Status::Running);
    guardian::stop(&handle, LONG).await.unwrap();
    story.ended(&handle).await;
    // Nor is the record of another one.
    assert_eq!(guardian::poll(&another, &story.spec.status), Status::Gone);
}

#[tokio::test]
async fn a_guardian_that_is_killed_takes_its_server_along() {
    let story = Story::new("echo up >&3; exec sleep 1000");
    let (handle, mut witness) = story.start().await;
    assert_eq!(witness.line().await, "up");
    kill_process(Pid::from_raw(handle.process.pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(witness.rest().await, "");
    timeout(LONG, guardian::ended(&handle)).await.unwrap().unwrap();
    assert_eq!(guardian::poll(&handle, &story.spec.status), Status::Gone);
}

#[tokio::test]
async fn a_server_that_cannot_be_started_is_refused_with_the_reason() {
    type Change = fn(&mut Spec);
    let cases: [(Change, &str); 4] = [
        (|spec| spec.program = "/nowhere/sh".into(), "could not start /nowhere/sh: No such file"),
        (|spec| spec.folder = "/nowhere".into(), "could not start /bin/sh: No such file"),
        (|spec| spec.log = "/nowhere/log".into(), "could not open the log /nowhere/log: No such"),
        (|spec| fs::create_dir(&spec.status).unwrap(), "could not write the status /"),
    ];
    for (change, expected) in cases {
        let mut story = Story::new("echo never >&3");
        change(&mut story.spec);
        let Err(StartError::Refused { reason }) = story.try_start().await else {
            panic!("{expected}");
        };
        assert!(reason.starts_with(expected), "{reason}");
    }
}

#[tokio::test]
async fn a_guardian_takes_little_memory() {
    let story = Story::new("echo up >&3; exec sleep 1000");
    let (handle, mut witness) = story.start().await;
    assert_eq!(witness.line().await, "up");
    let pid = handle.process.pid;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let kilobytes = |name: &str| -> u64 {
        let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    };
    println!(
        "guardian: RSS {} kB, PSS {} kB, of its own {} kB",
        kilobytes("Rss:"),
        kilobytes("Pss:"),
        kilobytes("Anonymous:")
    );
    assert!(kilobytes("Anonymous:") < 1024);
    assert_eq!(fs::read_dir(format!("/proc/{pid}/task")).unwrap().count(), 1);
    assert!(is_one_of_ours(pid));
    guardian::stop(&handle, LONG).await.unwrap();
    assert!(!is_one_of_ours(pid));
}

#[tokio::test]
async fn there_is_one_guardian_at_a_time() {
    let story = Story::new("echo ready >&3; exec sleep 1000");
    let (handle, mut witness) = story.start().await;
    let claim = || guardian::claim(&story.spec.status).unwrap();
    assert!(claim().is_none());
    guardian::stop(&handle, Duration::ZERO).await.unwrap();
    witness.rest().await;
    assert!(claim().is_some());
    // What a server leaves behind that its guardian cannot end any more has no part in it.
    let (handle, _witness) = story.start().await;
    kill_process(Pid::from_raw(handle.process.pid).unwrap(), Signal::KILL).unwrap();
    timeout(LONG, guardian::ended(&handle)).await.expect("the end in time").unwrap();
    assert!(claim().is_some());
}
