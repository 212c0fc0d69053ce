//! Deploys under load: what visitors notice of reloads, of workers that are killed, and of versions
//! that do not work.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::site::{Plan, Site, text, until};

mod broken;
mod crowd;

use crowd::Crowd;

/// Reloads, and kills of workers, while visitors are there.
const ROUNDS: usize = 50;
const WORKERS: usize = 2;
const THREADS: usize = 4;

/// A version of the site. Python takes a file of the same length and second for the one it knows.
fn version(number: usize) -> String {
    let comment = "#".repeat(number + 1);
    let known = include_str!("apps/deploys.py");
    known.replace("VERSION = \"0\"", &format!("VERSION = \"{number}\"  {comment}"))
}

async fn site(crowd: &Crowd) -> Site {
    Plan::new()
        .wsgi("deploys")
        .set(&format!("site.workers = {WORKERS}"))
        .set(&format!("site.threads = {THREADS}"))
        .set("site.health = '/health'")
        .set("site.start-time = '30s'")
        .set("site.probation = '100ms'")
        .set(&format!(
            "route = [{{ path = '/ws/', upstream = 'http://{}' }}, \
             {{ path = '/chat/', app = 'chat:application', workers = 1 }}]",
            crowd.echo
        ))
        .file("chat.py", include_str!("apps/chat.py"))
        // A websocket of an old version may stay for as long as a request.
        .set("site.websocket-time = '3s'")
        .set("limits.drain-time = '10s'")
        .set("log.access = 'off'")
        .start()
        .await
}

#[tokio::test]
async fn only_requests_inside_a_killed_worker_are_lost() {
    let crowd = Crowd::new().await;
    let site = site(&crowd).await;
    let visitors = Crowd::visit(site.address());
    let begun = Instant::now();
    let mut killed = BTreeSet::new();
    let mut slowest = 0.0_f64;
    for round in 1..=ROUNDS {
        site.write("app.py", version(round));
        let reload = Instant::now();
        let output = site.begin_command(&["reload"]).await.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        slowest = slowest.max(reload.elapsed().as_secs_f64());
        visitors.new_version();
        site.get("/version").await.shows(&round.to_string());
        let victim = *serving(&site).last().unwrap();
        kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL).unwrap();
        killed.insert(victim);
    }
    let seen = visitors.leave().await;
    let entries = entries(&site);
    println!(
        "{} requests in {:.0} s, {ROUNDS} reloads (the slowest took {slowest:.1} s), {ROUNDS} kills, \
         {} requests lost; {} echoes on websockets, {} of them by versions that were replaced",
        seen.answered,
        begun.elapsed().as_secs_f64(),
        seen.failed.len(),
        seen.echoes,
        seen.outlived
    );
    assert!(seen.answered > 1000, "{} were answered", seen.answered);
    assert!(seen.echoes > 100, "{} echoes", seen.echoes);
    // Those at workers of ours: heard after their version was replaced, and then told to go.
    assert!(seen.outlived > 100, "{} echoes of replaced versions", seen.outlived);
    assert!(seen.farewells > 10, "{} websockets were ended", seen.farewells);
    let mut lost: BTreeMap<i32, usize> = BTreeMap::new();
    for (id, why) in &seen.failed {
        let inside = entries.get(id).and_then(|pids| pids.last());
        let inside = inside.unwrap_or_else(|| panic!("{id} was in no worker: {why}"));
        assert!(killed.contains(inside), "{id} was in {inside}, which was not killed: {why}");
        *lost.entry(*inside).or_default() += 1;
    }
    for (pid, count) in lost {
        assert!(count <= THREADS, "{count} requests were lost in {pid}");
    }
}

/// A configuration with another line, in place of the one for the same key.
fn with(configuration: &str, line: &str) -> String {
    let key = |line: &str| line.split('=').next().unwrap().trim().to_owned();
    let others = configuration.lines().filter(|known| key(known) != key(line));
    others.chain([line]).map(|line| format!("{line}\n")).collect()
}

/// An environment with nothing in it.
fn bare_environment(site: &Site) {
    let mut venv = std::process::Command::new("python3");
    let made = venv.args(["-m", "venv", "--without-pip", "bare"]).current_dir(site.folder());
    assert!(made.status().unwrap().success());
}

/// The workers that serve.
fn serving(site: &Site) -> Vec<i32> {
    let status = site.status();
    let workers = status["application"]["workers"].as_array().unwrap();
    let serving = workers.iter().filter(|worker| worker["phase"] == "serving");
    serving.map(|worker| i32::try_from(worker["pid"].as_i64().unwrap()).unwrap()).collect()
}

/// In which processes each request was, in order.
fn entries(site: &Site) -> BTreeMap<String, Vec<i32>> {
    let entries = std::fs::read_to_string(site.folder().join("entries")).unwrap();
    let mut found: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for line in entries.lines() {
        let (id, pid) = line.split_once(' ').unwrap();
        found.entry(id.to_owned()).or_default().push(pid.parse().unwrap());
    }
    found
}

#[tokio::test]
async fn broken_versions_change_nothing_for_visitors() {
    let crowd = Crowd::new().await;
    let site = site(&crowd).await;
    until("all serve", || serving(&site).len() == WORKERS).await;
    bare_environment(&site);
    let before = serving(&site);
    let visitors = Crowd::visit(site.address());
    let configuration = std::fs::read_to_string(site.folder().join("perijove.toml")).unwrap();
    let mut failures = 0;
    for (number, broken) in broken::all().into_iter().enumerate() {
        site.write("app.py", version(100 + number) + broken.code);
        site.write("perijove.toml", with(&configuration, broken.setting));
        let output = site.begin_command(&["reload"]).await.unwrap();
        let told = text(&output.stderr);
        assert!(!output.status.success(), "{broken:?}: {told}");
        assert!(told.contains(broken.told), "{broken:?}: {told}");
        assert!(told.contains("the old version still serves"), "{broken:?}: {told}");
        site.get("/version").await.shows("0");
        failures += 1;
        let status = site.status();
        let last = &status["reloads"]["last-failure"];
        assert_eq!(status["reloads"]["failed"], failures);
        let lines = format!("{}\n{}", last["why"], last["last-lines"]);
        assert!(lines.contains(broken.told), "{broken:?}: {lines}");
    }
    until("nothing is left of them", || serving(&site) == before).await;
    let seen = visitors.leave().await;
    assert!(seen.failed.is_empty(), "{:?}", seen.failed);
    assert!(seen.answered > 100 && seen.echoes > 10, "{} {}", seen.answered, seen.echoes);
    // The last failure is still told after a success.
    site.write("app.py", version(500));
    site.write("perijove.toml", configuration);
    site.tell(&["reload"]);
    site.get("/version").await.shows("500");
    assert!(site.status()["reloads"]["last-failure"]["at"].is_u64());
    assert!(site.tell(&["status"]).contains("last failure"));
}
