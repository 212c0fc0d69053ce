//! The hash follows the caller's content and nothing else.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ContextError, LaunchRequest, Name};

fn parse(body: &str) -> LaunchRequest {
    LaunchRequest::parse(body.as_bytes()).unwrap()
}

fn check_same(a: &str, b: &str) {
    assert_eq!(parse(a).hash, parse(b).hash, "{a} {b}");
}

fn check_other(a: &str, b: &str) {
    assert_ne!(parse(a).hash, parse(b).hash, "{a} {b}");
}

#[test]
fn equal_contents_have_equal_hashes() {
    // A fixed value: the hash must not change with a version, or every notebook would restart.
    assert_eq!(
        parse(r#"{"startup": "a = 1\n", "greeting": "hello"}"#).hash,
        "66337b97aee74f9752b27dfbb79c2cc7c3606991c06f01f9b04445b9524f88c9"
    );
    check_same("", "{}");
    check_same(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#, r#"{"b": {"d": 3, "c": 2}, "a": 1}"#);
    check_same("{}", r#"{"startup": "", "greeting": null, "environment": {}}"#);
    check_same("{}", r#"{"settings": {"folder": "/x", "kill-timeout": 60}, "path": "a.ipynb"}"#);
    check_other(r#"{"startup": "a"}"#, r#"{"startup": "b"}"#);
    check_other(r#"{"greeting": "a"}"#, r#"{"startup": "a"}"#);
    check_other("{}", r#"{"mine": null, "other": 1}"#);
    check_other(r#"{"a": -1}"#, r#"{"a": -2}"#);
    check_other(r#"{"a": "1"}"#, r#"{"a": 1}"#);
}

#[test]
fn an_explicit_hash_wins() {
    check_same(r#"{"context_hash": 7, "startup": "a"}"#, r#"{"context_hash": "7"}"#);
    check_other(r#"{"context_hash": -7}"#, r#"{"context_hash": 7}"#);
    check_same(r#"{"context_hash": null, "startup": "a"}"#, r#"{"startup": "a"}"#);
}

#[test]
fn the_first_notebook_follows_greeting_and_hash() {
    let file = |body| {
        let launch = parse(body);
        launch.context.notebook_file(&Name::first(), &launch.hash)
    };
    let old = file(r#"{"context_hash": 1, "greeting": "a"}"#);
    assert_eq!(old, file(r#"{"context_hash": 1, "greeting": "a", "startup": "b"}"#));
    assert_ne!(old, file(r#"{"context_hash": 1, "greeting": "b"}"#));
    assert_ne!(old, file(r#"{"context_hash": -1, "greeting": "a"}"#));
    assert!(old.starts_with("default-") && old.len() == "default-1a2b3c4d.ipynb".len(), "{old}");
}

#[test]
fn what_the_site_hands_over_is_read() {
    let launch = parse(r#"{"settings": {"folder": "/srv/nb", "kill-timeout": 3600}}"#);
    assert_eq!(launch.settings.folder, Some("/srv/nb".into()));
    assert_eq!(launch.settings.kill_timeout, Some(Duration::from_secs(3600)));
    let launch = parse(r#"{"extra": {"kept": [1, 2]}, "environment": {"A": "b"}}"#);
    assert_eq!(launch.context.rest.get("extra"), Some(&json!({"kept": [1, 2]})));
    assert_eq!(launch.context.environment.get("A").map(String::as_str), Some("b"));
}

fn check_refused(body: &str, expected: &str) {
    let error: ContextError = LaunchRequest::parse(body.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), expected, "{body}");
}

#[test]
fn what_is_no_launch_is_refused() {
    check_refused("[]", "the body of a launch must be a JSON object");
    check_refused("{", "the body of a launch must be a JSON object");
    check_refused(r#"{"startup": 1}"#, "`startup` must be Python source as text");
    check_refused(r#"{"context_hash": 1.5}"#, "`context_hash` must be a text or a whole number");
    check_refused(
        r#"{"extra_template_paths": "x"}"#,
        "`extra_template_paths` must be a list of folders",
    );
    check_refused(
        r#"{"environment": {"A=B": "c"}}"#,
        "`environment` must be an object of variables with text as values",
    );
    check_refused(
        r#"{"settings": {"folder": "nb"}}"#,
        "`settings.folder` must be an absolute path",
    );
    check_refused(
        r#"{"settings": {"kill-timeout": -1}}"#,
        "`settings.kill-timeout` must be a number of seconds",
    );
    check_refused(
        r#"{"path": "../x"}"#,
        "`path` must be a file below the user's folder, such as \"work/sales.ipynb\"",
    );
    check_refused(r#"{"when-busy": "never"}"#, "`when-busy` must be \"ask\" or \"replace\"");
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("x[a-z]{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_hash_survives_being_written_and_read(value in json()) {
        let body = json!({"mine": value});
        let again: Value = serde_json::from_str(&serde_json::to_string_pretty(&body).unwrap()).unwrap();
        let hash = |v: &Value| LaunchRequest::parse(v.to_string().as_bytes()).unwrap().hash;
        prop_assert_eq!(hash(&body), hash(&again));
    }

    #[test]
    fn other_contents_have_other_hashes(a in json(), b in json()) {
        prop_assume!(a != b);
        let hash = |v: Value| LaunchRequest::parse(json!({"m": [v]}).to_string().as_bytes()).unwrap().hash;
        prop_assert_ne!(hash(a), hash(b));
    }
}
