//! Launches that would disturb something, or find no room: the page asks, or tells the place in line.

use serde_json::{Value, json};

use crate::{client::Answer, world::World};

async fn ask(world: &World, notebook: &str, body: Value) -> String {
    let answer = world.control("POST", &format!("/notebooks/{notebook}"), body).await;
    let told = answer.json();
    assert_eq!((answer.status, &told["state"]), (202, &json!("asking")), "{answer:?}");
    told["url"].as_str().unwrap().to_owned()
}

async fn page(world: &World, user: &str, path: &str) -> Answer {
    let cookie = format!("session={user}");
    world.fetch("GET", path, &[("Cookie", &cookie), ("Accept", "text/html")]).await
}

async fn choose(world: &World, user: &str, path: &str, choice: &str) -> Answer {
    let origin = format!("http://{}", world.address);
    let cookie = format!("session={user}");
    let fields = [("Cookie", cookie.as_str()), ("Origin", &origin)];
    let body = format!("choice={choice}");
    crate::client::fetch(&world.address, "POST", path, &fields, &body).await
}

/// A notebook that computes, and a launch that wants its place.
async fn busy() -> (World, String) {
    let world = World::new().await;
    world.launch("ada", json!({"context_hash": 1})).await;
    let other = json!({"context_hash": 2, "when-busy": "ask", "beside": "orders"});
    world.get("ada", "/notebook/ada/busy").await;
    let url = ask(&world, "ada", other).await;
    assert!(url.starts_with("/notebook/ada/-/ask/"), "{url}");
    let page = page(&world, "ada", &url).await;
    assert!(page.status == 200 && page.body.contains("orders"), "{page:?}");
    (world, url)
}

#[tokio::test]
async fn what_computes_is_kept_when_its_user_says_so() {
    let (world, url) = busy().await;
    assert_eq!(page(&world, "bob", &url).await.status, 403);
    assert_eq!(choose(&world, "ada", &url, "nonsense").await.status, 400);
    let before = world.control("GET", "/notebooks/ada", Value::Null).await.json();
    let kept = choose(&world, "ada", &url, "keep").await;
    assert_eq!((kept.status, kept.all("location")), (303, vec![before["url"].as_str().unwrap()]));
    // It is asked once.
    assert_eq!(choose(&world, "ada", &url, "replace").await.status, 404);
    let after = world.control("GET", "/notebooks/ada", Value::Null).await.json();
    assert_eq!(after["pid"], before["pid"]);
}

#[tokio::test]
async fn another_one_is_opened_beside_what_computes() {
    let (world, url) = busy().await;
    let beside = choose(&world, "ada", &url, "beside").await;
    assert_eq!(beside.status, 303);
    assert!(beside.all("location")[0].starts_with("/notebook/ada/~orders/lab/tree/orders-"));
    world.until("ada/orders", "ready").await;
    let first = world.control("GET", "/notebooks/ada", Value::Null).await.json();
    assert_eq!((&first["state"], &first["context_hash"]), (&json!("ready"), &json!("1")));
}

#[tokio::test]
async fn what_computes_is_replaced_when_its_user_says_so() {
    let (world, url) = busy().await;
    assert_eq!(choose(&world, "ada", &url, "replace").await.status, 303);
    let so = |entry: &Value| entry["state"] == "ready" && entry["context_hash"] == "2";
    world.until_so("ada", so).await;
}

#[tokio::test]
async fn what_rests_is_replaced_without_a_word_but_not_for_another_site() {
    let world = World::new().await;
    world.launch("ada", json!({"context_hash": 1})).await;
    ask(&world, "ada", json!({"context_hash": 2, "from-elsewhere": true})).await;
    let same = json!({"context_hash": 1, "from-elsewhere": true});
    let joined = world.control("POST", "/notebooks/ada", same).await;
    assert_eq!(joined.json()["state"], "ready");
    let other = json!({"context_hash": 2, "when-busy": "ask"});
    let replaced = world.control("POST", "/notebooks/ada", other).await;
    assert_eq!(replaced.json()["state"], "starting");
}

#[tokio::test]
async fn whoever_has_as_many_as_one_may_have_stops_one() {
    let world = World::with(json!({"max-per-user": 1})).await;
    world.launch("ada", json!({})).await;
    let url = ask(&world, "ada/side", json!({"when-busy": "ask"})).await;
    let page = page(&world, "ada", &url).await;
    assert!(page.body.contains("as many notebooks as one may have"), "{}", page.body);
    world.control("DELETE", "/notebooks/ada", Value::Null).await;
    assert_eq!(choose(&world, "ada", &url, "replace").await.status, 303);
    world.until("ada/side", "ready").await;
}

#[tokio::test]
async fn a_queue_is_served_in_its_order() {
    let world = World::with(json!({"max-notebooks": 1})).await;
    world.launch("ada", json!({})).await;
    let bob = ask(&world, "bob", json!({"when-busy": "ask"})).await;
    let eve = ask(&world, "eve", json!({"when-busy": "ask"})).await;
    for (user, url, place) in [("bob", &bob, 1), ("eve", &eve, 2)] {
        let page = page(&world, user, url).await;
        assert!(page.body.contains(&format!("Your place in line: {place}")), "{}", page.body);
    }
    // A program is told at once, and passes nobody.
    let refused = world.control("POST", "/notebooks/zoe", json!({})).await;
    assert_eq!(refused.status, 503);
    let events = format!("{eve}/events");
    let waiting = world.get("eve", &events);
    let served = async {
        world.control("DELETE", "/notebooks/ada", Value::Null).await;
        // It is not eve's turn yet.
        assert_eq!(page(&world, "eve", &eve).await.status, 200);
        let answer = page(&world, "bob", &bob).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        world.until("bob", "ready").await;
        world.control("DELETE", "/notebooks/bob", Value::Null).await;
    };
    let (told, ()) = tokio::join!(waiting, served);
    assert!(
        told.body.contains("\"place\":2") && told.body.contains("/notebook/eve/lab"),
        "{told:?}"
    );
    world.until("eve", "ready").await;
}
