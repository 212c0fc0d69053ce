//! Numbers for Prometheus, from a site that serves.

use std::collections::BTreeSet;

use crate::site::{Connection, Plan, Site, root, until};

async fn ask(site: &Site, path: &str) -> (u16, String) {
    let status = site.status();
    let address = status["metrics"].as_str().expect("an address of the metrics").to_owned();
    let answer = Connection::to(address.strip_prefix("http://").unwrap()).await;
    let mut connection = answer;
    let answer = connection.ask("GET", path, b"").await;
    (answer.status, String::from_utf8(answer.body).unwrap())
}

async fn scrape(site: &Site) -> String {
    let (status, text) = ask(site, "/metrics").await;
    assert_eq!(status, 200);
    text
}

/// The value of the one sample that begins so.
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(&format!("{sample} ")));
    let line = line.unwrap_or_else(|| panic!("{sample} is missing:\n{text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn a_site_tells_what_it_has_done() {
    let plan = Plan::new().wsgi("hello").set("metrics.listen = '127.0.0.1:0'");
    let plan = plan.file("public/leaf.txt", "leaf").set("site.workers = 2");
    let site = plan.start().await;
    for _ in 0..3 {
        site.get("/").await.shows("hello");
    }
    site.get("/leaf.txt").await.shows("leaf");
    site.get("/nothing").await;
    assert!(site.command(&["reload"]).status.success());
    let text = scrape(&site).await;
    let route = "route=\"/\"";
    let requests = "perijove_requests_total";
    assert!(
        (value(&text, &format!("{requests}{{{route},method=\"get\",status=\"2xx\"}}")) - 4.0).abs()
            < 0.1
    );
    assert!(value(&text, &format!("{requests}{{{route},method=\"get\",status=\"4xx\"}}")) > 0.0);
    let count = value(&text, &format!("perijove_request_duration_seconds_count{{{route}}}"));
    assert!((count - 5.0).abs() < 0.1, "{count}");
    assert!(value(&text, "perijove_workers{application=\"/\",phase=\"serving\"}") > 1.0);
    assert!(value(&text, "perijove_application_generation{application=\"/\"}") > 1.0);
    assert!(value(&text, "perijove_reloads_total{result=\"ok\"}") > 0.0);
    assert!(value(&text, "perijove_last_reload_timestamp_seconds") > 1e9);
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "perijove_queue_wait_seconds_count{application=\"/\"}") >= 0.0);
    let (status, _) = ask(&site, "/other").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn no_path_of_a_client_becomes_a_name() {
    let plan = Plan::new().wsgi("hello").set("metrics.listen = '127.0.0.1:0'");
    let site = plan.start().await;
    site.get("/?secret-of-ada").await;
    site.get("/a-path-that-nobody-wrote").await;
    let mut connection = site.connect().await;
    connection.ask("BREW", "/", b"").await;
    let text = scrape(&site).await;
    for word in ["secret-of-ada", "a-path-that-nobody-wrote", "BREW", "brew"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}

#[tokio::test]
async fn whether_it_is_ready_can_be_asked() {
    let plan = Plan::new().wsgi("hello").set("metrics.listen = '127.0.0.1:0'");
    let site = plan.start().await;
    assert_eq!(ask(&site, "/health").await, (200, "ok\n".to_owned()));
    assert_eq!(ask(&site, "/ready").await.0, 200);
    // Without its application's files no worker comes back.
    site.write("app.py", "raise SystemExit('gone')");
    site.kill_worker(0);
    until("no worker serves", || site.status()["application"]["workers"][0]["phase"] != "serving")
        .await;
    assert_eq!(ask(&site, "/ready").await.0, 503);
    assert_eq!(ask(&site, "/health").await.0, 200);
}

/// Every metric of the dashboard is one that a site tells.
#[tokio::test]
async fn the_dashboard_names_what_there_is() {
    let path = root().join("docs/operations/grafana-dashboard.json");
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut named = BTreeSet::new();
    names(&dashboard, &mut named);
    assert!(named.len() > 15, "{named:?}");
    let plan = crate::tls::plan().set("metrics.listen = '127.0.0.1:0'");
    let plan = plan.set("traces.endpoint = 'http://127.0.0.1:9'");
    let site = plan.set("notebook.folder = 'notebooks'").start().await;
    let stream = crate::tls::connect(&site, &[b"http/1.1"]).await.unwrap();
    Connection::over(stream, "site.example.com").ask("GET", "/", b"").await;
    let text = scrape(&site).await;
    for name in named {
        assert!(text.lines().any(|line| line.starts_with(&name)), "{name} is not told:\n{text}");
    }
}

/// The metrics that expressions of a dashboard name.
fn names(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            if let Some(expression) = map.get("expr").and_then(serde_json::Value::as_str) {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let words = expression.split(|c| !is_name(c));
                let ours =
                    words.filter(|w| w.starts_with("perijove_") || w.starts_with("process_"));
                found.extend(ours.map(str::to_owned));
            }
            map.values().for_each(|value| names(value, found));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| names(value, found)),
        _ => {}
    }
}
