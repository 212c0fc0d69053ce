//! The end of the program: in order, in time, or at once.

use rustix::process::Signal;

use crate::site::{Plan, until};

#[tokio::test]
async fn requests_under_way_are_finished() {
    let site = Plan::new().wsgi("hello").start().await;
    let request = site.begin("/wait/x").await;
    site.until_file("entered-x").await;
    let address = site.address().to_owned();
    site.signal(Signal::TERM);
    site.logs("stopping");
    until("nobody listens", || std::net::TcpStream::connect(&address).is_err()).await;
    assert!(!request.is_finished());
    site.make("release-x");
    request.await.unwrap().shows("waited for x");
    let ended = site.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!ended.log.contains("did not end in time"), "{}", ended.log);
}

#[tokio::test]
async fn the_second_signal_means_now() {
    let site = Plan::new().wsgi("hello").set("limits.drain-time = '10m'").start().await;
    let request = site.begin("/wait/x").await;
    site.until_file("entered-x").await;
    site.signal(Signal::TERM);
    site.logs("stopping");
    site.signal(Signal::TERM);
    let ended = site.ended();
    ended.shows("stopping now");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(request.await.is_err(), "a cut-off request has no answer");
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let site = Plan::new().wsgi("hello").set("limits.drain-time = '300ms'").start().await;
    let request = site.begin("/wait/x").await;
    site.until_file("entered-x").await;
    let ended = site.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(request.await.is_err(), "a cut-off request has no answer");
}

#[tokio::test]
async fn the_command_stop_returns_when_it_has_ended() {
    let mut site = Plan::new().wsgi("hello").start().await;
    assert_eq!(site.tell(&["stop"]), "stopped\n");
    until("it has ended", || !site.is_running()).await;
    let output = site.command(&["stop"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(crate::site::text(&output.stderr).contains("not served now"), "{output:?}");
}

#[tokio::test]
async fn an_end_while_starting_is_an_end() {
    let ended = Plan::new().wsgi("slow_start").run_until("entered-start", Signal::TERM).await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.shows("stopped before the site was ready");
}

#[tokio::test]
async fn a_stop_tells_what_it_waits_for_and_a_second_one_hastens() {
    let site = Plan::new().wsgi("hello").start().await;
    let waiting = site.begin("/wait/long").await;
    site.until_file("entered-long").await;
    let first = site.begin_command(&["stop"]);
    site.logs("stopping: requests under way are finished first");
    let file = site.folder().join("run/stopping");
    crate::site::until("it is told", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("\"requests\":1"))
    })
    .await;
    // The first has told it too by then.
    tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    let second = site.command(&["stop"]);
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stderr));
    assert!(String::from_utf8_lossy(&second.stderr).contains("stopping already"));
    let first = first.await.unwrap();
    let said = String::from_utf8_lossy(&first.stderr).into_owned();
    assert!(said.contains("waiting: 1 request under way"), "{said}");
    assert_eq!(site.ended().code, Some(0));
    assert!(!file.exists());
    waiting.abort();
}
