//! A running site takes over changes, or goes on as it was.

use rustix::process::Signal;

use crate::site::{Connection, Plan, Site, until};

/// The same site in another version. Python takes a file of the same length and second for the one
/// it knows, so no two versions have names of one length.
fn version(number: &str) -> String {
    include_str!("apps/hello.py").replace("VERSION = \"one\"", &format!("VERSION = \"{number}\""))
}

#[tokio::test]
async fn new_code_serves_when_reload_returns() {
    let site = Plan::new().wsgi("hello").start().await;
    site.get("/version").await.shows("one");
    let under_way = site.begin("/wait/x").await;
    site.until_file("entered-x").await;
    site.write("app.py", version("two, which is longer"));
    assert_eq!(site.tell(&["reload"]), "reloaded\n");
    site.get("/version").await.shows("two");
    site.make("release-x");
    under_way.await.unwrap().shows("waited for x");
}

#[tokio::test]
async fn code_that_does_not_load_changes_nothing() {
    let site = Plan::new().wsgi("hello").start().await;
    site.write("app.py", include_str!("apps/broken.py"));
    let output = site.command(&["reload"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let told = crate::site::text(&output.stderr);
    assert!(told.contains("a_module_that_is_not_there"), "{told}");
    assert!(told.contains("the old version still serves"), "{told}");
    site.get("/version").await.shows("one");
}

#[tokio::test]
async fn a_broken_configuration_changes_nothing() {
    let site = Plan::new().wsgi("hello").start().await;
    site.configure("site.thread = 2");
    let output = site.command(&["reload"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(crate::site::text(&output.stderr).contains("did you mean `site.threads`?"));
    site.get("/").await.shows("hello");
    // Even then it can be asked and stopped.
    assert_eq!(site.tell(&["stop"]), "stopped\n");
}

#[tokio::test]
async fn what_needs_a_restart_is_named() {
    let site = Plan::new().wsgi("hello").start().await;
    site.configure("threads = 7");
    let output = site.command(&["reload"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let told = crate::site::text(&output.stderr);
    assert!(told.contains("a change of `threads` needs a new process"), "{told}");
}

#[tokio::test]
async fn routes_and_workers_change() {
    let site = Plan::new().wsgi("hello").file("manual/index.html", "read me").start().await;
    site.get("/manual/").await.is(404);
    site.configure("route = [{ path = '/manual/', folder = 'manual' }]");
    site.tell(&["reload"]);
    site.get("/manual/").await.shows("read me");
    assert_eq!(site.status()["application"]["generation"], 2);
}

#[tokio::test]
async fn hang_up_means_reload() {
    let site = Plan::new().wsgi("hello").start().await;
    site.write("app.py", version("three"));
    site.signal(Signal::HUP);
    site.logs("reloaded");
    site.get("/version").await.shows("three");
}

#[tokio::test]
async fn no_request_is_lost_while_reloading() {
    let site = Plan::new().wsgi("hello").start().await;
    let (address, stop) = (site.address().to_owned(), tokio_util::sync::CancellationToken::new());
    let visiting = {
        let stop = stop.clone();
        tokio::spawn(async move {
            let mut connection = crate::site::Connection::to(&address).await;
            let mut count = 0;
            while !stop.is_cancelled() {
                connection.ask("GET", "/", b"").await.shows("hello");
                count += 1;
            }
            count
        })
    };
    for number in 2..5 {
        let reloaded = site.begin_command(&["reload"]).await.unwrap();
        assert!(reloaded.status.success(), "{number}: {reloaded:?}");
    }
    stop.cancel();
    assert!(visiting.await.unwrap() > 0);
}

#[tokio::test]
async fn a_link_to_the_version_in_use_is_followed_anew() {
    let release = |number: &str| version(number).replace("def hello", "import os\n\n\ndef hello");
    let site = Plan::new()
        .wsgi("hello")
        .file("releases/1/app.py", release("first"))
        .file("releases/1/public/which.txt", "files of the first")
        .link("current", "releases/1")
        .set("site.root = 'current'")
        .start()
        .await;
    site.get("/version").await.shows("first");
    site.get("/which.txt").await.shows("files of the first");
    let under_way = site.begin("/wait/x").await;
    until("it waits", || site.folder().join("releases/1/entered-x").exists()).await;
    site.write("releases/2/app.py", release("the second"));
    site.write("releases/2/public/which.txt", "files of the second");
    site.link("current", "releases/2");
    // Until it is told, the first goes on.
    site.get("/version").await.shows("first");
    site.tell(&["reload"]);
    site.get("/version").await.shows("the second");
    site.get("/which.txt").await.shows("files of the second");
    // The old worker is still where it was.
    site.write("releases/1/release-x", "");
    under_way.await.unwrap().shows("waited for x");
    let root = site.status()["root"].as_str().unwrap().to_owned();
    assert!(root.ends_with("releases/2"), "{root}");
}

#[tokio::test]
async fn another_python_takes_over() {
    let site = Plan::new().wsgi("hello").start().await;
    let before = site.status()["application"]["python"].as_str().unwrap().to_owned();
    let made = std::process::Command::new(before)
        .args(["-m", "venv", "--without-pip"])
        .arg(site.folder().join("other"))
        .status()
        .unwrap();
    assert!(made.success());
    site.configure("site.python = 'other/bin/python'");
    site.tell(&["reload"]);
    let after = site.status()["application"]["python"].as_str().unwrap().to_owned();
    assert!(after.ends_with("other/bin/python"), "{after}");
    site.get("/").await.shows("hello");
}

#[tokio::test]
async fn a_reload_tells_what_it_does() {
    let site = Plan::new()
        .wsgi("hello")
        .set("site.workers = 2")
        .set("site.health = '/version'")
        .start()
        .await;
    let under_way = site.begin("/wait/x").await;
    site.until_file("entered-x").await;
    let output = site.command(&["reload"]);
    let told = crate::site::text(&output.stderr);
    // Both may be ready at once.
    let steps: Vec<&str> = told.lines().filter(|line| *line != "1/2 ready").collect();
    assert_eq!(
        steps,
        [
            "starting 2 workers of app:application; /version must answer",
            "2/2 ready",
            "switched app:application; 1 request of the old version still running",
        ]
    );
    site.make("release-x");
    under_way.await.unwrap().shows("waited for x");
    let reloads = &site.status()["reloads"];
    assert_eq!((&reloads["done"], &reloads["failed"]), (&1.into(), &0.into()));
}

#[tokio::test]
async fn one_by_one_there_is_never_more_than_one_worker_too_many() {
    let site = Plan::new()
        .wsgi("hello")
        .set("site.workers = 3")
        .set("site.rollout = 'one-by-one'")
        .set("site.probation = '50ms'")
        .start()
        .await;
    until("all serve", || serving(&site).len() == 3).await;
    site.write("app.py", version("two, which is longer"));
    let reload = site.begin_command(&["reload"]);
    let (mut most, mut least) = (0, usize::MAX);
    while !reload.is_finished() {
        let workers = site.workers().len();
        (most, least) = (most.max(workers), least.min(serving(&site).len()));
        site.get("/").await.shows("hello");
    }
    let told = crate::site::text(&reload.await.unwrap().stderr);
    assert!(told.contains("starting 3 workers of app:application, one by one"), "{told}");
    assert!((3..=4).contains(&most) && least >= 2, "{least} to {most}");
    site.get("/version").await.shows("two");
    assert_eq!(site.status()["application"]["generation"], 2);
}

#[tokio::test]
async fn one_by_one_a_version_that_fails_leaves_the_old_one_as_it_was() {
    let site = Plan::new()
        .wsgi("hello")
        .set("site.workers = 3")
        .set("site.rollout = 'one-by-one'")
        .set("site.probation = '50ms'")
        .start()
        .await;
    until("all serve", || serving(&site).len() == 3).await;
    let before = serving(&site);
    // The first one fails: nothing has changed.
    site.write("app.py", include_str!("apps/broken.py"));
    assert_eq!(site.command(&["reload"]).status.code(), Some(78));
    until("nothing is left of it", || site.workers() == before).await;
    // The second one fails, when an old one has gone already: it is brought back.
    let once = "import os\nif os.path.exists('started'):\n    raise RuntimeError('only once')\n\
                open('started', 'w').close()\n";
    site.write("app.py", format!("{once}{}", version("one that starts once")));
    let reload = site.begin_command(&["reload"]);
    until("the first one has started", || site.folder().join("started").exists()).await;
    // What is brought back finds the old code, as in a folder of its own.
    site.logs("RuntimeError");
    site.write("app.py", version("one, once more"));
    let output = reload.await.unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    until("three serve", || serving(&site).len() == 3 && site.workers().len() == 3).await;
    assert_eq!(site.status()["application"]["generation"], 1);
    site.get("/version").await.shows("one");
}

fn serving(site: &Site) -> Vec<i32> {
    let status = site.status();
    let workers = status["application"]["workers"].as_array().unwrap();
    let serving = workers.iter().filter(|worker| worker["phase"] == "serving");
    serving.map(|worker| worker["pid"].as_i64().unwrap() as i32).collect()
}

/// Adds lines to the configuration, and has them taken over.
fn reload_with(site: &Site, lines: &str) {
    site.configure(lines);
    assert_eq!(site.tell(&["reload"]), "reloaded\n");
}

async fn status_at(address: &str) -> u16 {
    Connection::to(address).await.ask("GET", "/", b"").await.status
}

/// Replaces a line of the configuration that begins so.
fn replace(site: &Site, beginning: &str, line: &str) {
    let path = site.folder().join("perijove.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let known = text.lines().map(|known| if known.starts_with(beginning) { line } else { known });
    let text = known.collect::<Vec<_>>().join("\n") + "\n";
    std::fs::write(path, text).unwrap();
}

#[tokio::test]
async fn listeners_come_and_go() {
    let first = crate::site::free_address();
    let (second, third) = (crate::site::free_address(), crate::site::free_address());
    let listen = |addresses: &[&str]| format!("listen = {addresses:?}");
    let plan = Plan::new().wsgi("hello").set(&listen(&[&first, &second]));
    let site = plan.start().await;
    let mut kept = Connection::to(&first).await;
    kept.ask("GET", "/", b"").await.shows("hello");
    assert_eq!(status_at(&second).await, 200);

    replace(&site, "listen", &listen(&[&first, &third]));
    site.tell(&["reload"]);
    assert_eq!(status_at(&first).await, 200);
    assert_eq!(status_at(&third).await, 200);
    until("the second is closed", || std::net::TcpStream::connect(&second).is_err()).await;
    // A connection of before is answered once more, and told that it was the last time.
    let last = kept.ask("GET", "/", b"").await;
    last.shows("hello");
    assert_eq!(last.field("connection"), Some("close"));
    let told = site.status()["addresses"].to_string();
    assert!(told.contains(&third) && !told.contains(&second), "{told}");

    // One that cannot be opened changes nothing.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    replace(&site, "listen", &listen(&[&first, &taken]));
    let output = site.command(&["reload"]);
    assert!(crate::site::text(&output.stderr).contains(&taken), "{output:?}");
    assert_eq!(status_at(&third).await, 200);
}

#[tokio::test]
async fn https_comes_and_goes() {
    let address = crate::site::free_address();
    let plan = Plan::new().wsgi("hello").set(&format!("listen = ['{address}']"));
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let plan = plan.file("cert.pem", certified.cert.pem());
    let site = plan.file("key.pem", certified.signing_key.serialize_pem()).start().await;
    assert_eq!(status_at(&address).await, 200);
    let before = std::fs::read_to_string(site.folder().join("perijove.toml")).unwrap();
    reload_with(&site, "tls = { certificate = 'cert.pem', key = 'key.pem' }");
    assert!(site.status()["addresses"].to_string().contains("https://"));
    // Plain HTTP is not understood any more.
    let mut plain = Connection::to(&address).await;
    plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(plain.try_answer(false).await.is_none_or(|answer| answer.status == 400));
    site.write("perijove.toml", before);
    site.tell(&["reload"]);
    assert_eq!(status_at(&address).await, 200);
}

#[tokio::test]
async fn limits_pages_and_logs_change() {
    let plan = Plan::new().wsgi("hello").set("site.wait = '10s'").set("log.access = 'off'");
    let site = plan.file("pages/404.html", "a page of ours").start().await;
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nLong: {}\r\n\r\n", "x".repeat(4000));
    let ask = async || {
        let mut connection = site.connect().await;
        connection.send(long.as_bytes()).await;
        connection.answer(false).await
    };
    ask().await.is(200);
    let more = "limits.head = '2K'\nsite.error-pages = 'pages'\nlog.level = 'debug'\n\
                log.access-file = 'access.log'";
    replace(&site, "log.access", "log.access = 'text'");
    reload_with(&site, more);
    ask().await.is(431);
    replace(&site, "site.wait", "site.wait = '200ms'");
    site.tell(&["reload"]);
    site.get("/version").await.is(200);
    let log = site.folder().join("access.log");
    let told = || std::fs::read_to_string(&log).unwrap_or_default().contains("GET /version");
    until("the request stands in the log", told).await;
    // The one worker is taken: who waits is told so after the new time.
    replace(&site, "site.workers", "site.workers = 1\nsite.threads = 1");
    site.tell(&["reload"]);
    let busy = site.begin("/wait/x").await;
    site.until_file("entered-x").await;
    site.get("/").await.is(503);
    site.make("release-x");
    busy.await.unwrap().shows("waited");
}

#[tokio::test]
async fn a_site_becomes_files_and_an_application_again() {
    let plan = Plan::new().wsgi("hello").file("public/index.html", "files alone");
    let site = plan.set("site.static = [{ path = '/files/', folder = 'public' }]").start().await;
    site.get("/").await.shows("hello");
    let other = Plan::new().wsgi("hello").start().await;
    let elsewhere = format!("site.upstream = 'http://{}'", other.address());
    reload_with(&site, &elsewhere);
    site.get("/pid").await.shows(&other.get("/pid").await.text());
    until("its workers have ended", || site.status()["application"].is_null()).await;
    replace(&site, "site.upstream", "");
    site.tell(&["reload"]);
    let pid = site.get("/pid").await.text();
    assert_eq!(pid, site.workers()[0].to_string());
}
