//! A site that perijove cannot ask: it launches over the control socket, and gets a ticket.

use serde_json::Value;
use tokio::net::UnixStream;

use super::{python, visitor::Visitor};
use crate::site::{Answer, Connection, Plan, Site};

fn notebooks_for_another() -> Plan {
    Plan::new()
        .set("notebook.authority = 'ticket'")
        .set(&format!("notebook.python = '{}'", python().display()))
        .set("notebook.folder = 'folders'")
        .set("notebook.kill-timeout = '10m'")
        .with_notebooks()
}

/// The address that a launch answers with.
async fn launch(site: &Site, user: &str) -> String {
    let run = site.folder().join("run");
    let secret = std::fs::read_to_string(run.join("control.sock.secret")).unwrap();
    let bearer = format!("Authorization: Bearer {secret}");
    let stream = UnixStream::connect(run.join("control.sock")).await.unwrap();
    let mut connection = Connection::over(stream, "perijove");
    let path = format!("/notebooks/{user}");
    let answer = connection.ask_with("POST", &path, &[&bearer], b"{}").await;
    let launched: Value = serde_json::from_slice(&answer.body).unwrap();
    launched["url"].as_str().unwrap().to_owned()
}

async fn page(site: &Site, path: &str) -> Answer {
    let from_the_site = [
        "Accept: text/html",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Dest: document",
    ];
    site.connect().await.ask_with("GET", path, &from_the_site, b"").await
}

#[tokio::test]
async fn a_ticket_opens_one_users_notebook_once() {
    let site = notebooks_for_another().start().await;
    let ticket = launch(&site, "ada").await;
    assert!(ticket.starts_with("/notebook/-/ticket?ticket="), "{ticket}");
    assert_eq!(page(&site, "/notebook/ada/lab").await.status, 401);

    let taken = page(&site, &ticket).await;
    assert_eq!(taken.status, 303, "{taken:?}");
    assert_eq!(taken.field("referrer-policy"), Some("no-referrer"));
    assert_eq!(taken.field("cache-control"), Some("no-store"));
    let to = taken.field("location").unwrap();
    assert!(to.starts_with("/notebook/ada/lab/tree/default-"), "{to}");
    let cookie = taken.field("set-cookie").unwrap().split(';').next().unwrap();
    let again = page(&site, &ticket).await;
    assert_eq!((again.status, again.field("set-cookie")), (401, None));

    let ada = Visitor::with_cookie(&site, "ada", cookie);
    ada.until_ready().await;
    let kernel = ada.kernel().await;
    assert_eq!(ada.channels(&kernel).await.execute("print(6 * 7)").await.trim(), "42");
    assert_eq!(ada.get("/notebook/bob/api").await.status, 403);

    // One that was changed, or is not there.
    for wrong in [ticket.replace("ticket=", "ticket=x"), "/notebook/-/ticket".to_owned()] {
        assert_eq!(page(&site, &wrong).await.status, 401, "{wrong}");
    }
    // What is spent stays spent when the program is started anew; the session goes on.
    let site = site.crash_and_start_after(|| ()).await;
    assert_eq!(page(&site, &ticket).await.status, 401);
    let ada = Visitor::with_cookie(&site, "ada", cookie);
    assert_eq!(ada.get("/notebook/ada/api").await.status, 200);
    site.tell(&["notebook", "stop", "--all"]);
}
