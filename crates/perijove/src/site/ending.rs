//! What a program that is stopping still waits for, told while it does: in the log, and in a file
//! for whoever asked for the stop, since the control socket is closed by then.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::status::Board;

/// How often it is looked at.
const OFTEN: Duration = Duration::from_millis(250);
/// The log is told every so many looks.
const LOOKS: u32 = 20;

/// What is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    /// The process that is stopping.
    pub(crate) process: u32,
    requests: u64,
    websockets: u64,
    workers: u64,
}

/// Where it is told.
pub(crate) fn file(runtime: &Path) -> PathBuf {
    runtime.join("stopping")
}

/// What a process that is stopping has told last.
pub(crate) fn read(runtime: &Path) -> Option<Left> {
    serde_json::from_slice(&fs::read(file(runtime)).ok()?).ok()
}

/// Tells until all is over.
pub(super) async fn tell(board: Arc<Board>, runtime: PathBuf, over: CancellationToken) {
    let path = file(&runtime);
    let mut looks = 0_u32;
    loop {
        let left = Left::of(&board.tell());
        write(&path, &left);
        if looks > 0 && looks.is_multiple_of(LOOKS) {
            tracing::info!("stopping: {left}");
        }
        looks = looks.wrapping_add(1);
        if over.run_until_cancelled(tokio::time::sleep(OFTEN)).await.is_none() {
            break;
        }
    }
    fs::remove_file(path).ok();
}

/// Whole or not at all; who reads it can do without.
fn write(path: &Path, left: &Left) {
    let draft = path.with_extension("draft");
    if let Ok(text) = serde_json::to_vec(left)
        && fs::write(&draft, text).is_ok()
    {
        fs::rename(&draft, path).ok();
    }
}

impl Left {
    fn of(status: &Value) -> Self {
        let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
        let list = |value: &Value, key: &str| {
            value.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let applications = list(status, "applications");
        let services = list(status, "services");
        let workers: Vec<Value> =
            applications.iter().flat_map(|one| list(one, "workers")).collect();
        let of_workers = |key| workers.iter().map(|worker| number(worker, key)).sum::<u64>();
        let websockets = of_workers("websockets");
        let busy = |all: &[Value]| all.iter().map(|one| number(one, "under-way")).sum::<u64>();
        let is_there = |worker: &&Value| worker.get("pid").is_some_and(Value::is_number);
        // A site that runs elsewhere is no application.
        let elsewhere = if applications.is_empty() { number(status, "under-way") } else { 0 };
        let requests = busy(&applications) + busy(&services) + elsewhere;
        Self {
            process: std::process::id(),
            requests: requests.saturating_sub(websockets),
            websockets,
            workers: workers.iter().filter(is_there).count() as u64,
        }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |number: u64, one: &str| match number {
            1 => format!("1 {one}"),
            _ => format!("{number} {one}s"),
        };
        write!(
            f,
            "{} under way, {} open, {} running",
            count(self.requests, "request"),
            count(self.websockets, "websocket"),
            count(self.workers, "worker")
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_is_counted() {
        let status = json!({
            "under-way": 9,
            "applications": [{ "under-way": 3, "workers": [
                { "pid": 7, "websockets": 2 }, { "pid": null, "websockets": null },
            ]}],
            "services": [{ "under-way": 1 }],
        });
        let left = Left::of(&status);
        assert_eq!(left.to_string(), "2 requests under way, 2 websockets open, 1 worker running");
        let elsewhere = Left::of(&json!({ "under-way": 1 }));
        assert_eq!(
            elsewhere.to_string(),
            "1 request under way, 0 websockets open, 0 workers running"
        );
    }
}
