//! Reading tells every mistake at once, and only mistakes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Entry, Value, read};
use crate::config::{entry::Origin, text};

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Settings {
    listen: Vec<String>,
    name: Option<String>,
    workers: u8,
    load: f64,
    mode: Mode,
    inner: Inner,
    route: Vec<Route>,
    environment: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Quick,
    Thorough,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Inner {
    is_on: bool,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Route {
    path: String,
    #[serde(default)]
    limit: u64,
}

fn check(toml: &str, expected: &[&str]) -> Settings {
    let (mut root, _) = text::parse("f", toml);
    let (settings, mistakes) = read::<Settings>(&mut root);
    let shown: Vec<String> = mistakes.sorted().iter().map(ToString::to_string).collect();
    assert_eq!(shown, expected, "{toml}");
    settings.unwrap()
}

#[test]
fn what_is_right_is_read() {
    let settings = check(
        "listen = ['a', 'b']\nworkers = 3\nload = 1.5\nmode = 'thorough'\n\
         [inner]\nis-on = true\n[[route]]\npath = '/x'\n[environment]\nA_b = 'c'\n",
        &[],
    );
    assert_eq!(settings.listen, ["a", "b"]);
    assert_eq!((settings.workers, settings.load, settings.mode), (3, 1.5, Mode::Thorough));
    assert!(settings.inner.is_on);
    assert_eq!(settings.route, [Route { path: "/x".to_owned(), limit: 0 }]);
    assert_eq!(settings.environment.get("A_b").map(String::as_str), Some("c"));
}

#[test]
fn all_mistakes_are_told_with_their_lines() {
    let settings = check(
        "workers = 'many'\nlsiten = []\nload = 2.5\nmode = 'thoruogh'\n[inner]\nison = 1\n",
        &[
            "f:1: `workers`: expects a whole number that is not negative and fits, not the text \"many\"",
            "f:2: `lsiten` is not a setting\n  hint: did you mean `listen`?",
            "f:4: `mode`: `thoruogh` is none of `quick`, `thorough`\n  hint: did you mean `thorough`?",
            "f:6: `inner.ison` is not a setting\n  hint: did you mean `inner.is-on`?",
        ],
    );
    assert!((settings.load - 2.5).abs() < f64::EPSILON);
}

#[test]
fn one_mistake_does_not_make_another() {
    check("[[route]]\npath = 5\n", &["f:2: `route[0].path`: expects text, not the number 5"]);
    check("[[route]]\nlimit = 5\n", &["f:1: `route[0]`: `path` is missing"]);
    check(
        "[[route]]\npaht = '/'\n",
        &["f:2: `route[0].paht` is not a setting\n  hint: did you mean `route[0].path`?"],
    );
    check(
        "workers = 300\n",
        &[
            "f:1: `workers`: expects a whole number that is not negative and fits, not the number 300",
        ],
    );
    check("inner = 3\n", &["f:1: `inner`: expects a table, not the number 3"]);
}

#[test]
fn words_of_the_environment_take_the_type_that_is_wanted() {
    let mut root = Entry::empty();
    let mut put = |keys: &[&str], raw: &str| {
        let origin = Origin::Environment("V".into());
        root.put(keys, Entry::new(Value::Raw(raw.to_owned()), origin));
    };
    put(&["listen"], "a, b");
    put(&["name"], "5");
    put(&["workers"], "7");
    put(&["mode"], "thorough");
    put(&["inner", "is-on"], "true");
    put(&["environment"], "{ X = 'y' }");
    put(&["load"], "heavy");
    let (settings, mistakes) = read::<Settings>(&mut root);
    let settings = settings.unwrap();
    assert_eq!(settings.listen, ["a", "b"]);
    assert_eq!(settings.name.as_deref(), Some("5"));
    assert_eq!((settings.workers, settings.mode), (7, Mode::Thorough));
    assert!(settings.inner.is_on);
    assert_eq!(settings.environment.get("X").map(String::as_str), Some("y"));
    assert_eq!(
        mistakes.to_string(),
        "the configuration has a mistake\nV: `load`: expects a number, not the text \"heavy\""
    );
}
