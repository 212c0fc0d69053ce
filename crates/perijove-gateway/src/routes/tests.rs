//! Finding routes, held against a search that is too simple to be wrong.

use proptest::prelude::*;

use super::*;

/// A route that can be told from others by its redirect's location.
fn route(name: &str) -> Route {
    Route::new(Target::Redirect { status: 302, location: name.into() })
}

fn routes(prefixes: &[(Option<&str>, &str)]) -> Routes {
    let routes = Routes::new();
    for (host, prefix) in prefixes {
        routes.insert(*host, prefix, route(&format!("{}{prefix}", host.unwrap_or_default())));
    }
    routes
}

fn name(found: Found) -> String {
    match found {
        Found::Nothing => "nothing".to_owned(),
        Found::Misdirected => "misdirected".to_owned(),
        Found::Ambiguous => "ambiguous".to_owned(),
        Found::Route(route) => match &route.target {
            Target::Redirect { location, .. } => location.to_string(),
            other => format!("{other:?}"),
        },
    }
}

#[test]
fn the_longest_prefix_of_whole_segments_is_found() {
    let routes = routes(&[(None, "/app"), (None, "/app/deep/"), (None, "/folder/")]);
    let check = |path: &str, expected: &str| {
        assert_eq!(name(routes.find("any", path.as_bytes())), expected, "{path}");
    };
    check("/app", "/app");
    check("/app/", "/app");
    check("/app/x", "/app");
    check("/apple", "nothing");
    check("/app/deep", "/app");
    check("/app/deep/", "/app/deep/");
    check("/app/deep/er", "/app/deep/");
    check("/app/deeper", "/app");
    check("/folder", "nothing");
    check("/folder/", "/folder/");
    check("/folder/x/y", "/folder/");
    check("/", "nothing");
}

#[test]
fn the_nearest_host_comes_first() {
    let routes = routes(&[
        (None, "/"),
        (Some("a.example.com"), "/x/"),
        (Some("*.Example.com"), "/x/"),
        (Some("*.example.com"), "/y/"),
        (Some("*.deep.example.com"), "/x/"),
    ]);
    let check = |host: &str, path: &str, expected: &str| {
        assert_eq!(name(routes.find(host, path.as_bytes())), expected, "{host}{path}");
    };
    check("a.example.com", "/x/", "a.example.com/x/");
    check("a.example.com:80", "/x/", "a.example.com/x/");
    check("a.example.com", "/y/", "*.example.com/y/");
    check("b.example.com", "/x/", "*.Example.com/x/");
    check("b.deep.example.com", "/x/", "*.deep.example.com/x/");
    check("b.deep.example.com", "/y/", "*.example.com/y/");
    check("deep.example.com", "/x/", "*.Example.com/x/");
    check("example.com", "/x/", "/");
    check(".example.com", "/x/", "/");
    check("badexample.com", "/x/", "/");
    check("a.example.com.", "/x/", "a.example.com/x/");
    check("b.example.com.:80", "/x/", "*.Example.com/x/");
    check("", "/x/", "/");
}

#[test]
fn hosts_that_are_not_served_are_told_so() {
    let routes = routes(&[(None, "/"), (Some("www.example.org"), "/")]);
    let known = ["Example.com", "*.example.com"].map(str::to_owned);
    let check = |host: &str, expected: &str| {
        assert_eq!(name(routes.find(host, b"/")), expected, "{host}");
    };
    check("any", "/");
    routes.serve_only(Some(&known));
    check("example.com", "/");
    check("example.com:8000", "/");
    check("a.b.example.com", "/");
    check("www.example.org", "www.example.org/");
    check("example.org", "misdirected");
    check("127.0.0.1:8000", "misdirected");
    check("[::1]:8000", "misdirected");
    check("", "misdirected");
    // Routes come and go; who is served stays.
    routes.insert(None, "/new/", route("new"));
    check("example.org", "misdirected");
    routes.serve_only(None);
    check("example.org", "/");
}

#[test]
fn hosts_come_first() {
    let routes = routes(&[(None, "/"), (Some("A.example"), "/x/"), (None, "/x/y")]);
    let check = |host: &str, path: &str, expected: &str| {
        assert_eq!(name(routes.find(host, path.as_bytes())), expected, "{host}{path}");
    };
    check("a.example", "/x/y", "A.example/x/");
    check("a.example:8000", "/x/1", "A.example/x/");
    check("a.example", "/z", "/");
    check("b.example", "/x/y", "/x/y");
    check("[::1]:8000", "/", "/");
}

#[test]
fn spellings_that_lead_elsewhere_are_refused() {
    let routes = routes(&[(None, "/"), (None, "/admin/"), (None, "/n/ada%40x/")]);
    let check = |path: &str, expected: &str| {
        assert_eq!(name(routes.find("any", path.as_bytes())), expected, "{path}");
    };
    check("/", "/");
    check("/a%20b", "/");
    check("/files/a%2Fb", "/");
    check("/a//b/../c/./d", "/");
    check("/.well-known/x", "/");
    check("/admin/%61", "/admin/");
    check("/admin//x", "/admin/");
    check("/admin/x/../y", "/admin/");
    check("/admin/a%2f..%2fb", "/admin/");
    check("/n/ada%40x/y", "/n/ada%40x/");
    check("/n/ada@x/y", "ambiguous");
    check("/n/%61da%40x/", "ambiguous");
    check("/n/other@x/", "/");
    check("/%61dmin/x", "ambiguous");
    check("//admin/x", "ambiguous");
    check("/x/../admin/y", "ambiguous");
    check("/x/%2e%2e/admin/y", "ambiguous");
    check("/x%2f..%2fadmin/y", "ambiguous");
    check("/x%5c..%5cadmin/y", "ambiguous");
    check("/x\\..\\admin\\y", "ambiguous");
    check("/admin%2fx", "ambiguous");
    check("/admin/../x", "ambiguous");
    check("/admin/..", "ambiguous");
    check("/admin/%2e%2e", "ambiguous");
    // Whoever takes `%2f` for a part of a name sees one segment less to go up by.
    check("/x/y%2fz/../../admin/q", "ambiguous");
    // Whoever keeps empty segments sees one more.
    check("/x//../admin/q", "ambiguous");
    check("/%2561dmin/", "/");
}

#[test]
fn a_service_sees_what_is_sent_to_it() {
    let routes = routes(&[(None, "/n/ada%40x/")]);
    routes.insert(None, "/n/", Route::new(Target::Service(Arc::new(Silent))));
    for path in ["/n//ada%40x/", "/n/ada@x/", "/n/%61da%40x/", "/n/"] {
        assert!(name(routes.find("any", path.as_bytes())).starts_with("Service"), "{path}");
    }
    assert_eq!(name(routes.find("any", b"/n/ada%40x/../y/")), "ambiguous");
}

#[derive(Debug)]
struct Silent;

impl crate::Service for Silent {
    fn call(
        &self,
        _: crate::ServiceRequest,
    ) -> std::pin::Pin<Box<dyn Future<Output = crate::Response> + Send + '_>> {
        Box::pin(async { crate::Response::new(200, "text/plain", "") })
    }
}

#[test]
fn a_removed_route_is_gone() {
    let routes = routes(&[(None, "/a"), (Some("h"), "/a")]);
    assert!(routes.remove(None, "/a"));
    assert!(!routes.remove(None, "/a"));
    assert_eq!(name(routes.find("other", b"/a")), "nothing");
    assert_eq!(name(routes.find("h", b"/a")), "h/a");
}

/// Looks at every prefix in turn.
fn naive(prefixes: &[String], path: &str) -> Option<String> {
    let matches = |prefix: &&String| match prefix.strip_suffix('/') {
        Some(_) => path.starts_with(prefix.as_str()),
        None => path == prefix.as_str() || path.starts_with(&format!("{prefix}/")),
    };
    prefixes.iter().filter(matches).max_by_key(|prefix| prefix.len()).cloned()
}

proptest! {
    #[test]
    fn finding_equals_a_naive_search(
        prefixes in proptest::collection::vec("(/[abc]{1,2}){1,3}/?", 0..8),
        has_root in any::<bool>(),
        path in "(/[abc]{1,2}){1,4}/?",
    ) {
        let mut prefixes = prefixes;
        if has_root {
            prefixes.push("/".to_owned());
        }
        let table = Routes::new();
        for prefix in &prefixes {
            table.insert(None, prefix, route(prefix));
        }
        let expected = naive(&prefixes, &path).unwrap_or("nothing".to_owned());
        prop_assert_eq!(name(table.find("any", path.as_bytes())), expected);
    }

    /// However a path is spelled: what a strict or a lax upstream makes of it lies behind the
    /// route that was found.
    #[test]
    fn no_spelling_slips_past_a_prefix(
        parts in proptest::collection::vec("a|g|b|\\.|\\.\\.|%67|%2e|%2E%2e|%2f|%5c|\\\\|x%2fg", 1..7),
        separators in proptest::collection::vec("/|//", 7),
    ) {
        let table = routes(&[(None, "/"), (None, "/g/")]);
        let path: String = separators.iter().zip(&parts).flat_map(|(s, p)| [s.as_str(), p]).collect();
        let path = path + "/x";
        let found = name(table.find("any", path.as_bytes()));
        let decoded = String::from_utf8(super::spelling::decode(path.as_bytes())).unwrap();
        let mut normal: Vec<&str> = Vec::new();
        for segment in decoded.split(['/', '\\']).filter(|s| !s.is_empty()) {
            match segment {
                "." => {}
                ".." => drop(normal.pop()),
                _ => normal.push(segment),
            }
        }
        let is_guarded = normal.first() == Some(&"g") && normal.len() > 1;
        prop_assert!(found == "ambiguous" || (found == "/g/") == is_guarded, "{} {}", path, found);
    }

    #[test]
    fn any_path_is_answered(path in proptest::collection::vec(any::<u8>(), 0..40)) {
        let table = routes(&[(None, "/"), (None, "/g/")]);
        drop(table.find("any", &path));
    }
}

#[test]
fn a_target_that_reads_as_sent_may_have_a_slash_in_a_name() {
    let routes = routes(&[(None, "/n/"), (None, "/n/a/")]);
    let check = |path: &str, expected: &str| {
        assert_eq!(name(routes.find("any", path.as_bytes())), expected, "{path}");
    };
    routes.insert(None, "/n/a%2Fb/", route("/n/a%2Fb/"));
    check("/n/a%2Fb/x", "ambiguous");
    routes.insert(None, "/n/a%2Fb/", Route { reads_as_sent: true, ..route("/n/a%2Fb/") });
    check("/n/a%2Fb/x", "/n/a%2Fb/");
    check("/n/a%2Fb/%2E%2E/x", "/n/a%2Fb/");
    check("/n/a/b/x", "/n/a/");
    check("/n/a/%2E%2E/x", "ambiguous");
}

/// A guard that can be told from others by what it says.
#[derive(Debug)]
struct Named(&'static str);

impl crate::Guard for Named {
    fn check<'a>(
        &'a self,
        _: crate::Question<'a>,
    ) -> std::pin::Pin<Box<dyn Future<Output = crate::Verdict> + Send + 'a>> {
        let denial = crate::Denial::new(403, self.0);
        Box::pin(async { crate::Verdict::Deny(Box::new(denial)) })
    }
}

fn fence(prefix: &str, guard: Option<&'static str>) -> Fence {
    let guard = guard.map(|name| Arc::new(Named(name)) as Arc<dyn crate::Guard>);
    Fence { prefix: prefix.to_owned(), guard, keeps: vec!["authorization".to_owned()] }
}

#[test]
fn fences_stand_around_what_is_there_and_what_comes_later() {
    let routes = routes(&[(None, "/"), (None, "/app"), (Some("other.example.com"), "/")]);
    routes.fence(vec![
        fence("/", Some("all")),
        fence("/app/deep/", Some("deep")),
        fence("/app/open", None),
    ]);
    routes.insert(
        None,
        "/app/deep/late/",
        Route { guard: Some(Arc::new(Named("own"))), ..route("late") },
    );
    let check = |host: &str, path: &str, expected: &str, guard: &str| {
        let found = routes.find(host, path.as_bytes());
        let Found::Route(route) = &found else { panic!("{path}: {found:?}") };
        let told = route.guard.as_ref().map_or(String::new(), |guard| format!("{guard:?}"));
        assert_eq!(name(found.clone()), expected, "{path}");
        assert_eq!(told, guard, "{path}");
        let has_kept = route.rewrite.remove.contains(&"authorization".to_owned());
        assert_eq!(has_kept, route.guard.is_some(), "{path}");
    };
    check("any", "/x", "/", r#"Named("all")"#);
    check("any", "/app", "/app", r#"Named("all")"#);
    check("any", "/app/deep", "/app", r#"Named("all")"#);
    check("any", "/app/deep/", "/app", r#"Named("deep")"#);
    check("any", "/app/deep/er", "/app", r#"Named("deep")"#);
    check("any", "/app/open", "/app", "");
    check("any", "/app/open/er", "/app", "");
    let both = r#"Both { first: Named("deep"), second: Named("own") }"#;
    check("any", "/app/deep/late/x", "late", both);
    check("other.example.com", "/app/deep/x", "other.example.com/", r#"Named("deep")"#);
    check("other.example.com", "/app", "other.example.com/", r#"Named("all")"#);
    // However it is spelled.
    for path in ["/app/%64eep/x", "/app//deep/x", "/app/x/../deep/x", "/app/open/../deep/x"] {
        assert_eq!(name(routes.find("any", path.as_bytes())), "ambiguous", "{path}");
    }
    routes.fence(Vec::new());
    check("any", "/app/deep/er", "/app", "");
}

#[test]
fn no_spelling_leads_around_a_fence_within_a_route_that_reads_as_sent() {
    let routes = Routes::new();
    routes.insert(None, "/x/", Route { reads_as_sent: true, ..route("x") });
    routes.insert(None, "/x/%61/", route("a"));
    let find = |path: &str| name(routes.find("any", path.as_bytes()));
    assert_eq!(find("/x/%62/"), "x");
    routes.fence(vec![fence("/x/a/", Some("a")), fence("/x/b/", Some("b"))]);
    assert_eq!(find("/x/%62/"), "ambiguous");
    assert_eq!(find("/x/%61/"), "a");
    assert_eq!(find("/x/b/"), "x");
}
