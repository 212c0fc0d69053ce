//! Notebooks without a site: users sign in to perijove itself.

use std::{
    io::Write as _,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use super::{python, visitor::Visitor};
use crate::site::{Answer, Plan, Site, program};

const PASSWORD: &str = "correct horse battery";

fn notebooks_alone() -> Plan {
    Plan::new()
        .set("notebook.authority = 'login'")
        .set(&format!("notebook.python = '{}'", python().display()))
        .set("notebook.folder = 'folders'")
        .set("notebook.kill-timeout = '10m'")
        .with_notebooks()
}

/// `perijove user …` with a password on standard input.
fn user(site: &Site, arguments: &[&str], password: &str) -> Output {
    let mut command = program(site.folder());
    command.arg("user").args(arguments).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Whoever refuses the name reads no password.
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).ok();
    child.wait_with_output().unwrap()
}

fn added(site: &Site, name: &str) {
    let output = user(site, &["add", name, "--stdin"], PASSWORD);
    assert!(output.status.success(), "{output:?}");
}

async fn post(site: &Site, path: &str, fields: &[&str], body: &str) -> Answer {
    let origin = format!("Origin: http://{}", site.address());
    let form = "Content-Type: application/x-www-form-urlencoded";
    let fields = [&[origin.as_str(), form, "Accept: text/html"], fields].concat();
    site.connect().await.ask_with("POST", path, &fields, body.as_bytes()).await
}

async fn sign_in(site: &Site, name: &str, password: &str, next: &str) -> Answer {
    let password = password.replace(' ', "+");
    let body = format!("name={name}&password={password}&next={next}");
    post(site, "/notebook/-/login", &[], &body).await
}

/// `name=value` of the cookie that an answer sets.
fn cookie(answer: &Answer) -> String {
    let cookie = answer.field("set-cookie").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(cookie.contains("Path=/notebook/"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

async fn page(site: &Site, path: &str) -> Answer {
    site.connect().await.ask_with("GET", path, &["Accept: text/html"], b"").await
}

/// A page's text with its slashes as they are shown.
fn plain(answer: &Answer) -> String {
    answer.text().replace("&#x2f;", "/")
}

#[tokio::test]
async fn a_user_signs_in_starts_a_notebook_and_is_out_when_taken_off() {
    let site = notebooks_alone().start().await;
    site.logs("`perijove user add NAME` adds a user");
    added(&site, "ada");
    assert_eq!(site.tell(&["user", "list"]), "ada\n");

    // From the root to the form, and from there to the own page.
    let root = page(&site, "/").await;
    assert_eq!((root.status, root.field("location")), (302, Some("/notebook/")));
    let away = page(&site, "/notebook/ada/lab?x=1").await;
    let form = "/notebook/-/login?next=/notebook/ada/lab%3Fx%3D1";
    assert_eq!((away.status, away.field("location")), (303, Some(form)));
    let form = page(&site, form).await;
    assert_eq!(form.status, 200);
    let text = plain(&form);
    for part in ["value=\"/notebook/ada/lab?x=1\"", "current-password", "autocomplete=\"username\""]
    {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert!(!text.contains("<script"), "it works without scripts");
    let inside = sign_in(&site, "ada", PASSWORD, "/notebook/ada/").await;
    assert_eq!((inside.status, inside.field("location")), (303, Some("/notebook/ada/")));
    let ada = Visitor::with_cookie(&site, "ada", &cookie(&inside));

    // Start on click, then a kernel.
    let own = ada.page("/notebook/").await;
    assert_eq!((own.status, own.field("location")), (302, Some("/notebook/ada/")));
    let own = ada.page("/notebook/ada/").await;
    assert!(plain(&own).contains("action=\"/notebook/ada/-/start\""), "{}", own.text());
    assert_eq!(ada.ask("POST", "/notebook/ada/-/start", "").await.status, 303);
    ada.until_ready().await;
    let kernel = ada.kernel().await;
    let mut channels = ada.channels(&kernel).await;
    assert_eq!(channels.execute("print(6 * 7)").await.trim(), "42");

    // What is somebody else's is not theirs, and no notebook hears of the cookie.
    added(&site, "bob");
    let bob = sign_in(&site, "bob", PASSWORD, "").await;
    let bob = Visitor::with_cookie(&site, "bob", &cookie(&bob));
    assert_eq!(bob.get("/notebook/ada/api").await.status, 403);

    // Taken off: the sessions end, the open websocket too.
    site.tell(&["user", "remove", "ada"]);
    channels.until_closed(Duration::from_secs(20)).await;
    assert_eq!(ada.get("/notebook/ada/api").await.status, 401);
    assert_eq!(sign_in(&site, "ada", PASSWORD, "").await.status, 403);
    // Whoever has that name next does not come into the old sessions.
    added(&site, "ada");
    assert_eq!(ada.get("/notebook/ada/api").await.status, 401);
    site.tell(&["notebook", "stop", "--all"]);
}

#[tokio::test]
async fn sessions_end_with_a_new_password_and_with_a_logout() {
    let site = notebooks_alone().start().await;
    added(&site, "ada");
    let [first, second] =
        [sign_in(&site, "ada", PASSWORD, "").await, { sign_in(&site, "ada", PASSWORD, "").await }]
            .map(|answer| Visitor::with_cookie(&site, "ada", &cookie(&answer)));
    let told = first.page("/notebook/-/login").await;
    assert!(told.text().contains("As ada."), "{}", told.text());

    // Out here, but not there; and not by a link.
    let by_link = first.page("/notebook/-/logout").await;
    assert_eq!(by_link.field("set-cookie"), None);
    let out = first.ask("POST", "/notebook/-/logout", "").await;
    assert_eq!(out.status, 303);
    assert!(out.field("set-cookie").unwrap().contains("Max-Age=0"), "{out:?}");
    assert_eq!(first.get("/notebook/ada/api").await.status, 401);
    assert_eq!(second.get("/notebook/ada/api").await.status, 404);

    let changed = user(&site, &["passwd", "ada", "--stdin"], "another horse battery");
    assert!(changed.status.success(), "{changed:?}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while second.get("/notebook/ada/api").await.status != 401 {
        assert!(Instant::now() < deadline, "the session outlives the password");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sign_in(&site, "ada", PASSWORD, "").await.status, 403);
    let again = sign_in(&site, "ada", "another horse battery", "").await;
    assert_eq!(again.status, 303);
}

#[tokio::test]
async fn guessing_is_slow_and_names_nobody() {
    let site = notebooks_alone().start().await;
    added(&site, "ada");
    let [known, unknown] = ["ada", "nobody"].map(|name| (name, "wrong password!"));
    let mut said = Vec::new();
    for (name, password) in [known, unknown] {
        let answer = sign_in(&site, name, password, "").await;
        said.push(format!("{} {}", answer.status, answer.text().replace(name, "NAME")));
    }
    assert_eq!(said[0], said[1], "whether there is such a user is told");
    // The machine may be so busy that the first waits are over before the next attempt.
    for name in ["ada", "nobody"] {
        let deadline = Instant::now() + Duration::from_secs(50);
        let is_long = |answer: &Answer| {
            let wait = answer.field("retry-after").and_then(|wait| wait.parse::<u32>().ok());
            answer.status == 429 && wait.is_some_and(|wait| wait >= 3)
        };
        while !is_long(&sign_in(&site, name, "wrong password!", "").await) {
            assert!(Instant::now() < deadline, "{name} may be guessed on and on");
        }
    }
    let later = sign_in(&site, "nobody", PASSWORD, "").await;
    assert_eq!(later.status, 429, "the right password would wait like the others");
    assert!(later.field("retry-after").is_some());
}

#[tokio::test]
async fn a_form_of_another_site_signs_nobody_in_or_out() {
    let site = notebooks_alone().start().await;
    added(&site, "ada");
    let body = format!("name=ada&password={}", PASSWORD.replace(' ', "+"));
    for path in ["/notebook/-/login", "/notebook/-/logout"] {
        for fields in [
            vec!["Origin: https://evil.example"],
            vec!["Origin: null"],
            vec!["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"],
        ] {
            let mut connection = site.connect().await;
            let answer = connection.ask_with("POST", path, &fields, body.as_bytes()).await;
            assert_eq!(answer.status, 403, "{path} {fields:?}");
            assert_eq!(answer.field("set-cookie"), None);
        }
    }
    for next in ["//evil.example/", "https://evil.example/", "/notebook/%5C/evil.example"] {
        let answer = sign_in(&site, "ada", PASSWORD, next).await;
        assert_eq!(answer.field("location"), Some("/notebook/"), "{next}");
    }
}

#[tokio::test]
async fn short_passwords_and_wrong_names_are_refused_with_a_word() {
    let site = notebooks_alone().start().await;
    let check = |arguments: &[&str], password: &str, expected: &str| {
        let output = user(&site, arguments, password);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    };
    check(&["add", "ada", "--stdin"], "short", "it has 5 characters, and 12 are needed");
    check(&["add", "ada", "--stdin"], "", "no password was given");
    check(&["add", "..", "--stdin"], PASSWORD, "must not be `.` or `..`");
    check(&["passwd", "ada", "--stdin"], PASSWORD, "there is no user `ada`");
    check(&["remove", "ada"], "", "there is no user `ada`");
    check(&["add", "ada", PASSWORD], "", "unexpected argument");
    added(&site, "ada");
    check(&["add", "ada", "--stdin"], PASSWORD, "there is a user `ada` already");
}
