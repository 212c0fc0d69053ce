//! Children started, watched and ended by this program.

use std::{thread, time::Duration};

use perijove_process::{
    Account, CaptureError, Child, Command, How, Input, Limits, ParentDeath, SpawnError, State,
    Usage,
};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::witness::{LONG, Witness};

fn shell(script: &str) -> Command {
    Command::new("/bin/sh").arguments(["-c", script]).variable("PATH", "/usr/bin:/bin")
}

fn start(command: Command) -> Child {
    Child::start(command, "test", &TaskTracker::new()).unwrap()
}

async fn ended(child: &Child) -> (How, Vec<String>) {
    let ending = timeout(LONG, child.ended()).await.expect("the end in time");
    (ending.how, ending.last_lines)
}

/// What a script prints, and how it ends.
async fn check(command: Command, how: How, lines: &[&str]) {
    assert_eq!(
        ended(&start(command)).await,
        (how, lines.iter().map(ToString::to_string).collect())
    );
}

#[tokio::test]
async fn a_child_gets_what_is_named_and_nothing_else() {
    let mut environment =
        Command::new("/usr/bin/env").variable("A", "1").variable("B", "two words");
    environment.folder = Some("/usr".into());
    check(environment, How::Exited(0), &["A=1", "B=two words"]).await;

    let mut folder = shell("pwd");
    folder.folder = Some("/usr".into());
    check(folder, How::Exited(0), &["/usr"]).await;

    check(shell("exit 7"), How::Exited(7), &[]).await;
    check(shell("echo err >&2"), How::Exited(0), &["err"]).await;
    check(shell("kill -9 $$"), How::Signalled(9), &[]).await;
    check(shell("echo out; printf end"), How::Exited(0), &["out", "end"]).await;

    let mut limits = shell("ulimit -n; ulimit -Hn");
    limits.limits = Limits { open_files: Some(77), ..Limits::default() };
    check(limits, How::Exited(0), &["77", "77"]).await;
}

#[tokio::test]
async fn descriptors_arrive_at_their_numbers_and_no_others() {
    let (mut five, at_five) = Witness::new(5);
    let (mut three, at_three) = Witness::new(3);
    // An open descriptor without the flag that closes it, as another library might leave it.
    let leaked = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, 0.into()).unwrap();
    let mut command = shell("echo 3 >&3; echo 5 >&5; exec 3>&- 5>&-; ls /proc/self/fd");
    command.descriptors = vec![at_five, at_three];
    let child = start(command);
    assert_eq!((three.rest().await, five.rest().await), ("3\n".to_owned(), "5\n".to_owned()));
    // The last is that of the listing itself.
    assert_eq!(
        ended(&child).await,
        (How::Exited(0), ["0", "1", "2", "3"].map(String::from).into())
    );
    drop(leaked);

    let (_, at_two) = Witness::new(2);
    let mut command = shell("true");
    command.descriptors = vec![at_two];
    let refused = Child::start(command, "test", &TaskTracker::new());
    assert!(matches!(refused, Err(SpawnError::Descriptor { number: 2 })));
}

#[tokio::test]
async fn descriptors_whose_numbers_cross_arrive() {
    let (mut first, (first_end, _)) = Witness::new(0);
    let (mut second, (second_end, _)) = Witness::new(0);
    let numbers = [&first_end, &second_end].map(std::os::fd::AsRawFd::as_raw_fd);
    let script = format!("echo first >&{}; echo second >&{}", numbers[1], numbers[0]);
    let mut command = Command::new("/bin/bash").arguments(["-c".to_owned(), script]);
    command.descriptors = vec![(first_end, numbers[1]), (second_end, numbers[0])];
    let child = start(command);
    assert_eq!(ended(&child).await.0, How::Exited(0));
    assert_eq!((first.rest().await, second.rest().await), ("first\n".into(), "second\n".into()));
}

#[tokio::test]
async fn input_ends_or_stays_open() {
    let mut closed = shell("cat");
    closed.input = Input::Closed(b"a\nb\n".to_vec());
    check(closed, How::Exited(0), &["a", "b"]).await;

    let mut large = shell("wc -c");
    large.input = Input::Closed(vec![b'x'; 1 << 20]);
    check(large, How::Exited(0), &["1048576"]).await;

    let mut open = shell("read -r line; echo got $line; cat; echo over");
    open.input = Input::Open(b"secret\n".to_vec());
    let child = start(open);
    assert_eq!(child.output().line(|line| line == "got secret").await.unwrap(), "got secret");
    assert!(matches!(child.state(), State::Running { .. }));
    child.terminate(LONG);
    let (how, lines) = ended(&child).await;
    assert_eq!((how, lines.last().unwrap().as_str()), (How::Signalled(15), "got secret"));
}

#[tokio::test]
async fn a_child_that_ignores_sigterm_is_killed_when_the_grace_is_over() {
    let child = start(shell("trap '' TERM; echo deaf; while :; do sleep 0.1; done"));
    child.output().line(|line| line == "deaf").await.unwrap();
    child.terminate(Duration::from_secs(600));
    // The shorter grace counts.
    child.terminate(Duration::from_millis(50));
    assert_eq!(ended(&child).await.0, How::Signalled(9));
    assert!(matches!(child.state(), State::Ended(_)));
}

#[tokio::test]
async fn a_session_is_killed_as_a_whole() {
    let (mut witness, descriptor) = Witness::new(3);
    let mut command = shell("trap '' TERM; sleep 1000 & sleep 1000 & echo up; wait");
    command.descriptors = vec![descriptor];
    command.is_session = true;
    let child = start(command);
    child.output().line(|line| line == "up").await.unwrap();
    child.terminate(Duration::ZERO);
    assert_eq!(ended(&child).await.0, How::Signalled(9));
    assert_eq!(witness.rest().await, "");
}

#[tokio::test]
async fn output_of_a_grandchild_does_not_hold_up_the_end() {
    let (mut witness, descriptor) = Witness::new(3);
    let mut command = shell("sleep 1000 & echo $!; exit 4");
    command.descriptors = vec![descriptor];
    let child = start(command);
    let (how, lines) = ended(&child).await;
    assert_eq!(how, How::Exited(4));
    let orphan = rustix::process::Pid::from_raw(lines[0].parse().unwrap()).unwrap();
    rustix::process::kill_process(orphan, rustix::process::Signal::KILL).unwrap();
    witness.rest().await;
}

#[tokio::test]
async fn a_child_of_which_nobody_has_a_handle_is_ended() {
    let (mut witness, descriptor) = Witness::new(3);
    let mut command = shell("echo up >&3; exec sleep 1000");
    command.descriptors = vec![descriptor];
    let child = start(command);
    assert_eq!(witness.line().await, "up");
    drop(child);
    assert_eq!(witness.rest().await, "");
}

#[test]
fn a_child_ends_with_the_thread_that_started_it() {
    for (death, expected) in
        [(ParentDeath::Kills, "up\n"), (ParentDeath::Terminates, "up\nasked\n")]
    {
        let (mut witness, descriptor) = Witness::new_outside(3);
        let mut command = shell("trap 'echo asked >&3; exit' TERM; echo up >&3; read -r line");
        command.descriptors = vec![descriptor];
        command.parent_death = death;
        command.input = Input::Open(Vec::new());
        let (say, heard) = std::sync::mpsc::channel::<()>();
        let starter = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let child = runtime.block_on(async { start(command) });
            heard.recv().unwrap();
            // The thread ends without a word to the child, as if it were killed.
            let _kept = std::mem::ManuallyDrop::new((child, runtime));
        });
        assert_eq!(witness.line(), "up");
        say.send(()).unwrap();
        starter.join().unwrap();
        assert_eq!(format!("up\n{}", witness.rest()), expected);
    }
}

#[tokio::test]
async fn an_account_is_taken_by_root_and_refused_to_others() {
    let mut command = shell("id -u; id -g; id -G; touch /root/x 2>/dev/null && echo root still");
    command.account = Some(Account { uid: 12_345, gid: 23_456, groups: vec![34_567] });
    command.folder = Some("/".into());
    let started = Child::start(command, "test", &TaskTracker::new());
    if rustix::process::geteuid().is_root() {
        let (_, lines) = ended(&started.unwrap()).await;
        assert_eq!(lines, ["12345", "23456", "23456 34567"]);
    } else {
        let Err(SpawnError::Spawn { source, .. }) = started else { panic!("{started:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
    }
}

#[tokio::test]
async fn what_cannot_be_started_says_so() {
    let fails = |command| Child::start(command, "test", &TaskTracker::new()).unwrap_err();
    assert_eq!(fails(Command::new("sh")).to_string(), "sh is not an absolute path");
    let missing = fails(Command::new("/nowhere/sh"));
    assert_eq!(missing.to_string(), "could not start /nowhere/sh");
    assert!(matches!(missing, SpawnError::Spawn { source, .. }
        if source.kind() == std::io::ErrorKind::NotFound));
}

#[tokio::test]
async fn a_short_question_is_answered_or_given_up() {
    let mut command = shell("cat; echo err >&2; exit 3");
    command.input = Input::Closed(b"said".to_vec());
    let answer = command.capture(LONG).await.unwrap();
    assert_eq!(
        (answer.how, answer.stdout.as_str(), answer.stderr.as_str()),
        (How::Exited(3), "said", "err\n")
    );

    let endless = Command::new("/usr/bin/yes").capture(Duration::from_millis(100)).await;
    assert!(matches!(endless, Err(CaptureError::Late { .. })), "{endless:?}");
}

#[tokio::test]
async fn what_a_leader_of_a_session_leaves_behind_ends_with_it() {
    let (mut witness, held) = Witness::new(3);
    let mut command = shell("sleep 1000 & echo left; exit 3");
    command.is_session = true;
    command.descriptors = vec![held];
    let child = start(command);
    assert_eq!(ended(&child).await, (How::Exited(3), vec!["left".to_owned()]));
    assert_eq!(witness.rest().await, "");
}

#[tokio::test]
async fn the_usage_of_a_family_is_known() {
    let child =
        start(shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done & wait; sleep 1000"));
    let used = |usage: Usage| usage.memory > 100_000 && usage.cpu > Duration::from_millis(20);
    let usage = timeout(LONG, async {
        loop {
            match Usage::of(child.pid()).filter(|usage| used(*usage)) {
                Some(usage) => return usage,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    });
    usage.await.expect("the usage of what was waited for");
    assert!(Usage::proportional_memory(child.pid()).unwrap() > 100_000);
    child.terminate(Duration::ZERO);
    ended(&child).await;
    assert_eq!(Usage::of(child.pid()), None);
}
