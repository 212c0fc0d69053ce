//! What a server and all that it starts may use together.

use std::fs;

use perijove_process::{
    group::{Group, writable},
    guardian::{Status, poll},
};

use crate::guardian::Story;

fn group(memory: u64) -> Group {
    let name = format!("perijove-test-{}", std::process::id());
    Group { name, memory: Some(memory), cpu: Some(500), processes: Some(64) }
}

#[tokio::test]
async fn a_server_lives_when_memory_runs_out_and_it_is_said() {
    if writable().is_none() {
        eprintln!("NOT TESTED: no control group can be written here");
        return;
    }
    let limit = 96 << 20;
    // The one that takes too much is ended, and the server says so.
    let mut story = Story::new(
        "head -c 400M /dev/zero | tail -n 1 >/dev/null; echo ended >&3; cat /proc/self/cgroup >&3; \
         echo . >&3; exec sleep 1000",
    );
    story.spec.group = Some(group(limit));
    let (handle, mut witness) = story.start().await;
    assert_eq!(witness.line().await, "ended");
    let mut seen = String::new();
    loop {
        match witness.line().await.as_str() {
            "." => break,
            line => seen.push_str(line),
        }
    }
    assert!(seen.contains(&group(limit).name), "{seen}");
    assert_eq!(poll(&handle, &story.spec.status), Status::Running);
    let deadline = tokio::time::Instant::now() + crate::witness::LONG;
    let ran_out = loop {
        if let Some(ran_out) = story.record().out_of_memory {
            break ran_out;
        }
        assert!(tokio::time::Instant::now() < deadline, "nothing is said of it");
        // The guardian looks once a second, and tells nobody but the file.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!((ran_out.times, ran_out.limit), (1, limit));
    let limits = story.record().limits;
    for limit in ["memory", "cpu", "processes"] {
        assert!(limits[limit].starts_with("cgroup v"), "{limits:?}");
    }
    perijove_process::guardian::stop(&handle, crate::witness::LONG).await.unwrap();
    assert_eq!(story.record().out_of_memory, Some(ran_out));
    let log = fs::read_to_string(&story.spec.log).unwrap();
    assert!(log.contains("out of memory: the limit of 96 MiB was reached"), "{log}");
    // Nothing of it is left.
    let own = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let places = own.lines().filter(|line| line.contains(" - cgroup"));
    let found: Vec<_> = places
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|place| holds(place, &group(limit).name, 4))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

fn holds(folder: &str, name: &str, depth: usize) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().filter(|entry| entry.path().is_dir()).any(|entry| {
        let path = entry.path();
        path.ends_with(name) || (depth > 0 && holds(path.to_str().unwrap(), name, depth - 1))
    })
}

#[tokio::test]
async fn without_a_group_each_process_is_limited_by_itself() {
    // A name that no group can have.
    let mut story = Story::new("ulimit -d >&3; exec sleep 1000");
    story.spec.group = Some(Group { name: "no/such/group".to_owned(), ..group(96 << 20) });
    let (handle, mut witness) = story.start().await;
    assert_eq!(witness.line().await, (96 * 1024).to_string());
    let limits = story.record().limits;
    assert_eq!(limits["memory"], "each process by itself");
    assert_eq!(limits["cpu"], "nothing: there is no control group");
    perijove_process::guardian::stop(&handle, crate::witness::LONG).await.unwrap();
}
