//! Names that nobody expects, and bodies that end too early.

use super::{site_with_people, visitor::Visitor};

#[tokio::test]
async fn odd_names_have_notebooks_of_their_own() {
    let names = ["../../evil", "a/b", "ada@example.com", "秀樹", "shutdown", "a b%41"];
    let site = site_with_people().file("allowed", names.join("\n") + "\n").start().await;
    for name in names {
        Visitor::new(&site, name).launch("").await.is(303);
    }
    for name in names {
        let visitor = Visitor::new(&site, name);
        visitor.until_ready().await;
        let me = visitor.get(&format!("{}api/me", visitor.base)).await;
        let me: serde_json::Value = serde_json::from_slice(&me.body).unwrap();
        assert_eq!(me["identity"]["username"], name);
        site.tell(&["notebook", "stop", name]);
    }
    let folders = std::fs::read_dir(site.folder().join("folders")).unwrap();
    assert_eq!(folders.count(), names.len());
    assert!(!site.folder().join("evil").exists());
    assert!(!site.folder().parent().unwrap().join("evil").exists());
}

#[tokio::test]
async fn names_that_cannot_be_are_refused() {
    let long = "x".repeat(300);
    let names = ["", &long, "with\u{1}control"];
    let site = site_with_people().file("allowed", names.join("\n") + "\n").start().await;
    for name in names {
        let launched = Visitor::new(&site, name).launch("").await;
        assert_eq!(launched.status, 500, "{name:?}: {launched:?}");
        assert!(launched.text().contains("name"), "{launched:?}");
    }
    assert!(!site.folder().join("folders").join(&long).exists());
    let listed = site.tell(&["notebook", "list", "--json"]);
    assert_eq!(listed.trim(), "[]");
}

#[tokio::test]
async fn who_vanishes_amid_an_upload_disturbs_nobody() {
    let site = site_with_people().start().await;
    let ada = Visitor::new(&site, "ada");
    ada.open("").await;
    let mut connection = site.connect().await;
    let origin = site.address();
    connection
        .send(
            format!(
                "PUT /notebook/ada/api/contents/x HTTP/1.1\r\nHost: {origin}\r\n\
                 Origin: http://{origin}\r\nCookie: visitor=ada\r\nContent-Length: 100000\r\n\r\n{{"
            )
            .as_bytes(),
        )
        .await;
    drop(connection);
    let kernel = ada.kernel().await;
    drop(ada.channels(&kernel).await);
    let mut channels = ada.channels(&kernel).await;
    assert_eq!(channels.execute("2 + 2").await, "4");
}
