//! A running site takes over changes, or goes on as it was.

use rustix::process::Signal;

use crate::site::Plan;

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
    assert!(told.contains("a change of `threads` needs a restart"), "{told}");
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
