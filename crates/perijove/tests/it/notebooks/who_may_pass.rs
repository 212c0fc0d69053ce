//! The site decides who may pass, at every door.

use std::time::Duration;

use super::{
    site_with_people,
    visitor::{Visitor, nobody},
};

#[tokio::test]
async fn nobody_passes_at_the_address_of_another() {
    let site = site_with_people().start().await;
    let (ada, bob) = (Visitor::new(&site, "ada"), Visitor::new(&site, "bob"));
    let guest = Visitor::new(&site, "guest");
    ada.open("").await;
    let kernel = ada.kernel().await;
    let doors = ["lab", "api/kernels", "api/contents", "files/x", "", "api"];
    for door in doors {
        let path = format!("/notebook/ada/{door}");
        bob.get(&path).await.is(403);
        guest.get(&path).await.is(403);
        nobody(&site, &path).await.is(401);
        // The same whether there is such a notebook or not.
        let absent = bob.get(&format!("/notebook/nobody/{door}")).await;
        let present = bob.get(&path).await;
        assert_eq!(absent.status, 403);
        assert_eq!(same(&absent.text()), same(&present.text()));
    }
    bob.ask("POST", "/notebook/ada/api/kernels", "{}").await.is(403);
    bob.ask("DELETE", &format!("/notebook/ada/api/kernels/{kernel}"), "").await.is(403);
    let origin = site.address();
    assert_eq!(bob.try_channels("/notebook/ada/", &kernel, origin).await.err(), Some(403));
    assert_eq!(guest.try_channels("/notebook/ada/", &kernel, origin).await.err(), Some(403));
    guest.launch("").await.is(403);
    assert_eq!(ada.kernels().await, [kernel]);
}

/// A page without the id of its request.
fn same(page: &str) -> String {
    let id = page.find("Request ").map_or(page.len(), |at| at + 8);
    let end = page[id..].find('<').map_or(page.len(), |at| id + at);
    format!("{}{}", &page[..id], &page[end..])
}

#[tokio::test]
async fn a_foreign_page_cannot_act() {
    let site = site_with_people().start().await;
    let ada = Visitor::new(&site, "ada");
    ada.open("").await;
    let kernel = ada.kernel().await;
    let foreign = ada.try_channels("/notebook/ada/", &kernel, "evil.example").await;
    assert_eq!(foreign.err(), Some(403));
    let path = "/notebook/ada/api/kernels";
    ada.ask_with("POST", path, &["Origin: http://evil.example"], "{}").await.is(403);
    ada.ask_with("POST", path, &["Origin: null"], "{}").await.is(403);
    ada.ask_with("POST", path, &[], "{}").await.is(403);
    ada.ask_with("GET", path, &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"], "")
        .await
        .is(403);
    assert_eq!(ada.kernels().await, [kernel]);
}

#[tokio::test]
async fn who_is_struck_off_the_list_loses_the_websocket() {
    let site = site_with_people().start().await;
    let ada = Visitor::new(&site, "ada");
    ada.open("").await;
    let kernel = ada.kernel().await;
    let mut channels = ada.channels(&kernel).await;
    assert_eq!(channels.execute("1 + 1").await, "2");
    site.write("allowed", "bob\n");
    // Five seconds, and what a busy machine needs beside.
    channels.until_closed(Duration::from_secs(15)).await;
    ada.get("/notebook/ada/api/kernels").await.is(403);
}

#[tokio::test]
async fn cookies_of_the_site_do_not_reach_a_notebook() {
    let site = site_with_people().start().await;
    let ada = Visitor::new(&site, "ada");
    ada.open("").await;
    let kernel = ada.kernel().await;
    let mut channels = ada.channels(&kernel).await;
    let inherited = channels.execute("import os; print(sorted(os.environ))").await;
    for name in ["PERIJOVE_CONTROL", "PERIJOVE_PACKAGE", "VISITOR"] {
        assert!(!inherited.contains(name), "{inherited}");
    }
    let secret = site.folder().join("run/control.sock.secret");
    // Under the same account the file can be read; its name at least is not handed over.
    let told = channels.execute("print(os.environ.items())").await;
    assert!(!told.contains(secret.to_str().unwrap()), "{told}");
}

#[tokio::test]
async fn plain_http_from_beyond_this_machine_is_refused() {
    let plan = || site_with_people().set("trusted-proxies = ['127.0.0.1']");
    let far = "X-Forwarded-For: 10.9.9.9";
    let secure = "X-Forwarded-Proto: https";
    let site = plan().start().await;
    let ada = Visitor::new(&site, "ada");
    let refused = ada.ask_with("GET", "/notebook/ada/api", &[far], "").await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.text().to_lowercase().contains("https"), "{refused:?}");
    let secured = ada.ask_with("GET", "/notebook/ada/api", &[far, secure], "").await;
    assert_ne!(secured.status, 403, "{secured:?}");
    drop(site);
    let site = plan().set("notebook.insecure = true").start().await;
    let ada = Visitor::new(&site, "ada");
    let allowed = ada.ask_with("GET", "/notebook/ada/api", &[far], "").await;
    assert_ne!(allowed.status, 403, "{allowed:?}");
}
