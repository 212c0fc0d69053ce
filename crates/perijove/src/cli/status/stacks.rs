//! Where the code of workers is, for people.

use serde_json::Value;

use super::{cell, text};
use crate::terminal::harmless;

pub(super) fn for_people(told: &Value) -> String {
    let applications = told.as_array().into_iter().flatten();
    let lines: Vec<_> = applications.flat_map(of_application).collect();
    if lines.is_empty() { "there are no workers\n".to_owned() } else { lines.join("\n") + "\n" }
}

fn of_application(application: &Value) -> Vec<String> {
    let name = harmless(text(application, "application")).into_owned();
    let workers = application.get("workers").and_then(Value::as_array);
    workers.into_iter().flatten().flat_map(|worker| of_worker(worker, &name)).collect()
}

fn of_worker(worker: &Value, application: &str) -> Vec<String> {
    let mut told = vec![format!("process {} of {application}", cell(worker, "pid"))];
    match worker.get("lines").and_then(Value::as_array) {
        Some(lines) => {
            let lines = lines.iter().filter_map(Value::as_str);
            told.extend(lines.map(|line| format!("  {}", harmless(line))));
        }
        None => told.push(
            "  it does not say: it is no native worker, or code in C keeps Python from running"
                .to_owned(),
        ),
    }
    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::for_people;

    #[test]
    fn stacks_read_well() {
        let check = |told, expected: &str| assert_eq!(for_people(&told), expected);
        check(json!([]), "there are no workers\n");
        let workers = json!([
            { "pid": 7, "lines": ["thread MainThread:", "  File \"app.py\"", "    wait\u{1b}[1m()"] },
            { "pid": 8, "lines": null },
        ]);
        check(
            json!([{ "application": "app:app", "workers": workers }]),
            "process 7 of app:app\n  thread MainThread:\n    File \"app.py\"\n      wait\\u{1b}[1m()\n\
             process 8 of app:app\n  it does not say: it is no native worker, or code in C keeps \
             Python from running\n",
        );
    }
}
