//! Functions of the site in Python that say who may pass.

use std::fs;

use crate::site::{Answer, Plan, Site};

fn plan() -> Plan {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/apps/access.py");
    Plan::new()
        .wsgi("hello")
        .file("access.py", fs::read_to_string(script).unwrap())
        .file("public/admin/page.txt", "a page")
        .set("site.auth.script = 'access.py'")
        .set("site.auth.paths = ['/tell', '/admin/']")
        .set("site.auth.realm = 'the office'")
}

/// `Authorization` of the kind Basic.
fn basic(pair: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in pair.as_bytes().chunks(3) {
        let value = group.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
        let value = value << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = DIGITS[(value >> (18 - 6 * at)) as usize % 64];
            text.push(if at > group.len() { '=' } else { char::from(digit) });
        }
    }
    format!("Authorization: Basic {text}")
}

async fn ask(site: &Site, path: &str, fields: &[&str]) -> Answer {
    site.connect().await.ask_with("GET", path, fields, b"").await
}

fn asked(site: &Site, what: &str) -> usize {
    let text = fs::read_to_string(site.folder().join("asked.txt")).unwrap_or_default();
    text.lines().filter(|line| line.starts_with(what)).count()
}

#[tokio::test]
async fn who_knows_the_password_may_pass() {
    let site = plan().start().await;
    let check = async |pair: &str, expected: u16| {
        ask(&site, "/tell", &[&basic(pair)]).await.is(expected);
    };
    site.get("/").await.shows("hello");
    let refused = site.get("/tell").await;
    assert_eq!(refused.status, 401);
    let challenge = "Basic realm=\"the office\", charset=\"UTF-8\"";
    assert_eq!(refused.field("www-authenticate"), Some(challenge));
    let told = ask(&site, "/tell", &[&basic("ada:secret"), "X-Forwarded-User: root"]).await;
    let told: serde_json::Value = serde_json::from_str(&told.text()).unwrap();
    assert_eq!((&told["REMOTE_USER"], &told["AUTH_TYPE"]), (&"ada".into(), &"Basic".into()));
    assert!(
        told.get("HTTP_AUTHORIZATION").is_none() && !told.to_string().contains("root"),
        "{told}"
    );
    check("ada:wrong", 401).await;
    check("ada:", 401).await;
    check("nobody:secret", 401).await;
    check("jos\u{e9}:se\u{f1}al:1", 200).await;
    check("a\nb:secret", 401).await;
    // No answer is no yes.
    check("trouble:secret", 503).await;
    check("vague:secret", 503).await;
    let two = [&*basic("ada:wrong"), &*basic("bob:hidden")];
    ask(&site, "/tell", &two).await.is(401);
    let log = site.stop().log;
    assert!(!log.contains("secret") && !log.contains("YWRhOnNlY3Jld"), "{log}");
}

#[tokio::test]
async fn files_below_such_a_path_are_guarded_too() {
    let site = plan().start().await;
    site.get("/admin/page.txt").await.is(401);
    let page = ask(&site, "/admin/page.txt", &[&basic("bob:hidden")]).await;
    page.shows("a page");
    assert_eq!(page.field("cache-control").map(|value| value.contains("private")), Some(true));
    // However the path is spelled.
    for path in
        ["/admin/./page.txt", "//admin/page.txt", "/%61dmin/page.txt", "/x/../admin/page.txt"]
    {
        let answer = site.get(path).await;
        assert!(matches!(answer.status, 400 | 401 | 404), "{path}: {}", answer.status);
    }
}

#[tokio::test]
async fn a_group_may_be_needed_and_yes_is_remembered() {
    let site =
        plan().set("site.auth.group = 'admin'").set("site.auth.keep-time = '10m'").start().await;
    for _ in 0..3 {
        ask(&site, "/tell", &[&basic("ada:secret")]).await.is(200);
        ask(&site, "/tell", &[&basic("bob:hidden")]).await.is(403);
        ask(&site, "/tell", &[&basic("ada:wrong")]).await.is(401);
    }
    assert_eq!(asked(&site, "password bob"), 1);
    // Once right, and wrong each time.
    assert_eq!(asked(&site, "password ada"), 4);
}

#[tokio::test]
async fn a_function_says_which_addresses_may_come() {
    let site = plan()
        .set("site.allow.script = 'access.py'")
        .set("site.allow.paths = ['/', '/tell']")
        .set("site.allow.keep-time = 0")
        .start()
        .await;
    site.get("/").await.shows("hello");
    ask(&site, "/tell", &[&basic("ada:secret")]).await.is(200);
    site.make("closed");
    site.get("/").await.is(403);
    ask(&site, "/tell", &[&basic("ada:secret")]).await.is(403);
    assert!(asked(&site, "allow 127.0.0.1") >= 4);
}

/// One that remembers for longer than a test takes what a function says of addresses.
async fn remembering(script: &str) -> Site {
    let plan = plan().file("allow.py", script).set("site.allow.script = 'allow.py'");
    plan.set("site.allow.keep-time = '10m'").start().await
}

#[tokio::test]
async fn what_was_said_of_one_path_is_not_said_of_another() {
    let script =
        "def allow_access(environ, host):\n    return environ['PATH_INFO'] == '/version'\n";
    let site = remembering(script).await;
    for _ in 0..2 {
        site.get("/version").await.shows("one");
        site.get("/").await.is(403);
    }
}

#[tokio::test]
async fn what_was_said_of_one_request_is_not_said_of_another() {
    let script = "def allow_access(environ, host):\n    return (environ['REQUEST_METHOD'] == \
                  'POST' or environ['QUERY_STRING'] == 'key=1' or environ.get('HTTP_COOKIE') == \
                  'key=1')\n";
    let site = remembering(script).await;
    let ask = async |method: &str, path: &str, fields: &[&str], expected: u16| {
        let answer = site.connect().await.ask_with(method, path, fields, b"").await;
        assert_eq!(answer.status, expected, "{method} {path} {fields:?}");
    };
    for _ in 0..2 {
        ask("GET", "/version?key=1", &[], 200).await;
        ask("GET", "/version", &[], 403).await;
        ask("GET", "/version", &["Cookie: key=1"], 200).await;
        ask("GET", "/version", &["Cookie: key=2"], 403).await;
        ask("POST", "/version", &[], 200).await;
        ask("HEAD", "/version", &[], 403).await;
    }
}

#[tokio::test]
async fn all_that_lies_at_the_sites_addresses_is_guarded() {
    let site = plan()
        .file("other/deep/page.txt", "another folder")
        .file("other/open/page.txt", "an open page")
        .file("other/page.txt", "a page beside")
        .set("site.auth.paths = ['/other/', '/notebook/']")
        .set("site.auth.except = ['/other/open/']")
        .set("notebook.folder = 'notebooks'")
        .set("route = [{ path = '/other/', folder = 'other' }]")
        .start()
        .await;
    let with = basic("bob:hidden");
    site.get("/").await.shows("hello");
    for path in ["/other/page.txt", "/other/deep/page.txt", "/notebook/", "/notebook/ada/"] {
        site.get(path).await.is(401);
    }
    ask(&site, "/other/page.txt", &[&with]).await.shows("a page beside");
    site.get("/other/open/page.txt").await.shows("an open page");
    // Behind it the hub's own guard asks the site.
    let notebook = ask(&site, "/notebook/ada/", &[&with]).await;
    assert!(notebook.status != 401 && notebook.status < 500, "{}", notebook.status);
}

#[tokio::test]
async fn a_path_that_is_guarded_amid_a_route_is_still_the_routes() {
    let site = plan()
        .file("other/deep/page.txt", "of the route")
        .set("site.auth.paths = ['/other/deep/']")
        .set("route = [{ path = '/other/', folder = 'other' }]")
        .start()
        .await;
    site.get("/other/deep/page.txt").await.is(401);
    let page = ask(&site, "/other/deep/page.txt", &[&basic("ada:secret")]).await;
    page.shows("of the route");
}

#[tokio::test]
async fn networks_are_kept_from_notebooks_and_routes_too() {
    let site = Plan::new()
        .wsgi("hello")
        .file("other/page.txt", "a page beside")
        .set("site.deny-from = ['127.0.0.0/8']")
        .set("notebook.folder = 'notebooks'")
        .set("route = [{ path = '/other/', folder = 'other' }]")
        .start()
        .await;
    for path in ["/", "/other/page.txt", "/notebook/", "/notebook/ada/", "/nothing"] {
        site.get(path).await.is(403);
    }
}

#[tokio::test]
async fn refusals_look_like_other_errors() {
    let site = plan()
        .file("errors/401.html", "<p>please sign in</p>")
        .set("site.error-documents = { 401 = 'errors/401.html' }")
        .set("site.headers = { X-From = 'the site' }")
        .start()
        .await;
    let page = site.get("/tell").await;
    page.is(401);
    assert_eq!(page.text(), "<p>please sign in</p>");
    assert_eq!(page.field("x-from"), Some("the site"));
    assert!(page.field("www-authenticate").is_some_and(|value| value.starts_with("Basic ")));
    assert_eq!(page.field("cache-control"), Some("no-store"));
    let told = ask(&site, "/tell", &["Accept: application/json"]).await;
    let told: serde_json::Value = serde_json::from_str(&told.text()).unwrap();
    assert_eq!((&told["status"], &told["error"]), (&401.into(), &"sign in to come here".into()));
    let trouble = ask(&site, "/tell", &[&basic("trouble:secret")]).await;
    assert!(trouble.text().contains("<html") && trouble.field("retry-after") == Some("5"));
}

#[test]
fn a_script_without_the_function_is_told() {
    let ended = plan().file("access.py", "def nothing(): ...\n").run();
    assert!(ended.code != Some(0), "{}", ended.log);
    ended.shows("has no function `check_password`");
}
