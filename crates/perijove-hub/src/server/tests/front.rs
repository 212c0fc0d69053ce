//! What people and programs are told.

use std::time::Duration;

use perijove_gateway::Body;
use serde_json::{Value, json};

use super::{Behaviour, World, text};

#[tokio::test]
async fn pages_stand_in_for_what_is_not_there_yet() {
    let world = World::new();
    let page = world.page("GET", "/notebook/ada/lab", "ada").await;
    assert_eq!(page.status, 404);
    assert!(text(page.body).contains("Open one from the site."));
    world.behave(Behaviour::Hangs);
    world.launch("ada", json!({})).await;
    let page = world.page("GET", "/notebook/ada/", "ada").await;
    assert_eq!(page.status, 200);
    let policy = page.fields.get("content-security-policy").unwrap().to_vec();
    let nonce = String::from_utf8_lossy(&policy).into_owned();
    let nonce = nonce.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let shown = text(page.body);
    assert!(shown.contains(&format!("<script nonce=\"{nonce}\">")), "{shown}");
    let events = "data-events=\"&#x2f;notebook&#x2f;ada&#x2f;-&#x2f;progress\"";
    assert!(shown.contains(events) && shown.contains("data-front=\"yes\""), "{shown}");
    assert!(shown.contains("<noscript><meta http-equiv=\"refresh\""), "{shown}");
    let own = world.page("GET", "/notebook/", "ada").await;
    assert_eq!(own.fields.get("location"), Some(&b"/notebook/ada/"[..]));
    let own = world.page("GET", "/notebook/notebooks/a%20b.ipynb?x=1", "ada@x.org").await;
    let location = own.fields.get("location").unwrap();
    assert_eq!(location, b"/notebook/ada%40x%2Eorg/notebooks/a%20b.ipynb?x=1");
    let own = world.page("GET", "/notebook/ada", "ada").await;
    assert_eq!(own.fields.get("location"), Some(&b"/notebook/ada/"[..]));
}

#[tokio::test]
async fn progress_is_told_to_its_end() {
    let world = World::new();
    world.launch("ada", json!({})).await;
    let answer = world.page("GET", "/notebook/ada/-/progress", "ada").await;
    let Body::Stream(mut events) = answer.body else { panic!("no stream") };
    let mut told = String::new();
    let listen = async {
        while let Some(piece) = std::future::poll_fn(|context| events.poll_chunk(context)).await {
            told.push_str(&String::from_utf8_lossy(&piece.unwrap()));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), listen).await.unwrap();
    assert!(told.starts_with("event: state\ndata: {\"state\":\"starting\""), "{told}");
    assert!(
        told.trim_end().ends_with(".ipynb\"}") && told.contains("\"state\":\"ready\""),
        "{told}"
    );
}

async fn check_refused(method: &str, path: &str, body: Value, status: u16, error: &str) {
    let world = World::new();
    let (got, answer) = world.api(method, path, &body).await;
    assert_eq!((got, answer["error"].as_str()), (status, Some(error)), "{method} {path}");
    assert!(!world.folder.path().join("state").exists(), "nothing was made");
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let long = format!("/notebooks/{}", "x".repeat(300));
    let too_long = "a user's name has at most 128 characters, this one has 300";
    check_refused("POST", &long, json!({}), 400, too_long).await;
    let dots = "a user's name must not be `.` or `..`";
    check_refused("POST", "/notebooks/%2E%2E", json!({}), 400, dots).await;
    let control = "a user's name must not hold control characters";
    check_refused("POST", "/notebooks/a%00", json!({}), 400, control).await;
    let empty = "a user's name must not be empty";
    check_refused("POST", "/notebooks//x", json!({}), 400, empty).await;
    let context = "`startup` must be Python source as text";
    check_refused("POST", "/notebooks/ada", json!({"startup": []}), 400, context).await;
    let named =
        "a notebook's name has 1 to 30 letters a–z, digits and `-`, and does not begin with `-`";
    check_refused("POST", "/notebooks/ada/Second", json!({}), 400, named).await;
    check_refused("GET", "/notebooks/ada", json!({}), 404, "no notebook of `ada` is known").await;
    check_refused("DELETE", "/notebooks/ada", json!({}), 404, "no notebook of `ada` is running")
        .await;
    check_refused("PUT", "/notebooks", json!({}), 405, "this address does not take this method")
        .await;
    check_refused("GET", "/notebooksx", json!({}), 404, "there is nothing at this address").await;
}
