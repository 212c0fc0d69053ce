//! A site that is being developed: what is saved is served, or says what is wrong with it.

use crate::site::{Plan, Site, until};

fn plan() -> Plan {
    Plan::new().wsgi("hello").set("site.probation = '0s'").argument("--watch")
}

fn version(number: &str) -> String {
    include_str!("apps/hello.py").replace("VERSION = \"one\"", &format!("VERSION = \"{number}\""))
}

fn generation(site: &Site) -> u64 {
    site.status()["application"]["generation"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn what_is_saved_is_served() {
    let site = plan().start().await;
    site.get("/version").await.shows("one");
    // Of the same length, within the same second: one reload for all that is saved at once.
    for number in 0..20 {
        site.write("app.py", version(&format!("{number:03}")));
        site.write(&format!("module_{number}.py"), "");
    }
    until("it has reloaded", || generation(&site) > 1).await;
    site.get("/version").await.shows("019");
    // What the site writes itself is no change.
    site.write("data.json", "{}");
    site.write("app.py", version("two"));
    until("it has reloaded again", || generation(&site) > 2).await;
    site.get("/version").await.shows("two");
    assert_eq!(generation(&site), 3);
}

#[tokio::test]
async fn why_a_version_does_not_work_is_shown_until_one_does() {
    let site = plan().start().await;
    site.write("app.py", "raise RuntimeError('<script>')\n");
    site.logs("not reloaded");
    let page = site.get("/version").await;
    page.is(500);
    let text = page.text();
    assert!(text.contains("RuntimeError: &lt;script&gt;") && text.contains("app.py"), "{text}");
    assert!(!text.contains("<script"), "{text}");
    site.write("perijove.toml", "site.thread = 1\n");
    site.logs("did you mean `site.threads`?");
    site.get("/").await.is(500);
    site.write("app.py", version("three"));
    site.write("perijove.toml", plan_text(&site));
    until("it has reloaded", || generation(&site) > 1).await;
    site.get("/version").await.shows("three");
}

/// The configuration without what makes no difference here.
fn plan_text(_: &Site) -> String {
    "listen = ['127.0.0.1:0']\nstate-folder = 'state'\nruntime-folder = 'run'\n\
     site.workers = 1\nlimits.drain-time = '20s'\n"
        .to_owned()
}

#[tokio::test]
async fn a_site_that_does_not_start_says_why_and_starts_when_it_can() {
    let broken = include_str!("apps/broken.py");
    let site = plan().file("app.py", broken).start().await;
    let page = site.get("/").await;
    page.is(500);
    assert!(page.text().contains("a_module_that_is_not_there"), "{}", page.text());
    site.write("app.py", version("one, at last"));
    until("it has started", || generation(&site) > 0).await;
    site.get("/version").await.shows("one, at last");
}

#[tokio::test]
async fn nobody_watches_unless_told() {
    let site = Plan::new().wsgi("hello").start().await;
    site.write("app.py", "raise RuntimeError\n");
    assert_eq!(site.command(&["reload"]).status.code(), Some(78));
    site.get("/version").await.shows("one");
    site.write("app.py", version("two, unnoticed"));
    // As long as it takes where somebody watches.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    site.get("/version").await.shows("one");
}
