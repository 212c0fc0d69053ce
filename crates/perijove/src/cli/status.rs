//! `perijove status`.

mod stacks;
mod watch;

use std::{
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use serde_json::Value;

use super::{ConfigArguments, table};
use crate::{Failure, terminal::harmless};

/// Tell how the running one is doing
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// Print it again every second, until `q` or Ctrl-C
    #[arg(long, short, conflicts_with = "json")]
    watch: bool,
    /// Print where the code of each native worker is: the stacks of its threads and tasks
    #[arg(long, conflicts_with = "watch")]
    stacks: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let running = super::Running::find(arguments.config)?;
    if arguments.watch {
        return watch::until_enough(|| Ok(for_people(&ask(&running)?)));
    }
    if arguments.stacks {
        let told = running.ask("GET", "/stacks", None)?;
        return super::print(&show(&told, arguments.json, stacks::for_people));
    }
    super::print(&show(&ask(&running)?, arguments.json, for_people))
}

fn show(told: &Value, is_for_programs: bool, for_people: impl Fn(&Value) -> String) -> String {
    if is_for_programs { format!("{told:#}\n") } else { for_people(told) }
}

fn ask(running: &super::Running) -> Result<Value, Failure> {
    let mut status = running.ask("GET", "/status", None)?;
    // A site without notebooks has no list of them.
    let notebooks = running.ask("GET", "/notebooks", None).unwrap_or_default();
    if let (Some(status), Some(all)) = (status.as_object_mut(), notebooks.as_array()) {
        status.insert("notebooks".to_owned(), Value::from(all.len()));
        let starts = running.ask("GET", "/starts", None).unwrap_or_default();
        status.insert("starts".to_owned(), starts);
    }
    Ok(status)
}

fn for_people(status: &Value) -> String {
    let text = |key: &str| match status.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let list = |key: &str| {
        let items = status.get(key).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
    };
    let number = |key: &str| status.get(key).and_then(Value::as_u64).unwrap_or_default();
    let age = table::age(number("running"));
    let mut lines = vec![
        format!("perijove {}, process {}, running for {age}", text("version"), text("process")),
        format!("listens on     {}", list("addresses")),
        format!("configuration  {}", text("configuration")),
        format!("state folder   {}", text("state-folder")),
        format!("requests       {} under way, {} waiting", number("under-way"), number("waiting")),
    ];
    if status.get("notebooks").is_some_and(Value::is_number) {
        lines.push(format!("notebooks      {}", number("notebooks")));
    }
    lines.extend(status.get("starts").and_then(starts));
    if status.get("upstream").is_some_and(Value::is_string) {
        lines.push(format!("site           {}", text("upstream")));
    }
    lines.extend(status.pointer("/reloads/last-failure").and_then(failed_reload));
    let applications = status.get("applications").and_then(Value::as_array);
    lines.extend(applications.into_iter().flatten().map(application_for_people));
    let upstreams = status.get("upstreams").and_then(Value::as_array);
    lines.extend(upstreams.filter(|all| !all.is_empty()).map(|all| upstreams_for_people(all)));
    let services = status.get("services").and_then(Value::as_array);
    lines.extend(
        services.filter(|services| !services.is_empty()).map(|all| services_for_people(all)),
    );
    lines.join("\n") + "\n"
}

/// From what notebooks are forked.
fn starts(starts: &Value) -> Option<String> {
    let number = |key: &str| starts.get(key).and_then(Value::as_u64).unwrap_or_default();
    let how = match starts.get("state")?.as_str()? {
        "ready" => format!(
            "warm, {} so far, from process {} ({}, ready after {:.1} s)",
            number("started"),
            number("pid"),
            memory(starts),
            Duration::from_millis(number("milliseconds")).as_secs_f64()
        ),
        "starting" => "warm, as soon as that is prepared".to_owned(),
        "failed" => format!("cold: {}", harmless(starts.get("reason")?.as_str()?)),
        _ => "cold".to_owned(),
    };
    Some(format!("starts         {how}"))
}

/// Why the last reload that failed did.
fn failed_reload(failure: &Value) -> Option<String> {
    let at = failure.get("at")?.as_u64()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(at, |since| since.as_secs());
    let why = harmless(failure.get("why")?.as_str()?).into_owned();
    let age = table::age(now.saturating_sub(at));
    let lines = failure.get("last-lines").and_then(Value::as_array);
    let lines = lines.into_iter().flatten().filter_map(Value::as_str);
    let mut told = vec![format!("last failure   {age} ago, a reload: {why}")];
    told.extend(lines.map(|line| format!("  | {}", harmless(line))));
    Some(told.join("\n"))
}

fn application_for_people(application: &Value) -> String {
    let workers = application.get("workers").and_then(Value::as_array);
    let row = |worker: &Value| {
        [
            cell(worker, "phase"),
            cell(worker, "pid"),
            cell(worker, "generation"),
            since(worker, "started"),
            cell(worker, "under-way"),
            cell(worker, "websockets"),
            cell(worker, "requests"),
            memory(worker),
            cell(worker, "restarts"),
            cell(worker, "last-failure"),
        ]
    };
    let heading = [
        "WORKER",
        "PROCESS",
        "VERSION",
        "AGE",
        "NOW",
        "WEBSOCKETS",
        "REQUESTS",
        "MEMORY",
        "RESTARTS",
        "LAST FAILURE",
    ];
    let rows: Vec<_> = workers.into_iter().flatten().map(row).collect();
    let table = table::lay_out(heading, &rows);
    let place = format!("{}{}", text(application, "host"), text(application, "path"));
    let [name, python] = ["application", "python"].map(|key| cell(application, key));
    let (under_way, waiting) = (cell(application, "under-way"), cell(application, "waiting"));
    format!(
        "\napplication    {name} at {place}, version {}, {under_way} under way, {waiting} waiting\n\
         python         {python}\n{}",
        cell(application, "generation"),
        table.trim_end()
    )
}

fn upstreams_for_people(upstreams: &[Value]) -> String {
    let keys = ["address", "path", "phase", "under-way", "requests", "failures"];
    let heading = ["UPSTREAM", "PATH", "PHASE", "NOW", "REQUESTS", "FAILURES"];
    let rows: Vec<_> = upstreams.iter().map(|one| keys.map(|key| cell(one, key))).collect();
    format!("\n{}", table::lay_out(heading, &rows).trim_end())
}

fn services_for_people(services: &[Value]) -> String {
    let row = |service: &Value| {
        [
            cell(service, "name"),
            cell(service, "phase"),
            cell(service, "pid"),
            since(service, "since"),
            cell(service, "under-way"),
            cell(service, "restarts"),
            cell(service, "last-failure"),
        ]
    };
    let heading = ["SERVICE", "PHASE", "PROCESS", "SINCE", "NOW", "RESTARTS", "LAST FAILURE"];
    let rows: Vec<_> = services.iter().map(row).collect();
    format!("\n{}", table::lay_out(heading, &rows).trim_end())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn cell(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::String(text)) => harmless(text).replace('\n', " "),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// How long ago that was.
fn since(value: &Value, key: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let at = value.get(key).and_then(Value::as_u64).filter(|at| *at > 0);
    at.map_or_else(|| "-".to_owned(), |at| table::age(now.saturating_sub(at)))
}

fn memory(worker: &Value) -> String {
    let bytes = worker.get("memory").and_then(Value::as_u64);
    bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{} M", bytes >> 20))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::for_people;

    #[test]
    fn status_reads_well() {
        let status = json!({
            "version": "0.1.0", "process": 7, "running": 300, "configuration": "/site/perijove.toml",
            "addresses": ["http://127.0.0.1:8000"], "state-folder": "/var/lib/site",
            "under-way": 1, "waiting": 0, "upstream": null, "notebooks": 2,
            "starts": { "state": "ready", "pid": 6, "milliseconds": 1310, "memory": 91 << 20,
                        "started": 12 },
            "applications": [{
                "application": "app:application", "python": "/site/.venv/bin/python",
                "host": null, "path": "/", "generation": 2, "under-way": 1, "waiting": 0,
                "workers": [
                    { "phase": "serving", "pid": 8, "restarts": 0, "last-failure": null,
                      "generation": 2, "under-way": 1, "websockets": 0, "requests": 1234,
                      "memory": 50 << 20 },
                    { "phase": "pausing", "pid": null, "restarts": 3,
                      "last-failure": "ended by itself" },
                ],
            }],
            "upstreams": [{ "address": "https://app.internal:443", "path": "/api/",
                            "phase": "resting", "under-way": 0, "requests": 12, "failures": 2 }],
            "services": [{ "name": "chat", "phase": "serving", "pid": 9, "since": 0,
                           "under-way": 2, "restarts": 1, "last-failure": "ended\u{1b}[1m" }],
        });
        insta::assert_snapshot!(for_people(&status));
    }
}
