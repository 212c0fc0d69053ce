use std::sync::Arc;

use bytes::BytesMut;
use proptest::prelude::*;

use super::{AnswerFields, HostName, Kind, Onward, kind, push_forwarded};
use crate::{Client, Confinement, CookieNames, Head, HeadLimits, Rewrite, Scheme, Secret};

fn client(address: Option<&str>) -> Client {
    Client {
        address: address.map(|address| address.parse().unwrap()),
        scheme: Scheme::Https,
        host: "example.com".into(),
        port: 8000,
        peer: None,
        request_id: "r-1".into(),
        trace: None,
        proven: None,
    }
}

fn head(fields: &[(&str, &str)]) -> Head {
    let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    Head::from_parts("GET", b"/", &fields).unwrap()
}

/// What goes on of a request, as `Name: value` lines.
fn onward(head: &Head, rewrite: &Rewrite, confinement: Option<&Confinement>) -> Vec<String> {
    let client = client(None);
    let onward =
        Onward { head, client: &client, rewrite: Some(rewrite), confinement, is_question: false };
    let mut lines = Vec::new();
    onward.each(HostName::AsReceived, |name, value| {
        lines.push(format!("{}: {}", name.escape_ascii(), value.escape_ascii()));
    });
    lines
}

fn check_onward(fields: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(onward(&head(fields), &Rewrite::default(), None), expected, "{fields:?}");
}

const HOST: (&str, &str) = ("Host", "h");

#[test]
fn fields_about_the_connection_end_here() {
    check_onward(&[HOST, ("Accept", "a"), ("X-B", "b")], &["Host: h", "Accept: a", "X-B: b"]);
    check_onward(&[HOST, ("Connection", "keep-alive"), ("Keep-Alive", "5")], &["Host: h"]);
    check_onward(&[HOST, ("TE", "trailers"), ("Connection", "TE")], &["Host: h"]);
    check_onward(
        &[HOST, ("Connection", "x-b, close"), ("X-B", "b"), ("X-C", "c")],
        &["Host: h", "X-C: c"],
    );
    check_onward(&[("Connection", "host"), HOST], &["Host: h"]);
    check_onward(&[HOST, ("Upgrade", "websocket"), ("Connection", "Upgrade")], &["Host: h"]);
    check_onward(
        &[HOST, ("Proxy-Authorization", "Basic x"), ("Proxy-Connection", "close")],
        &["Host: h"],
    );
    check_onward(&[HOST, ("Content-Length", "0"), ("Expect", "100-continue")], &["Host: h"]);
    check_onward(&[HOST, ("Trailer", "X")], &["Host: h"]);
}

#[test]
fn what_is_ours_to_say_is_believed_from_no_client() {
    for name in [
        "Forwarded",
        "FORWARDED",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "x-forwarded_proto",
        "X-Forwarded-Anything",
        "X-Real-IP",
        "X_Real_IP",
        "X-Request-Id",
        "Perijove-Subject",
        "perijove_subject",
        "Perijove_Question",
        "Proxy",
        "Transfer_Encoding2",
    ] {
        let expected: &[&str] = if name.starts_with("Transfer") {
            &["Host: h", "Transfer_Encoding2: x"]
        } else {
            &["Host: h"]
        };
        check_onward(&[HOST, (name, "x")], expected);
    }
    check_onward(
        &[HOST, ("X-Forwarded", "x"), ("Perijove", "x")],
        &["Host: h", "X-Forwarded: x", "Perijove: x"],
    );
}

#[test]
fn a_question_of_ours_keeps_our_fields() {
    let (head, client) =
        (head(&[HOST, ("Perijove-Question", "q"), ("Forwarded", "f")]), client(None));
    let onward = Onward {
        head: &head,
        client: &client,
        rewrite: None,
        confinement: None,
        is_question: true,
    };
    let mut names = Vec::new();
    onward.each(HostName::AsReceived, |name, _| names.push(name.to_vec()));
    assert_eq!(names, [b"Host".to_vec(), b"Perijove-Question".to_vec()]);
}

#[test]
fn a_route_removes_and_sets() {
    let rewrite = Rewrite {
        remove: Arc::new(["authorization".to_owned(), "x-gone".to_owned()]),
        set: Arc::new([
            ("Authorization".to_owned(), Secret::new("token t")),
            ("X-New".to_owned(), Secret::new("n")),
        ]),
        ..Rewrite::default()
    };
    let sent = [HOST, ("AUTHORIZATION", "Basic x"), ("X_Gone", "1"), ("X_New", "c"), ("X-A", "a")];
    let expected = ["Host: h", "X-A: a", "Authorization: token t", "X-New: n"];
    assert_eq!(onward(&head(&sent), &rewrite, None), expected);
}

#[test]
fn host_is_what_was_asked_for() {
    let host = |head: &Head, which| {
        let client = client(None);
        let onward =
            Onward { head, client: &client, rewrite: None, confinement: None, is_question: false };
        let mut hosts = Vec::new();
        onward.each(which, |name, value| {
            assert_eq!(name, b"Host");
            hosts.push(String::from_utf8(value.to_vec()).unwrap());
        });
        hosts
    };
    let inner = head(&[("Host", "inner:8000")]);
    assert_eq!(host(&inner, HostName::AsReceived), ["inner:8000"]);
    assert_eq!(host(&inner, HostName::AsClientNamed), ["example.com"]);
    let spelled = head(&[("Host", "Example.COM")]);
    assert_eq!(host(&spelled, HostName::AsClientNamed), ["Example.COM"]);
    let old = Head::parse(&mut b"GET / HTTP/1.0\r\n\r\n"[..].into(), HeadLimits::default());
    assert_eq!(host(&old.unwrap().unwrap(), HostName::AsReceived), ["example.com"]);
    let absolute = b"GET http://named/x HTTP/1.1\r\nHost: named\r\n\r\n"[..].into();
    let absolute = Head::parse(&mut { absolute }, HeadLimits::default()).unwrap().unwrap();
    assert_eq!(host(&absolute, HostName::AsReceived), ["named"]);
}

#[test]
fn cookies_of_http2_are_joined() {
    let head = head(&[HOST, ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]);
    let lines = onward(&head, &Rewrite::default(), None);
    assert_eq!(lines, ["Host: h", "cookie: a=1", "x: y", "cookie: b=2"]);
    let lines = onward(&head.with_version(2), &Rewrite::default(), None);
    assert_eq!(lines, ["Host: h", "cookie: a=1; b=2", "x: y"]);
}

#[test]
fn a_confined_target_gets_its_own_cookies_only() {
    let confinement = Confinement::new("/p/");
    confinement.set_cookie(b"b=1").unwrap();
    let lines = |cookies| {
        onward(&head(&[HOST, ("Cookie", cookies)]), &Rewrite::default(), Some(&confinement))
    };
    assert_eq!(lines("a=1; b=2"), ["Host: h", "Cookie: b=2"]);
    assert_eq!(lines("a=1"), ["Host: h"]);
}

#[test]
fn the_client_is_described() {
    let describe = |address| {
        let mut out = Vec::new();
        push_forwarded(&client(address), &mut out);
        String::from_utf8(out).unwrap()
    };
    insta::assert_snapshot!(describe(Some("192.0.2.1:5")).replace('\r', ""), @r#"
    Forwarded: for=192.0.2.1;host="example.com";proto=https
    X-Forwarded-For: 192.0.2.1
    X-Real-IP: 192.0.2.1
    X-Forwarded-Proto: https
    X-Forwarded-Host: example.com
    X-Forwarded-Port: 443
    X-Request-Id: r-1
    "#);
    assert!(describe(Some("[2001:db8::1]:5")).starts_with("Forwarded: for=\"[2001:db8::1]\";"));
    assert!(describe(Some("[::ffff:192.0.2.1]:5")).starts_with("Forwarded: for=192.0.2.1;"));
    assert!(describe(None).starts_with("Forwarded: for=unknown;"));
    assert!(!describe(None).contains("X-Real-IP"));
}

/// What passes of an answer.
fn answer(fields: &[(&str, &str)], change: impl FnOnce(&mut AnswerFields<'_>)) -> String {
    let cookies = CookieNames::default();
    let mut rules =
        AnswerFields { confinement: None, cookies: &cookies, is_question: false, is_head: false };
    change(&mut rules);
    let mut block = BytesMut::new();
    rules.collect(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())), &mut block);
    String::from_utf8(block.to_vec()).unwrap().replace("\r\n", "|")
}

#[test]
fn answers_pass_without_what_is_the_connections_or_ours() {
    let fields = [
        ("Content-Type", "t"),
        ("Content-Length", "5"),
        ("Connection", "x-hop"),
        ("X-Hop", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Keep-Alive", "timeout=5"),
        ("Date", "d"),
        ("Server", "s"),
        ("Perijove-Subject", "ada"),
        ("Set-Cookie", "a=1; Path=/"),
        ("Strict-Transport-Security", "max-age=1"),
        ("X-Forwarded-For", "kept"),
    ];
    let rest =
        "Set-Cookie: a=1; Path=/|Strict-Transport-Security: max-age=1|X-Forwarded-For: kept|";
    assert_eq!(answer(&fields, |_| ()), format!("Content-Type: t|{rest}"));
    let head = answer(&fields, |rules| rules.is_head = true);
    assert_eq!(head, format!("Content-Type: t|Content-Length: 5|{rest}"));
    let question = answer(&fields, |rules| rules.is_question = true);
    assert_eq!(question, format!("Content-Type: t|Perijove-Subject: ada|{rest}"));
}

#[test]
fn answers_of_a_confined_target_do_not_act_on_the_origin() {
    let fields = [
        ("Set-Cookie", "a=1; Path=/"),
        ("Set-Cookie", "b=1; Domain=x"),
        ("Service-Worker-Allowed", "/"),
        ("Clear-Site-Data", "*"),
        ("Strict-Transport-Security", "max-age=0"),
        ("Alt-Svc", "clear"),
        ("ETag", "e"),
    ];
    let confinement = Confinement::new("/p/");
    let mut block = BytesMut::new();
    AnswerFields {
        confinement: Some(&confinement),
        cookies: &CookieNames::default(),
        is_question: false,
        is_head: false,
    }
    .collect(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())), &mut block);
    assert_eq!(block, "Set-Cookie: a=1; Path=/p/\r\nETag: e\r\n");
}

#[test]
fn cookies_of_an_open_target_are_noted() {
    let cookies = Arc::new(CookieNames::default());
    let rules =
        AnswerFields { confinement: None, cookies: &cookies, is_question: false, is_head: false };
    rules.push(b"set-cookie", b"id=1", &mut BytesMut::new());
    let confinement = Confinement::new("/p/").beside(cookies.clone());
    assert_eq!(confinement.set_cookie(b"id=2"), None);
}

proptest! {
    #[test]
    fn end_to_end_fields_pass_in_order(
        fields in prop::collection::vec(("[A-Za-z_-]{1,12}", "[ -~]{0,12}"), 0..20),
    ) {
        let given: Vec<_> = fields
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("host"))
            .map(|(name, value)| (name.as_str(), value.trim()))
            .collect();
        let mut sent = vec![HOST];
        sent.extend(&given);
        let fields: Vec<_> = sent.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let Ok(head) = Head::from_parts("GET", b"/", &fields) else { return Ok(()) };
        let mut expected = vec!["Host: h".to_owned()];
        for (name, value) in given {
            if matches!(kind(name.as_bytes()), Kind::EndToEnd | Kind::Cookie | Kind::SetCookie | Kind::DateOrServer) {
                expected.push(format!("{name}: {}", value.as_bytes().escape_ascii()));
            }
        }
        let connection = head.get("connection").is_some();
        let passed = onward(&head, &Rewrite::default(), None);
        prop_assert!(connection || passed == expected, "{passed:?} {expected:?}");
        prop_assert!(passed.len() <= expected.len());
    }

    #[test]
    fn spelling_makes_no_way_round(
        name in prop::sample::select(vec![
            "forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "x-request-id",
            "perijove-subject", "perijove-method", "proxy", "proxy-authorization",
        ]),
        spelling in prop::collection::vec((any::<bool>(), any::<bool>()), 32),
    ) {
        let spelled: String = name
            .chars()
            .zip(spelling)
            .map(|(c, (upper, underscore))| match c {
                '-' if underscore => '_',
                c if upper => c.to_ascii_uppercase(),
                c => c,
            })
            .collect();
        prop_assert_eq!(onward(&head(&[HOST, (&spelled, "x")]), &Rewrite::default(), None), ["Host: h"]);
    }
}
