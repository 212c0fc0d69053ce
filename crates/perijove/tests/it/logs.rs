//! What stands in the logs, and where they go.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::site::{Plan, Site, until};

fn file(site: &Site, name: &str) -> String {
    fs::read_to_string(site.folder().join(name)).unwrap_or_default()
}

#[tokio::test]
async fn slow_requests_are_told_with_their_id() {
    let plan = Plan::new().wsgi("hello").set("log.slow = '50ms'").set("log.format = 'json'");
    let plan = plan.set("log.access = 'off'").set("trusted-proxies = ['127.0.0.1']");
    let site = plan.start().await;
    site.get("/").await.shows("hello");
    let mut connection = site.connect().await;
    let slow = connection.ask_with("GET", "/sleep/80?token=hush", &["X-Request-Id: abc-1"], b"");
    slow.await;
    let line: Value = serde_json::from_str(&site.logs("a slow request")).unwrap();
    assert_eq!(
        (&line["request_id"], &line["url"]),
        (&"abc-1".into(), &"/sleep/80?token=...".into())
    );
    assert!(line["milliseconds"].as_f64().unwrap() >= 80.0, "{line}");
    assert_eq!((&line["level"], &line["status"]), (&"WARN".into(), &200.into()));
}

#[tokio::test]
async fn each_log_has_a_file_of_its_own_and_is_opened_again() {
    let plan = Plan::new().wsgi("hello").set("log.file = 'program.log'");
    let plan = plan.set("log.site-file = 'site.log'").set("log.access-file = 'access.log'");
    let site = plan.set("log.access-format = '%s %U'").start().await;
    site.get("/print/first").await;
    until("the lines are written", || {
        file(&site, "access.log").contains("200 /print/first\n")
            && file(&site, "site.log").contains("first")
    })
    .await;
    assert!(file(&site, "program.log").contains("ready"));
    assert!(!file(&site, "program.log").contains("first"));
    for name in ["program.log", "site.log", "access.log"] {
        fs::rename(site.folder().join(name), site.folder().join(format!("{name}.old"))).unwrap();
    }
    site.signal(Signal::USR1);
    until("the files are made again", || {
        ["program.log", "site.log"].iter().all(|name| site.folder().join(name).exists())
    })
    .await;
    site.get("/print/second").await;
    until("the lines are written to the new files", || {
        file(&site, "access.log").contains("200 /print/second\n")
            && file(&site, "site.log").contains("second")
    })
    .await;
    assert!(!file(&site, "site.log.old").contains("second"));
}

#[tokio::test]
async fn a_log_that_is_full_is_exchanged() {
    let plan = Plan::new().wsgi("hello").set("log.access-file = 'access.log'");
    let site = plan.set("log.rotate = { size = '1K', keep = 2 }").start().await;
    let mut connection = site.connect().await;
    until("three files are there", || site.folder().join("access.log").exists()).await;
    for _ in 0..200 {
        connection.ask("GET", "/", b"").await.shows("hello");
        if site.folder().join("access.log.2").exists() {
            break;
        }
        // Lines are written together.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(site.folder().join("access.log.2").exists());
    assert!(!site.folder().join("access.log.3").exists());
}

/// Programs read these: a name that changes is a change for them.
#[tokio::test]
async fn the_fields_of_the_programs_log_stay() {
    let plan = Plan::new().wsgi("hello").set("log.format = 'json'").set("log.access = 'json'");
    let site = plan.start().await;
    site.get("/print/hello-from-the-site").await;
    let keys = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    };
    let output = site.logs("hello-from-the-site");
    insta::assert_snapshot!(keys(&output), @"level message request_id source target timestamp");
    let access = site.logs("\"/print/hello-from-the-site\"");
    insta::assert_snapshot!(keys(&access), @"bytes client first_byte host method milliseconds referer request_id scheme status target time user_agent version");
    let ready = site.logs("\"ready\"");
    insta::assert_snapshot!(keys(&ready), @"addresses level message target timestamp");
    let ids = [output, access].map(|line| {
        serde_json::from_str::<Value>(&line).unwrap()["request_id"].as_str().unwrap().to_owned()
    });
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_is_told_at_the_start() {
    let plan = Plan::new().wsgi("hello").set("log.file = 'nowhere/program.log'");
    let ended = plan.run();
    assert_eq!(ended.code, Some(69), "{}", ended.log);
    ended.shows("nowhere/program.log").shows("hint: does its folder exist");
}
