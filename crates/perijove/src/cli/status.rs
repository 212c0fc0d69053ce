//! `perijove status`.

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
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
}

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let running = super::Running::find(arguments.config)?;
    let mut status = running.ask("GET", "/status", None)?;
    // A site without notebooks has no list of them.
    let notebooks = running.ask("GET", "/notebooks", None).unwrap_or_default();
    if let (Some(status), Some(all)) = (status.as_object_mut(), notebooks.as_array()) {
        status.insert("notebooks".to_owned(), Value::from(all.len()));
    }
    if arguments.json {
        return super::print(&format!("{status:#}\n"));
    }
    super::print(&for_people(&status))
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
    if status.get("upstream").is_some_and(Value::is_string) {
        lines.push(format!("site           {}", text("upstream")));
    }
    lines.extend(status.pointer("/reloads/last-failure").and_then(failed_reload));
    let application = status.get("application").filter(|value| !value.is_null());
    lines.extend(application.map(application_for_people));
    lines.join("\n") + "\n"
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
    let cell = |value: &Value, key: &str| match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let workers = application.get("workers").and_then(Value::as_array);
    let row =
        |worker: &Value| ["phase", "pid", "restarts", "last-failure"].map(|key| cell(worker, key));
    let rows: Vec<[String; 4]> = workers.into_iter().flatten().map(row).collect();
    let table = table::lay_out(["WORKER", "PROCESS", "RESTARTS", "LAST FAILURE"], &rows);
    let [name, python] = ["application", "python"].map(|key| cell(application, key));
    format!("application    {name}\npython         {python}\n\n{}", table.trim_end())
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
            "application": {
                "application": "app:application", "python": "/site/.venv/bin/python",
                "workers": [
                    { "phase": "serving", "pid": 8, "restarts": 0, "last-failure": null },
                    { "phase": "pausing", "pid": null, "restarts": 3, "last-failure": "ended by itself" },
                ],
            },
        });
        insta::assert_snapshot!(for_people(&status));
    }
}
