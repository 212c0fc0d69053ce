//! Many who come at once to the real Jupyter, and what one of them can know of another.

use std::process::Command;

use futures_util::future::join_all;
use serde_json::json;

use crate::{
    jupyter::jupyter_python,
    kernel::Kernel,
    warm::{ready_world, starts},
    world::World,
};

#[tokio::test]
async fn a_dozen_users_who_come_at_once_all_compute() {
    let world = ready_world(json!({"max-notebooks": 12}), jupyter_python()).await;
    let come = |number: u32| {
        let world = &world;
        async move {
            let user = format!("user{number}");
            let entry = world.launch(&user, json!({})).await;
            assert_eq!(entry["warm"], true, "{entry}");
            let mut kernel = Kernel::start(world, &user).await;
            assert_eq!(kernel.run(&format!("{number} * 7")).await, (number * 7).to_string());
        }
    };
    join_all((0..12).map(come)).await;
    assert_eq!(starts(&world, |_| true).await["started"], 12);
}

/// Prints which of these processes have the text in memory that they can write to; the text comes
/// reversed, so that it does not stand in this one's own arguments.
const SEARCH: &str = r#"
import sys
text = sys.argv[1][::-1].encode()
for pid in sys.argv[2:]:
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            place, mode, *_ = line.split()
            begin, end = (int(number, 16) for number in place.split("-"))
            if mode.startswith("rw"):
                memory.seek(begin)
                if text in memory.read(end - begin):
                    print(pid)
                    break
"#;

/// Those of the processes that have the text in their memory.
fn who_knows(text: &str, processes: &[i64]) -> Vec<i64> {
    let mut command = Command::new(jupyter_python());
    command.args(["-c", SEARCH, &text.chars().rev().collect::<String>()]);
    let output = command.args(processes.iter().map(i64::to_string)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.lines().map(|line| line.parse().unwrap()).collect()
}

/// What runs below a guardian: the server, the zygote of its kernels, its kernels.
fn below(guardian: i64) -> Vec<i64> {
    let mut found = vec![guardian];
    let mut at = 0;
    while let Some(process) = found.get(at) {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
        let children =
            tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        let children: Vec<i64> = children
            .flat_map(|list| {
                list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()
            })
            .collect();
        found.extend(children);
        at += 1;
    }
    found.split_off(1)
}

async fn start(world: &World, user: &str, secret: &str) -> (Kernel, Vec<i64>) {
    let entry = world.launch(user, json!({"environment": {"SECRET": secret}})).await;
    assert_eq!(entry["warm"], true, "{entry}");
    let mut kernel = Kernel::start(world, user).await;
    assert_eq!(kernel.run("import os; len(os.environ['SECRET'])").await, "24");
    let processes = below(entry["pid"].as_i64().unwrap());
    assert_eq!(processes.len(), 3, "server, kernel, and what kernels are forked from");
    (kernel, processes)
}

#[tokio::test]
async fn nothing_of_one_user_stands_in_anothers_memory() {
    let world = ready_world(json!({}), jupyter_python()).await;
    let secrets = ["canary-of-ada-0123456789", "canary-of-bob-9876543210"];
    let (_ada, adas) = start(&world, "ada", secrets[0]).await;
    let (_bob, bobs) = start(&world, "bob", secrets[1]).await;
    let zygote = starts(&world, |_| true).await["pid"].as_i64().unwrap();
    let all: Vec<i64> = adas.iter().chain(&bobs).copied().chain([zygote]).collect();
    assert_eq!(who_knows(secrets[0], &all), adas);
    assert_eq!(who_knows(secrets[1], &all), bobs);
}
