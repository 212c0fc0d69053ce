//! `perijove notebook fg`: a start that is watched, for finding out what goes wrong in it.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::{OneArguments, Running, address, is_alive, last_lines, logs::Tail, state, stop_one};
use crate::{Failure, Kind, terminal::harmless};

/// How often the log is looked at.
const PAUSE: Duration = Duration::from_millis(300);

pub(super) fn run(arguments: OneArguments) -> Result<ExitCode, Failure> {
    let running = Running::find(arguments.config)?;
    let notebook = &arguments.notebook;
    let path = address(notebook);
    let known = running.ask("GET", &path, None).ok();
    if known.as_ref().is_some_and(|entry| is_alive(&entry)) {
        let what = format!("the notebook of {notebook} runs already");
        return Err(Failure::new(Kind::Busy, what).hint(format!(
            "`perijove notebook stop {notebook}` first, or `logs {notebook} --follow`"
        )));
    }
    let log = known.as_ref().and_then(|entry| entry.get("log")).and_then(Value::as_str);
    let before = log.map(PathBuf::from).and_then(|log| Tail::at_the_end(&log).ok());
    // What it was last, or nothing of the site.
    let body = if known.is_some() { json!({"again": true}) } else { json!({}) };
    running.ask("POST", &path, Some(&body))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Kind::Other, error))?;
    runtime.block_on(watch(&running, &path, before))
}

/// Shows what it prints until it ends, or is told to by Ctrl-C.
async fn watch(running: &Running, path: &str, log: Option<Tail>) -> Result<ExitCode, Failure> {
    let failed = |error| Failure::new(Kind::Other, error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut log = log;
    let mut told = "";
    loop {
        let entry = running.ask("GET", path, None)?;
        if let Some(place) = entry.get("log").and_then(Value::as_str).map(PathBuf::from) {
            if log.is_none() {
                log = Tail::at_the_beginning(&place).ok();
            }
            if let Some(tail) = &mut log {
                show(&tail.more(&place).map_err(failed)?).map_err(failed)?;
            }
        }
        if state(&entry) == "ready" && told != "ready" {
            told = "ready";
            let url = entry.get("url").and_then(Value::as_str).unwrap_or_default();
            super::super::print(&format!("ready: {url} (Ctrl-C ends it)\n"))?;
        }
        if !is_alive(&&entry) {
            let reason = entry.get("reason").and_then(Value::as_str).unwrap_or("it has ended");
            let what = format!("{reason}\n{}", last_lines(&entry));
            return Err(Failure::new(Kind::Other, what.trim_end().to_owned()));
        }
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    stop_one(running, path)?;
    super::super::print("stopped\n")
}

fn show(bytes: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    if output.is_terminal() {
        output.write_all(harmless(&String::from_utf8_lossy(bytes)).as_bytes())?;
    } else {
        output.write_all(bytes)?;
    }
    output.flush()
}
