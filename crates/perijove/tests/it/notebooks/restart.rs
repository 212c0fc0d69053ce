//! Notebooks outlive the program.

use serde_json::Value;

use super::{
    site_with_people,
    visitor::{Visitor, until_state},
};

#[tokio::test]
async fn a_click_opens_a_notebook_with_the_data_of_the_site() {
    let site = site_with_people().start().await;
    let ada = Visitor::new(&site, "ada");
    ada.open("a = 6 * 7").await;
    let kernel = ada.kernel().await;
    let mut channels = ada.channels(&kernel).await;
    assert_eq!(channels.execute("a + 1").await, "43");

    let me: Value = serde_json::from_slice(&ada.get("/notebook/ada/api/me").await.body).unwrap();
    assert_eq!(me["identity"]["username"], "ada");

    let listed = site.tell(&["notebook", "list"]);
    assert!(listed.contains("ada") && listed.contains("ready"), "{listed}");
    assert!(!site.tell(&["notebook", "logs", "ada"]).is_empty());
    assert_eq!(site.tell(&["notebook", "stop", "ada"]), "stopped\n");
    let listed = site.tell(&["notebook", "list"]);
    assert!(!listed.contains("ada"), "{listed}");
}

#[tokio::test]
async fn an_unchanged_context_joins_and_a_changed_one_starts_anew() {
    let site = site_with_people().start().await;
    let ada = Visitor::new(&site, "ada");
    ada.open("a = 1").await;
    let first = until_state(&site, "ada", "ready").await;
    ada.open("a = 1").await;
    let joined = until_state(&site, "ada", "ready").await;
    assert_eq!(first["pid"], joined["pid"]);
    ada.open("a = 2").await;
    let changed = until_state(&site, "ada", "ready").await;
    assert_ne!(first["pid"], changed["pid"]);
    assert_ne!(first["context_hash"], changed["context_hash"]);
}

#[tokio::test]
async fn variables_survive_the_death_of_the_program() {
    let site = site_with_people().start().await;
    let ada = Visitor::new(&site, "ada");
    ada.open("").await;
    let kernel = ada.kernel().await;
    let mut channels = ada.channels(&kernel).await;
    channels.execute("kept = 'still here'").await;
    let before = until_state(&site, "ada", "ready").await;

    let site = site.crash_and_start().await;
    let ada = Visitor::new(&site, "ada");
    ada.until_ready().await;
    assert_eq!(ada.kernels().await, std::slice::from_ref(&kernel));
    let mut channels = ada.channels(&kernel).await;
    assert_eq!(channels.execute("kept").await, "'still here'");
    let after = until_state(&site, "ada", "ready").await;
    assert_eq!(before["pid"], after["pid"]);
    site.tell(&["notebook", "stop", "--all"]);
}

#[tokio::test]
async fn an_ordinary_restart_keeps_notebooks_too() {
    let site = site_with_people().start().await;
    let ada = Visitor::new(&site, "ada");
    ada.open("").await;
    let before = until_state(&site, "ada", "ready").await;
    let site = site.stop_and_start().await;
    let after = until_state(&site, "ada", "ready").await;
    assert_eq!(before["pid"], after["pid"]);
    Visitor::new(&site, "ada").until_ready().await;
}

#[tokio::test]
async fn a_kill_timeout_ends_a_notebook() {
    let site = site_with_people().set("notebook.kill-timeout = '8s'").start().await;
    let ada = Visitor::new(&site, "ada");
    ada.launch("").await.is(303);
    let told = || {
        let output = site.command(&["notebook", "status", "ada", "--json"]);
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default()
    };
    let mut process = None;
    crate::site::until("it has a process", || {
        process = told()["pid"].as_i64();
        process.is_some()
    })
    .await;
    let folder = format!("/proc/{}", process.unwrap());
    crate::site::until("it has ended", || !std::path::Path::new(&folder).exists()).await;
    // On a busy machine it may have been ended before it was ready.
    crate::site::until("that is known", || {
        !matches!(told()["state"].as_str(), Some("ready" | "starting"))
    })
    .await;
}

#[tokio::test]
async fn where_notebooks_live_changes_while_none_runs() {
    let site = site_with_people().start().await;
    site.get("/shells/ada/").await.is(200);
    site.configure("notebook.path = '/shells/'");
    site.tell(&["reload"]);
    // The site says of nobody there who they are, so nobody passes.
    site.get("/shells/ada/").await.is(403);
    site.get("/notebook/ada/").await.is(401);
    let ada = Visitor::new(&site, "ada");
    let launched = ada.launch("").await;
    assert!(launched.field("location").unwrap().starts_with("/shells/ada/"), "{launched:?}");
    site.configure("notebook.site-paths = ['more']");
    let output = site.command(&["reload"]);
    let told = crate::site::text(&output.stderr);
    assert!(told.contains("only while none runs"), "{told}");
    assert!(told.contains("notebook stop --all"), "{told}");
    site.tell(&["notebook", "stop", "--all"]);
    site.tell(&["reload"]);
}
