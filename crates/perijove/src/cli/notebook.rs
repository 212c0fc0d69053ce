//! `perijove notebook …`.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ConfigArguments, Running, table};
use crate::{Failure, Kind, control::client::segment, terminal::harmless};

mod fg;
mod logs;

/// Notebooks of the running one
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List everyone's notebooks
    List(ListArguments),
    /// Tell about one notebook
    Status(OneArguments),
    /// Start a user's notebook, with nothing of the site in it
    Start(OneArguments),
    /// Stop a notebook, and start what it was
    Restart(OneArguments),
    /// Start a notebook and show what its server prints; Ctrl-C ends it
    Fg(OneArguments),
    /// Stop a notebook with its kernels
    Stop(StopArguments),
    /// Print the last lines of a notebook's log
    Logs(logs::Arguments),
}

#[derive(Args, Debug)]
pub(super) struct ListArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct OneArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Whose, and which of theirs if it is a named one
    #[arg(value_name = "USER[/NAME]")]
    notebook: String,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct StopArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Whose, and which of theirs if it is a named one
    #[arg(value_name = "USER[/NAME]", required_unless_present = "all")]
    notebook: Option<String>,
    /// Everyone's
    #[arg(long, conflicts_with = "notebook")]
    all: bool,
}

pub(super) fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::List(arguments) => list(arguments),
        Command::Status(arguments) => status(arguments),
        Command::Start(arguments) => start(arguments),
        Command::Restart(arguments) => restart(arguments),
        Command::Fg(arguments) => fg::run(arguments),
        Command::Stop(arguments) => stop(arguments),
        Command::Logs(arguments) => logs::run(arguments),
    }
}

fn list(arguments: ListArguments) -> Result<ExitCode, Failure> {
    let all = entries(&Running::find(arguments.config)?)?;
    if arguments.json {
        return super::print(&format!("{:#}\n", Value::Array(all)));
    }
    super::print(&for_people(&all, now()))
}

fn entries(running: &Running) -> Result<Vec<Value>, Failure> {
    match running.ask("GET", "/notebooks", None)? {
        Value::Array(all) => Ok(all),
        other => Ok(other.get("notebooks").and_then(Value::as_array).cloned().unwrap_or_default()),
    }
}

fn status(arguments: OneArguments) -> Result<ExitCode, Failure> {
    let running = Running::find(arguments.config)?;
    let entry = running.ask("GET", &find(&running, &arguments.notebook)?, None)?;
    tell(&entry, arguments.json)
}

fn tell(entry: &Value, as_json: bool) -> Result<ExitCode, Failure> {
    if as_json {
        return super::print(&format!("{entry:#}\n"));
    }
    let table = for_people(std::slice::from_ref(entry), now());
    let reason = entry.get("reason").and_then(Value::as_str);
    let ended = reason.map(|reason| format!("{reason}\n{}\n", last_lines(entry)));
    let ended = ended.as_deref().map(harmless).unwrap_or_default();
    super::print(&format!("{table}{ended}{}{}", places(entry), bounds(entry)))
}

/// Where its files lie.
fn places(entry: &Value) -> String {
    ["folder", "startup", "log"]
        .iter()
        .filter_map(|key| Some(format!("{key}: {}\n", entry.get(key)?.as_str()?)))
        .collect()
}

/// What keeps its limits, and that memory ran out.
fn bounds(entry: &Value) -> String {
    let limits = entry.get("limits").and_then(Value::as_object).into_iter().flatten();
    let mut lines: Vec<String> = limits
        .map(|(limit, keeper)| {
            format!("limit of {limit}: kept by {}\n", keeper.as_str().unwrap_or("-"))
        })
        .collect();
    let number = |key| entry.pointer(&format!("/out_of_memory/{key}")).and_then(Value::as_u64);
    if let (Some(times), Some(at), Some(limit)) = (number("times"), number("at"), number("limit")) {
        lines.push(format!(
            "out of memory: processes ended {times} times, last {} ago, at the limit of {} MiB\n",
            table::age(now().saturating_sub(at)),
            limit >> 20,
        ));
    }
    lines.concat()
}

fn start(arguments: OneArguments) -> Result<ExitCode, Failure> {
    let running = Running::find(arguments.config.clone())?;
    let address = address(&arguments.notebook);
    running.ask("POST", &address, Some(&json!({})))?;
    until_ready(&running, &address, &arguments)
}

fn restart(arguments: OneArguments) -> Result<ExitCode, Failure> {
    let running = Running::find(arguments.config.clone())?;
    let address = find(&running, &arguments.notebook)?;
    if is_alive(&&running.ask("GET", &address, None)?) {
        stop_one(&running, &address)?;
    }
    running.ask("POST", &address, Some(&json!({"again": true})))?;
    until_ready(&running, &address, &arguments)
}

/// Waits until a notebook that starts has come up, and tells of it.
fn until_ready(
    running: &Running,
    address: &str,
    arguments: &OneArguments,
) -> Result<ExitCode, Failure> {
    // The program gives up by itself when a notebook takes too long; this is for the case that it
    // does not even do that.
    let deadline = Instant::now() + super::PATIENCE;
    loop {
        let entry = running.ask("GET", address, None)?;
        match state(&entry) {
            "starting" if Instant::now() < deadline => {
                thread::sleep(PAUSE);
            }
            "ready" | "asking" => return tell(&entry, arguments.json),
            _ => return Err(not_started(&arguments.notebook, &entry)),
        }
    }
}

fn not_started(notebook: &str, entry: &Value) -> Failure {
    let what = format!("the notebook of {notebook} did not start\n{}", last_lines(entry));
    Failure::new(Kind::Unavailable, what.trim_end().to_owned())
        .hint(format!("`perijove notebook logs {notebook}` tells more"))
}

/// The last lines of its log, as one text.
fn last_lines(entry: &Value) -> String {
    match entry.get("last_lines") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(lines)) => {
            lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

fn stop(arguments: StopArguments) -> Result<ExitCode, Failure> {
    let running = Running::find(arguments.config)?;
    let notebooks = match arguments.notebook {
        Some(notebook) => vec![find(&running, &notebook)?],
        None => entries(&running)?.iter().filter(is_alive).filter_map(address_of).collect(),
    };
    // One that cannot be stopped must not keep the others alive.
    let outcomes: Vec<_> = notebooks.iter().map(|address| stop_one(&running, address)).collect();
    let count = outcomes.len();
    outcomes.into_iter().collect::<Result<Vec<()>, Failure>>()?;
    match count {
        1 => super::print("stopped\n"),
        count => super::print(&format!("stopped {count} notebooks\n")),
    }
}

fn stop_one(running: &Running, address: &str) -> Result<(), Failure> {
    let mut entry = running.ask("DELETE", address, None)?;
    let deadline = Instant::now() + LONGEST_STOP;
    while state(&entry) == "stopping" {
        if Instant::now() > deadline {
            let what = format!("it still runs after {} seconds", LONGEST_STOP.as_secs());
            return Err(Failure::new(Kind::Busy, what));
        }
        thread::sleep(PAUSE);
        entry = running.ask("GET", address, None)?;
    }
    Ok(())
}

/// How long the end of a notebook is waited for beyond what the program waits itself.
const LONGEST_STOP: Duration = Duration::from_secs(60);

/// Between two looks at a notebook that changes.
const PAUSE: Duration = Duration::from_millis(100);

fn is_alive(entry: &&Value) -> bool {
    matches!(state(entry), "starting" | "ready" | "stopping")
}

fn state(entry: &Value) -> &str {
    entry.get("state").and_then(Value::as_str).unwrap_or_default()
}

/// The path on the control socket of a notebook that is known by this name, else of one that could
/// be: names of users may hold slashes too.
fn find(running: &Running, notebook: &str) -> Result<String, Failure> {
    let is_meant = |entry: &&Value| title(entry) == notebook;
    let known = entries(running)?.iter().find(is_meant).and_then(address_of);
    Ok(known.unwrap_or_else(|| address(notebook)))
}

/// `ada`, or `ada/work`.
fn title(entry: &Value) -> String {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("name") {
        "" => text("user").to_owned(),
        name => format!("{}/{name}", text("user")),
    }
}

/// `ada/work` → its path on the control socket.
fn address(notebook: &str) -> String {
    match notebook.split_once('/') {
        Some((user, name)) if !name.is_empty() => {
            format!("/notebooks/{}/{}", segment(user), segment(name))
        }
        _ => format!("/notebooks/{}", segment(notebook.trim_end_matches('/'))),
    }
}

fn address_of(entry: &Value) -> Option<String> {
    let user = entry.get("user")?.as_str()?;
    match entry.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        Some(name) => Some(format!("/notebooks/{}/{}", segment(user), segment(name))),
        None => Some(format!("/notebooks/{}", segment(user))),
    }
}

fn for_people(entries: &[Value], now: u64) -> String {
    let text = |entry: &Value, key: &str| match entry.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "-".to_owned(),
    };
    let row = |entry: &Value| {
        let moment = |key: &str| entry.get(key).and_then(Value::as_u64);
        let started = moment("started");
        let ends = [moment("idle_at"), moment("kill_at")].into_iter().flatten().min();
        let is_busy = entry.get("busy").and_then(Value::as_bool) == Some(true);
        let used = moment("last_action").map(|at| table::age(now.saturating_sub(at)) + " ago");
        let none = || "-".to_owned();
        [
            title(entry),
            text(entry, "state"),
            started.map_or_else(|| "-".to_owned(), |at| table::age(now.saturating_sub(at))),
            if is_busy { "computing".to_owned() } else { used.unwrap_or_else(none) },
            ends.map_or_else(none, |at| format!("in {}", table::age(at.saturating_sub(now)))),
            text(entry, "pid"),
            match entry.get("warm").and_then(Value::as_bool) {
                Some(true) => "warm".to_owned(),
                Some(false) => "cold".to_owned(),
                None => "-".to_owned(),
            },
            text(entry, "url"),
        ]
    };
    let rows: Vec<[String; 8]> = entries.iter().map(row).collect();
    let heading = ["NOTEBOOK", "STATE", "AGE", "USED", "ENDS", "PROCESS", "START", "ADDRESS"];
    table::lay_out(heading, &rows)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{address, bounds, for_people, places};

    #[test]
    fn what_keeps_limits_is_told() {
        assert_eq!(bounds(&json!({"limits": {}, "out_of_memory": null})), "");
        let entry = json!({
            "limits": {"cpu": "cgroup v1", "memory": "each process by itself"},
            "out_of_memory": {"times": 2, "at": super::now(), "limit": 512 << 20},
        });
        let told = "limit of cpu: kept by cgroup v1\n\
                    limit of memory: kept by each process by itself\n\
                    out of memory: processes ended 2 times, last ";
        let text = bounds(&entry);
        assert!(text.starts_with(told) && text.ends_with("at the limit of 512 MiB\n"), "{text}");
    }

    #[test]
    fn notebooks_have_addresses() {
        let check = |notebook, expected: &str| assert_eq!(address(notebook), expected);
        check("ada", "/notebooks/ada");
        check("ada/", "/notebooks/ada");
        check("ada/work", "/notebooks/ada/work");
        check("ada@example.com", "/notebooks/ada%40example%2Ecom");
        check("..", "/notebooks/%2E%2E");
    }

    #[test]
    fn a_notebooks_files_are_named() {
        let entry = json!({"folder": "/nb/ada", "startup": null, "log": "/state/log"});
        assert_eq!(places(&entry), "folder: /nb/ada\nlog: /state/log\n");
    }

    #[test]
    fn a_list_reads_well() {
        let entries = [
            json!({"user": "ada", "name": "", "state": "ready", "started": 100, "last_action": 390, "busy": false, "idle_at": 3990, "pid": 7, "warm": true, "url": "/notebook/ada/"}),
            json!({"user": "秀樹", "name": "work", "state": "failed", "started": null, "pid": null, "url": null}),
        ];
        insta::assert_snapshot!(for_people(&entries, 400));
    }
}
