//! The site decides who may pass: by page, by API and by websocket.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    client::{PATIENCE, Socket, fetch, websocket},
    world::World,
};

#[tokio::test]
async fn only_the_owner_passes() {
    let world = World::new().await;
    world.launch("ada", json!({})).await;
    assert_eq!(world.get("ada", "/notebook/ada/request").await.status, 200);
    let running = world.get("bob", "/notebook/ada/request").await;
    let unknown = world.get("bob", "/notebook/nobody/request").await;
    assert_eq!(running.status, 403);
    let same = |answer: &crate::client::Answer| {
        let mut fields = answer.fields.clone();
        fields.retain(|line| {
            !line.starts_with("Date") && !line.to_lowercase().contains("request-id")
        });
        (fields, answer.body.clone())
    };
    assert_eq!(same(&running), same(&unknown));
    assert_eq!(world.websocket("bob", "/notebook/ada/socket").await.unwrap_err(), 403);
    assert_eq!(world.websocket("bob", "/notebook/nobody/socket").await.unwrap_err(), 403);
    let nobody = world.fetch("GET", "/notebook/ada/request", &[]).await;
    assert_eq!((nobody.status, nobody.field("location")), (302, Some("/login")));
    world.site.set(|mood| mood.banned.push("eve".to_owned()));
    let banned = world.get("eve", "/notebook/eve/").await;
    assert_eq!((banned.status, banned.body.as_str()), (403, "the site's own words"));
    assert_eq!(banned.field("x-site"), Some("own"));
}

#[tokio::test]
async fn the_question_is_a_get_that_says_what_it_is() {
    let world = World::new().await;
    world.launch("ada", json!({})).await;
    world.site.take_requests();
    let origin = format!("http://{}", world.address);
    let fields = [
        ("Cookie", "session=ada"),
        ("Origin", &origin),
        ("If-None-Match", "\"x\""),
        ("Range", "bytes=0-1"),
        ("Accept-Encoding", "gzip"),
        ("Perijove-User", "eve"),
        ("Perijove_User", "eve"),
        ("Content-Type", "text/plain"),
        ("User-Agent", "test"),
    ];
    let answer = fetch(&world.address, "PUT", "/notebook/ada/request?x=1", &fields, "body").await;
    assert_eq!((answer.status, &answer.json()["body"]), (200, &json!("body")));
    let asked = world.site.take_requests();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let asked = &asked[0];
    assert_eq!(
        (&asked["method"], &asked["target"]),
        (&json!("GET"), &json!("/notebook/ada/request?x=1"))
    );
    let fields = asked["fields"].as_object().unwrap();
    assert_eq!(fields["perijove-question"], "notebook");
    assert_eq!(fields["perijove-method"], "PUT");
    assert_eq!(fields["user-agent"], "test");
    assert_eq!(fields["host"], json!(world.address));
    for absent in [
        "if-none-match",
        "range",
        "accept-encoding",
        "content-type",
        "content-length",
        "perijove-user",
        "perijove_user",
        "transfer-encoding",
    ] {
        assert!(!fields.contains_key(absent), "{absent} in {fields:?}");
    }
}

#[tokio::test]
async fn a_notebook_sees_nothing_of_the_site() {
    let world = World::new().await;
    world.launch("ada", json!({})).await;
    let fields = [
        ("Cookie", "session=ada; csrf=secret"),
        ("Authorization", "Bearer site"),
        ("X-Other", "passes"),
    ];
    let seen = world.fetch("GET", "/notebook/ada/request?token=guess&a=1", &fields).await.json();
    assert_eq!(seen["target"], "/notebook/ada/request?a=1");
    assert_eq!(seen["fields"]["x-other"], "passes");
    assert!(seen["fields"].get("cookie").is_none(), "{seen}");
    let authorization = seen["fields"]["authorization"].as_str().unwrap();
    assert!(authorization.starts_with("token ") && !authorization.contains("site"));
    assert!(seen["fields"].get("perijove-user").is_none());
}

#[tokio::test]
async fn cookies_of_a_notebook_stay_with_it() {
    let world = World::new().await;
    world.launch("ada", json!({})).await;
    let signed_in = world.fetch("GET", "/login", &[]).await;
    assert_eq!(signed_in.field("set-cookie"), Some("session=ada; Path=/"));
    let answer = world.get("ada", "/notebook/ada/cookie").await;
    let cookies = answer.all("set-cookie");
    assert!(cookies.contains(&"own=1; Path=/notebook/ada/"), "{cookies:?}");
    let fields = [("Cookie", "session=ada; own=1; other=2")];
    let seen = world.fetch("GET", "/notebook/ada/request", &fields).await.json();
    assert_eq!(seen["fields"]["cookie"], "own=1");
}

#[tokio::test]
async fn the_sites_cookies_are_the_sites_after_a_restart_too() {
    let mut world = World::new().await;
    world.launch("ada", json!({})).await;
    world.fetch("GET", "/login", &[]).await;
    let names = world.path("state/site-cookies");
    let deadline = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(&names).is_ok_and(|names| names.contains("session\n")) {
        assert!(Instant::now() < deadline, "not noted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.kill();
    world.revive().await;
    let answer = world.get("ada", "/notebook/ada/cookie").await;
    let cookies = answer.all("set-cookie");
    assert!(cookies.iter().all(|cookie| !cookie.starts_with("session=")), "{cookies:?}");
    let seen = world.get("ada", "/notebook/ada/request").await.json();
    assert!(seen["fields"].get("cookie").is_none(), "{seen}");
}

#[tokio::test]
async fn no_cache_on_the_way_keeps_what_is_somebodys() {
    let world = World::new().await;
    world.launch("ada", json!({})).await;
    for path in ["request", "cached", "-/start"] {
        let answer = world.get("ada", &format!("/notebook/ada/{path}")).await;
        let kept = answer.all("cache-control").join(", ");
        assert!(kept.contains("private") || kept.contains("no-store"), "{path}: {kept}");
        assert!(!kept.contains("public"), "{path}: {kept}");
    }
    // A no is the site's own to tell about.
    let no = world.fetch("GET", "/notebook/ada/request", &[]).await;
    assert_eq!(no.field("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn cookies_of_the_site_reach_the_browser() {
    let world = World::new().await;
    world.launch("ada", json!({})).await;
    let answer = world.get("ada", "/notebook/ada/request").await;
    assert!(answer.all("set-cookie").contains(&"seen=1; Path=/"), "{answer:?}");
    assert!(answer.field("perijove-user").is_none());
}

async fn check(world: &World, method: &str, fields: &[(&str, &str)], expected: u16) {
    let mut all = vec![("Cookie", "session=ada")];
    all.extend_from_slice(fields);
    let answer = world.fetch(method, "/notebook/ada/request", &all).await;
    assert_eq!(answer.status, expected, "{method} {fields:?}");
}

#[tokio::test]
async fn foreign_pages_change_nothing() {
    let world = World::with(json!({"allow-origin": ["https://friend.example"]})).await;
    world.launch("ada", json!({})).await;
    let own = format!("http://{}", world.address);
    check(&world, "POST", &[("Origin", &own)], 200).await;
    check(&world, "POST", &[("Origin", "https://friend.example")], 200).await;
    check(&world, "POST", &[("Origin", "https://evil.example")], 403).await;
    check(&world, "POST", &[("Origin", "null")], 403).await;
    check(&world, "POST", &[], 403).await;
    check(&world, "POST", &[("Sec-Fetch-Site", "same-origin")], 200).await;
    check(&world, "DELETE", &[("Sec-Fetch-Site", "same-site")], 403).await;
    check(&world, "GET", &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")], 403)
        .await;
    let visit = [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    check(&world, "GET", &visit, 200).await;
    let path = "/notebook/ada/socket";
    for (origin, expected) in [
        (Some(own.as_str()), Ok(())),
        (Some("https://friend.example"), Ok(())),
        (Some("https://evil.example"), Err(403)),
        (Some("null"), Err(403)),
        (None, Err(403)),
    ] {
        let mut fields = vec![("Cookie", "session=ada")];
        fields.extend(origin.map(|origin| ("Origin", origin)));
        let opened = websocket(&world.address, path, &fields).await;
        assert_eq!(opened.map(drop), expected, "{origin:?}");
    }
}

#[tokio::test]
async fn plain_http_stays_on_this_machine() {
    let mut world = World::new().await;
    world.kill();
    world.wants("trusted_proxies", json!(true));
    world.revive().await;
    world.launch("ada", json!({})).await;
    let from = |address: &'static str, scheme: &'static str| {
        [("X-Forwarded-For", address), ("X-Forwarded-Proto", scheme)]
    };
    check(&world, "GET", &[], 200).await;
    check(&world, "GET", &from("192.0.2.7", "https"), 200).await;
    check(&world, "GET", &from("192.0.2.7", "http"), 403).await;
    check(&world, "GET", &from("127.0.0.1", "http"), 200).await;
    world.kill();
    world.wants("notebook", json!({"insecure": true}));
    world.revive().await;
    check(&world, "GET", &from("192.0.2.7", "http"), 200).await;
}

/// A page of `evil.example` whose name was bound to this machine after it was loaded: for the
/// browser, it is of the same origin as whatever listens here under that name.
#[tokio::test]
async fn plain_http_knows_this_machine_by_its_own_names_only() {
    let mut world = World::new().await;
    world.launch("ada", json!({})).await;
    let port = world.address.rsplit_once(':').unwrap().1.to_owned();
    let evil = format!("evil.example:{port}");
    check(&world, "GET", &[("Host", &evil)], 403).await;
    let origin = format!("http://{evil}");
    check(&world, "POST", &[("Host", &evil), ("Origin", &origin)], 403).await;
    let fields = [("Host", evil.as_str()), ("Origin", &origin), ("Cookie", "session=ada")];
    let opened = websocket(&world.address, "/notebook/ada/socket", &fields).await;
    assert_eq!(opened.map(drop), Err(403));
    check(&world, "GET", &[("Host", &format!("localhost:{port}"))], 200).await;
    check(&world, "GET", &[("Host", "evil.example.localhost.")], 200).await;
    world.kill();
    world.wants("notebook", json!({"insecure": true}));
    world.revive().await;
    check(&world, "GET", &[("Host", &evil)], 200).await;
    world.kill();
    world.wants("notebook", json!({"allow-origin": ["https://site.example"]}));
    world.revive().await;
    check(&world, "GET", &[("Host", "site.example")], 200).await;
    check(&world, "GET", &[("Host", &evil)], 403).await;
}

#[tokio::test]
async fn other_spellings_lead_to_the_one() {
    let world = World::with(json!({"site-paths": ["shutdown"]})).await;
    world.launch("a%40x.org", json!({})).await;
    let user = "a%40x%2Eorg";
    let page = world.get(user, "/notebook/a@x.org/request?x=1").await;
    assert_eq!(page.status, 308);
    assert_eq!(page.field("location"), Some("/notebook/a%40x%2Eorg/request?x=1"));
    let origin = format!("http://{}", world.address);
    let cookie = format!("session={user}");
    let fields = [("Cookie", cookie.as_str()), ("Origin", &origin)];
    let posted = fetch(&world.address, "POST", "/notebook/a@x.org/request", &fields, "body").await;
    assert_eq!(posted.json()["target"], "/notebook/a%40x%2Eorg/request");
    assert_eq!(posted.json()["body"], "body");
    let mut socket = world.websocket(user, "/notebook/a@x.org/socket").await.unwrap();
    says(&mut socket, "hello").await;
    let own = world.get(user, "/notebook/tree").await;
    assert_eq!(own.field("location"), Some("/notebook/a%40x%2Eorg/tree"));
    world.site.take_requests();
    let answer = world.get(user, "/notebook/shutdown").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    let asked = world.site.take_requests();
    assert!(asked[0]["fields"].get("perijove-question").is_none(), "{asked:?}");
}

async fn says(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(heard, Message::text(text));
}

#[tokio::test]
async fn who_is_struck_off_loses_the_websocket() {
    let world = World::new().await;
    world.launch("ada", json!({})).await;
    let mut socket = world.websocket("ada", "/notebook/ada/socket").await.unwrap();
    says(&mut socket, "hello").await;
    world.site.set(|mood| mood.banned.push("ada".to_owned()));
    let began = Instant::now();
    while let Ok(Some(Ok(_))) = tokio::time::timeout(PATIENCE, socket.next()).await {}
    let lasted = began.elapsed();
    assert!(lasted <= Duration::from_secs(5), "{lasted:?}");
}

#[tokio::test]
async fn a_silent_site_ends_no_websocket() {
    let world = World::new().await;
    world.launch("ada", json!({})).await;
    let mut socket = world.websocket("ada", "/notebook/ada/socket").await.unwrap();
    world.site.take_requests();
    world.site.set(|mood| mood.is_away = true);
    // Two rounds of questions without an answer.
    let deadline = Instant::now() + PATIENCE;
    while world.site.take_requests().len() < 2 && Instant::now() < deadline {
        let asked = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                says(&mut socket, "still here").await;
            }
        };
        tokio::time::timeout(Duration::from_secs(8), asked).await.ok();
    }
    says(&mut socket, "still here").await;
    let new = world.get("ada", "/notebook/ada/request?new").await;
    assert_eq!((new.status, new.field("retry-after")), (503, Some("2")));
    world.site.set(|mood| mood.is_away = false);
    assert_eq!(world.get("ada", "/notebook/ada/request").await.status, 200);
}

#[tokio::test]
async fn a_page_with_many_files_is_one_question() {
    let world = World::new().await;
    world.launch("ada", json!({})).await;
    world.site.set(|mood| mood.extra = "Cache-Control: max-age=60".to_owned());
    world.site.take_requests();
    let files = (0..30).map(|_| world.get("ada", "/notebook/ada/request"));
    for answer in futures_util::future::join_all(files).await {
        assert_eq!(answer.status, 200);
    }
    let asked: Vec<Value> = world.site.take_requests();
    assert_eq!(asked.len(), 1, "{asked:?}");
}
