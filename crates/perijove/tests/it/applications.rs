//! Several applications behind one door, each at a path of its own.

use crate::site::Plan;

const OTHER: &str = "def application(environ, start_response):\n    \
    start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
    return [b'the other one sees ', environ['PATH_INFO'].encode()]\n";
const AT: &str = "route = [{ path = '/other/', app = 'other', workers = 1 }]";

#[tokio::test]
async fn each_path_has_its_application() {
    let site = Plan::new().wsgi("hello").file("other.py", OTHER).set(AT).start().await;
    site.get("/").await.shows("hello");
    site.get("/other/way").await.shows("the other one sees /other/way");
    let one = site.get("/pid").await.text();
    let status = site.status();
    assert_eq!(status["application"]["workers"][0]["pid"].to_string(), one.trim());
    assert_eq!(status["applications"][1]["path"], "/other/");
    assert_eq!(status["applications"][1]["workers"][0]["phase"], "serving");
}

#[tokio::test]
async fn a_site_may_be_routes_alone() {
    let site = Plan::new()
        .wsgi("hello")
        .file("empty/nothing", "")
        .set("site.root = 'empty'")
        .set("route = [{ path = '/here/', root = '.', app = 'app', workers = 1 }]")
        .start()
        .await;
    assert!(site.get("/here/version").await.text().contains("no such view"));
    site.get("/").await.is(404);
}

#[tokio::test]
async fn applications_come_and_go_with_a_reload() {
    let site = Plan::new().wsgi("hello").file("other.py", OTHER).start().await;
    site.get("/other/").await.is(404);
    site.configure(AT);
    site.tell(&["reload"]);
    site.get("/other/").await.shows("the other one sees /other/");
    site.write("other.py", OTHER.replace("the other one", "its next version"));
    site.tell(&["reload"]);
    site.get("/other/").await.shows("its next version sees");
    assert_eq!(site.status()["applications"][1]["generation"], 2);
    let path = site.folder().join("perijove.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(AT, "")).unwrap();
    site.tell(&["reload"]);
    site.get("/other/").await.is(404);
    assert_eq!(site.status()["applications"].as_array().unwrap().len(), 1);
}

#[test]
fn one_that_does_not_load_stops_the_start() {
    let ended = Plan::new().wsgi("hello").file("other.py", "import nothing_at_all\n").set(AT).run();
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    ended.shows("nothing_at_all");
}

#[tokio::test]
async fn a_file_without_an_ending_is_loaded() {
    let site = Plan::new()
        .wsgi("hello")
        .file("wsgi/application", OTHER)
        .set("site.app = 'wsgi/application'")
        .start()
        .await;
    site.get("/x").await.shows("the other one sees /x");
}
