//! Starts that fail, each with a reason that helps.

use std::net::TcpListener;

use crate::site::Plan;

#[test]
fn an_application_that_cannot_be_imported_stops_the_start() {
    let ended = Plan::new().wsgi("broken").run();
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    ended.shows("the application app:application cannot be loaded");
    ended.shows("| ModuleNotFoundError: No module named 'a_module_that_is_not_there'");
    ended.shows("hint: ");
}

#[test]
fn an_application_that_is_not_in_its_file_stops_the_start() {
    let ended = Plan::new().wsgi("hello").set("site.app = 'app:missing'").run();
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    ended.shows("missing");
}

#[test]
fn a_taken_port_is_told_with_who_has_it() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let ended = Plan::new().wsgi("hello").argument("--listen").argument(&address).run();
    assert_eq!(ended.code, Some(69), "{}", ended.log);
    ended.shows(&format!("{address} is in use by another program"));
    ended.shows(&format!("(process {}) listens there", std::process::id()));
}

#[test]
fn a_missing_python_is_told() {
    let ended = Plan::new().wsgi("hello").set("site.python = 'env/bin/python'").run();
    assert_eq!(ended.code, Some(69), "{}", ended.log);
    ended.shows("there is no Python at ");
    ended.shows("hint: make a virtual environment there");
}

#[test]
fn a_python_that_does_not_work_is_told() {
    let plan =
        Plan::new().wsgi("hello").file("env/bin/python", "#!/bin/sh\necho odd >&2\nexit 3\n");
    let python = plan.folder().join("env/bin/python");
    std::fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let ended = plan.set("site.python = 'env'").run();
    assert_eq!(ended.code, Some(69), "{}", ended.log);
    ended.shows("does not work as a Python");
    ended.shows("odd");
}

#[test]
fn a_missing_package_is_told() {
    let ended = Plan::new().wsgi("hello").variable("PERIJOVE_PACKAGE", "/nowhere").run();
    assert_eq!(ended.code, Some(69), "{}", ended.log);
    ended.shows("there is no Python package of perijove in /nowhere");
    ended.shows("hint: ");
}

#[test]
fn every_mistake_is_told_before_anything_starts() {
    let ended = Plan::new().wsgi("hello").set("site.wrokers = 3").set("site.threads = 'x'").run();
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    ended.shows("error: the configuration has 2 mistakes");
    ended.shows("did you mean `site.workers`?");
    assert!(!ended.log.contains("INFO"), "{}", ended.log);
}

#[tokio::test]
async fn a_site_is_not_served_twice() {
    let site = Plan::new().wsgi("hello").start().await;
    let output = site.command(&["serve"]);
    assert_eq!(output.status.code(), Some(69));
    let told = crate::site::text(&output.stderr);
    assert!(told.contains("this site is served already, by process"), "{told}");
    site.get("/").await.shows("hello");
}

#[test]
fn a_wrong_command_line_is_64() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_perijove"))
        .args(["serve", "--no-such-flag"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stdout.is_empty());
}
