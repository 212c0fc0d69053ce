//! Notebooks that do not start, and state that cannot be kept.

use super::{
    site_with_people,
    visitor::{Visitor, until_state},
};

#[tokio::test]
async fn a_notebook_that_dies_while_starting_says_why() {
    let site = site_with_people()
        .set("notebook.arguments = ['--ServerApp.contents_manager_class=nowhere.Manager']")
        .start()
        .await;
    let ada = Visitor::new(&site, "ada");
    assert_eq!(ada.launch("").await.status, 303);
    let told = until_state(&site, "ada", "failed").await;
    assert!(told["last_lines"].to_string().contains("nowhere"), "{told}");
    let page = ada.page("/notebook/ada/").await;
    assert!(page.text().contains("nowhere"), "{page:?}");
    let output = site.command(&["notebook", "start", "ada"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(crate::site::text(&output.stderr).contains("nowhere"), "{output:?}");
    assert!(site.tell(&["notebook", "logs", "ada"]).contains("nowhere"));
    // What has failed need not be stopped.
    assert_eq!(site.tell(&["notebook", "stop", "--all"]), "stopped 0 notebooks\n");
}

#[tokio::test]
async fn a_python_without_jupyter_says_what_to_install() {
    let plan = site_with_people();
    let made = std::process::Command::new("python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(plan.folder().join("bare"))
        .status()
        .unwrap();
    assert!(made.success());
    let site = plan.set("notebook.python = 'bare/bin/python'").start().await;
    let ada = Visitor::new(&site, "ada");
    assert_eq!(ada.launch("").await.status, 303);
    let told = until_state(&site, "ada", "failed").await;
    assert!(told.to_string().contains("jupyter"), "{told}");
    let page = ada.page("/notebook/ada/").await;
    assert!(page.text().contains("jupyter"), "{page:?}");
}

#[tokio::test]
async fn a_corrupt_database_is_set_aside_and_notebooks_found_again() {
    let site = site_with_people().start().await;
    let ada = Visitor::new(&site, "ada");
    ada.open("").await;
    let before = until_state(&site, "ada", "ready").await;
    let state = site.folder().join("state");
    let site = site
        .crash_and_start_after(|| {
            for entry in std::fs::read_dir(&state).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if name.starts_with("state.db") {
                    std::fs::write(&path, "this is no database, whatever its name says").unwrap();
                }
            }
        })
        .await;
    site.logs("set aside");
    let after = until_state(&site, "ada", "ready").await;
    assert_eq!(before["pid"], after["pid"]);
    Visitor::new(&site, "ada").until_ready().await;
}

#[tokio::test]
async fn a_full_disk_stops_launches_only_and_heals() {
    let plan = site_with_people().small_state();
    let site = plan.start().await;
    let ada = Visitor::new(&site, "ada");
    ada.open("").await;
    let kernel = ada.kernel().await;
    let mut channels = ada.channels(&kernel).await;
    site.fill_state();
    assert_eq!(channels.execute("3 * 3").await, "9");
    let content = r#"{"type": "file", "format": "text", "content": "kept"}"#;
    let saved = ada.ask("PUT", "/notebook/ada/api/contents/note.txt", content).await;
    assert_eq!(saved.status, 201, "{saved:?}");
    let bob = Visitor::new(&site, "bob");
    let refused = bob.launch("").await;
    assert_eq!(refused.status, 500, "{refused:?}");
    assert!(refused.text().contains("hint"), "{refused:?}");
    site.free_state();
    bob.open("").await;
}

#[tokio::test]
async fn there_are_only_so_many_notebooks() {
    let site = site_with_people().set("notebook.max-notebooks = 1").start().await;
    Visitor::new(&site, "ada").launch("").await.is(303);
    let refused = Visitor::new(&site, "bob").launch("").await;
    assert_eq!(refused.status, 500, "{refused:?}");
    assert!(refused.text().contains("max-notebooks"), "{refused:?}");
    let output = site.command(&["notebook", "start", "bob"]);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    site.tell(&["notebook", "stop", "ada"]);
    assert!(site.tell(&["notebook", "start", "bob"]).contains("ready"));
}
