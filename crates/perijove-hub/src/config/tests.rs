//! What settings mean, and what is said about wrong ones.

use std::{path::PathBuf, time::Duration};

use super::{Config, Lapse, Plan, Setting, Surroundings};

fn around() -> Surroundings {
    Surroundings {
        is_alone: false,
        hosts: Vec::new(),
        has_site: true,
        base: "/site".into(),
        state_folder: "/state".into(),
        runtime_folder: "/run/p".into(),
        python: Some("/site/.venv/bin/python".into()),
        package: "/lib/perijove".into(),
        guardian: "/bin/perijove".into(),
    }
}

fn plan(json: &str) -> Plan {
    serde_json::from_str::<Config>(json).unwrap().resolve(&around()).unwrap()
}

fn check_mistakes(json: &str, expected: &[&str]) {
    let config = serde_json::from_str::<Config>(json).unwrap();
    let mistakes = config.resolve(&around()).unwrap_err();
    let told: Vec<_> = mistakes.iter().map(|m| format!("{} {}", m.key, m.problem)).collect();
    assert_eq!(told, expected, "{json}");
}

#[test]
fn nothing_written_has_a_meaning() {
    let plan = plan("{}");
    assert_eq!(plan.path, "/notebook/");
    assert_eq!(plan.folder, Setting::Default(PathBuf::from("/state/folders")));
    assert_eq!(plan.python, PathBuf::from("/site/.venv/bin/python"));
    assert_eq!(plan.kill_timeout, Setting::Default(Duration::ZERO));
    assert_eq!(plan.start_timeout, Duration::from_secs(60));
}

#[test]
fn paths_begin_at_the_file_and_spans_have_units() {
    let plan = plan(
        r#"{"folder": "./nb", "python": "env/bin/python", "kill-timeout": "8h",
        "path": "/shells", "allow-origin": ["https://WWW.example.com:443"]}"#,
    );
    assert_eq!(plan.folder, Setting::Written(PathBuf::from("/site/nb")));
    assert_eq!(plan.python, PathBuf::from("/site/env/bin/python"));
    assert_eq!(plan.kill_timeout, Setting::Written(Duration::from_secs(8 * 3600)));
    assert_eq!(plan.path, "/shells/");
    assert_eq!(plan.allow_origin, ["https://www.example.com"]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    check_mistakes(
        r#"{"domain": "*.nb.example.com", "allow-from": ["here"], "embed": ["x"], "path": "notebook",
            "authority": "nobody", "site-paths": ["a/b"], "allow-origin": ["*", "nonsense"],
            "arguments": ["--ServerApp.base_url=/x", "--debug"], "max-notebooks": 0}"#,
        &[
            "notebook.path must begin with a slash",
            "notebook.authority must be \"site\", \"login\" or \"ticket\", not \"nobody\"",
            "notebook.site-paths \"a/b\" must be one word, such as \"shutdown\"",
            "notebook.allow-origin must not be \"*\"",
            "notebook.allow-origin \"nonsense\" is no origin",
            "notebook.domain \"*.nb.example.com\" does not say whose a host is",
            "notebook.embed \"x\" is no origin",
            "notebook.allow-from \"here\" is no address and no network",
            "notebook.arguments must not hold `--ServerApp.base_url=/x`: perijove sets that itself",
            "notebook.max-notebooks must be at least 1",
        ],
    );
    check_mistakes(r#"{"path": "/"}"#, &["notebook.path must not be the root of the site"]);
    check_mistakes(
        r#"{"path": "/a.b/"}"#,
        &["notebook.path may hold letters, digits, `-`, `_` and single slashes only"],
    );
}

#[test]
fn what_the_site_hands_over_ranks_below_the_file() {
    let written = Setting::Written(1);
    let default = Setting::Default(1);
    assert_eq!((written.over(Some(&2)), default.over(Some(&2)), default.over(None)), (1, 2, 1));
    assert!(written.conflicts(Some(&2)) && !written.conflicts(Some(&1)));
    assert!(!default.conflicts(Some(&2)) && !written.conflicts(None));
}

fn check_span(text: &str, seconds: Option<f64>) {
    let read = Lapse::parse(text).map(|lapse| lapse.0.as_secs_f64());
    assert_eq!(read, seconds, "{text}");
}

#[test]
fn spans_of_time() {
    check_span("0", Some(0.0));
    check_span("90", Some(90.0));
    check_span("90s", Some(90.0));
    check_span("1h30m", Some(5400.0));
    check_span("2d", Some(172_800.0));
    check_span("250ms", Some(0.25));
    check_span("8 h", None);
    check_span("h", None);
    check_span("", None);
    check_span("-1s", None);
    check_span("99999999999999999999d", None);
    check_span("9999999d", None);
}

#[test]
fn what_cannot_keep_notebooks_apart_is_told() {
    check_mistakes(
        r#"{"share": ["/state/notebooks", "ok", "/run/p"], "network": false, "sandbox": "none",
            "accounts": {"ada": "ada"}, "create-accounts": true,
            "limits": {"memory": "1M", "cpu": 0, "processes": 1, "files": 3}}"#,
        &[
            "notebook.share /state/notebooks lies in /state, which is nobody's",
            "notebook.share /run/p lies in /run/p, which is nobody's",
            "notebook.network can only be kept from notebooks by bubblewrap",
            "notebook.accounts means nothing without `run-as`",
            "notebook.create-accounts means nothing without `run-as`",
            "notebook.limits.memory must be at least 64M: Jupyter itself needs as much",
            "notebook.limits.cpu must be a number of processors, 0.01 or more",
            "notebook.limits.processes must be at least 16",
            "notebook.limits.files must be at least 256",
        ],
    );
    let mut accounts = vec![
        "notebook.run-as \"Nb {user}\" makes no name of an account",
        "notebook.accounts \"A B\" is no name of an account",
    ];
    if !rustix::process::geteuid().is_root() {
        accounts.insert(0, "notebook.run-as needs root: nobody else can become another account");
    }
    check_mistakes(r#"{"run-as": "Nb {user}", "accounts": {"ada": "A B"}}"#, &accounts);
}

#[test]
fn limits_have_units() {
    let plan = plan(
        r#"{"limits": {"memory": "2G", "cpu": 0.5, "processes": 256, "files": 1024},
            "share": ["data"], "sandbox": "none"}"#,
    );
    let limits = plan.isolation.limits;
    assert_eq!((limits.memory, limits.cpu), (Some(2 << 30), Some(500)));
    assert_eq!((limits.processes, limits.files), (Some(256), Some(1024)));
    assert_eq!(plan.isolation.share, [PathBuf::from("/site/data")]);
}

#[test]
fn a_domain_is_another_one_than_the_sites() {
    let check = |json: &str, hosts: &[&str], expected: &[&str]| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let config = serde_json::from_str::<Config>(json).unwrap();
        let told = match config.resolve(&Surroundings { hosts, ..around() }) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.iter().map(|m| format!("{} {}", m.key, m.problem)).collect(),
        };
        assert_eq!(told, expected, "{json}");
    };
    let shared = r#"{"domain": "https://nb.example.com"}"#;
    check(shared, &[], &[]);
    check(shared, &["www.example.com"], &[]);
    check(shared, &["*.example.com"], &[]);
    let own = "notebook.domain is the site's own: NB.example.com is one of its hosts";
    check(shared, &["www.example.com", "NB.example.com"], &[own]);
    let each = r#"{"domain": "https://{user}.nb.example.com"}"#;
    check(each, &["www.example.com"], &[]);
    let all = "notebook.domain is the site's own: *.nb.example.com is one of its hosts";
    check(each, &["*.nb.example.com"], &[all]);
    let over = "notebook.domain is the site's own: nb.example.com is one of its hosts";
    check(each, &["nb.example.com"], &[over]);
    let plain = "notebook.domain is plain HTTP";
    check(r#"{"domain": "http://nb.example.com"}"#, &[], &[plain]);
    check(r#"{"domain": "http://nb.example.com", "insecure": true}"#, &[], &[]);
    check(r#"{"domain": "http://{user}.nb.localhost:8000"}"#, &[], &[]);
    let where_ = "notebook.embed does not say where the site is";
    check(r#"{"domain": "https://nb.example.com", "embed": true}"#, &["*.example.com"], &[where_]);
}

#[test]
fn frames_are_of_the_site_or_of_those_who_are_named() {
    let check = |json: &str, expected: &[&str], is_framed: bool| {
        let around = Surroundings { hosts: vec!["www.example.com".into()], ..around() };
        let plan = serde_json::from_str::<Config>(json).unwrap().resolve(&around).unwrap();
        assert_eq!(plan.embed, expected, "{json}");
        assert_eq!(
            (plan.is_framed(), plan.ancestors().is_some()),
            (is_framed, !expected.is_empty())
        );
    };
    check("{}", &[], false);
    check(r#"{"embed": false}"#, &[], false);
    check(r#"{"embed": true}"#, &["'self'"], false);
    let named = &["'self'", "https://www.example.com"];
    check(r#"{"embed": ["https://WWW.example.com:443/"]}"#, named, true);
    check(r#"{"embed": true, "domain": "nb.example.com"}"#, named, true);
    let with_port = &["'self'", "https://www.example.com:8443"];
    check(r#"{"embed": true, "domain": "{user}.nb.example.com:8443"}"#, with_port, true);
}
