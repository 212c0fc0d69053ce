//! Notebooks pass to the new process with all that they hold.

use serde_json::Value;

use super::{process, upgrade};
use crate::{
    notebooks::{
        site_with_people,
        visitor::{Visitor, until_state},
    },
    site::until,
};

#[tokio::test]
async fn variables_websockets_and_launches_survive_an_upgrade() {
    let site = site_with_people().start().await;
    let ada = Visitor::new(&site, "ada");
    ada.open("").await;
    let kernel = ada.kernel().await;
    let mut channels = ada.channels(&kernel).await;
    channels.execute("kept = 'still here'").await;
    let before = until_state(&site, "ada", "ready").await;
    let old = process(&site);

    // Launches that come while it goes on are answered by whoever is the hub then.
    let upgrading = site.begin_command(&["upgrade"]);
    let mut launches = 0;
    while !upgrading.is_finished() {
        let launched = Visitor::new(&site, "ada").launch("").await;
        assert_eq!(launched.status, 303, "{launched:?}");
        launches += 1;
    }
    assert!(launches > 0);
    let output = upgrading.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_ne!(process(&site), old);

    // The websocket goes on at the old process, a new one at the new process.
    assert_eq!(channels.execute("kept + '!'").await, "'still here!'");
    let ada = Visitor::new(&site, "ada");
    assert_eq!(ada.kernels().await, std::slice::from_ref(&kernel));
    let mut again = ada.channels(&kernel).await;
    assert_eq!(again.execute("kept").await, "'still here'");
    let after = until_state(&site, "ada", "ready").await;
    assert_eq!(before["pid"], after["pid"]);

    // Only the new one looks after notebooks.
    site.tell(&["notebook", "stop", "ada"]);
    let bob = Visitor::new(&site, "bob");
    bob.open("").await;
    drop(channels);
    until("the old process has ended", || !super::is_running(old)).await;
    bob.until_ready().await;
    site.tell(&["notebook", "stop", "--all"]);
}

#[tokio::test]
async fn an_upgrade_that_fails_at_the_last_moment_loses_no_launch() {
    let site = site_with_people().start().await;
    let ada = Visitor::new(&site, "ada");
    ada.open("").await;
    let before = until_state(&site, "ada", "ready").await;
    let program = super::failing::successor(&site, "fails_to_take");
    for _ in 0..3 {
        let arguments = ["upgrade", "--executable", program.to_str().unwrap()];
        let upgrading = site.begin_command(&arguments);
        while !upgrading.is_finished() {
            let launched = Visitor::new(&site, "ada").launch("").await;
            assert_eq!(launched.status, 303, "{launched:?}");
        }
        assert!(!upgrading.await.unwrap().status.success());
    }
    let after = until_state(&site, "ada", "ready").await;
    assert_eq!(before["pid"], after["pid"]);
    ada.until_ready().await;
    // A notebook that is started now is looked after.
    let bob = Visitor::new(&site, "bob");
    bob.open("").await;
    site.tell(&["notebook", "stop", "--all"]);
}

#[tokio::test]
async fn what_cannot_be_saved_is_not_left_behind() {
    let site = site_with_people().small_state().start().await;
    Visitor::new(&site, "ada").open("").await;
    let old = process(&site);
    site.fill_state();
    site.tell(&["notebook", "stop", "ada"]);
    let refused = site.command(&["upgrade"]);
    let told = crate::site::text(&refused.stderr);
    assert!(told.contains("cannot be saved"), "{told}");
    assert_eq!(process(&site), old);
    site.free_state();
    site.tell(&["upgrade"]);
    assert_ne!(process(&site), old);
    Visitor::new(&site, "ada").open("").await;
    site.tell(&["notebook", "stop", "--all"]);
}

#[tokio::test]
async fn a_notebook_that_starts_meanwhile_is_ready_at_the_new_one() {
    let mut site = site_with_people().start().await;
    let launched = Visitor::new(&site, "ada").launch("").await;
    assert_eq!(launched.status, 303);
    upgrade(&mut site).await;
    Visitor::new(&site, "ada").until_ready().await;
    let listed: Value = serde_json::from_str(&site.tell(&["notebook", "list", "--json"])).unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    site.tell(&["notebook", "stop", "--all"]);
}
