//! HTTP/1.1 upstreams.

use std::time::Duration;

use tokio::net::TcpListener;

use super::{OK, Peer, Stage, impatient, next, pieces, request, text};
use crate::{Body, BodyError, Protocol, Request, Upstream, UpstreamAddress, ask, error::Whose};

#[tokio::test]
async fn a_request_passes_byte_for_byte_and_its_answer_comes_back() {
    let (stage, listener) = Stage::one();
    let target = "/a%2Fb/%c3%a9\"`<>|?q=%20&x='";
    let fields = [("Accept", "*/*"), ("Connection", "close"), ("X-Real-IP", "evil")];
    let (answer, head) =
        tokio::join!(stage.send(request("GET", target, &fields, Body::Empty)), async {
            Peer::accept(&listener).await.answer(OK).await
        },);
    insta::assert_snapshot!(head.replace('\r', ""), @r#"
    GET /a%2Fb/%c3%a9"`<>|?q=%20&x=' HTTP/1.1
    Host: example.com
    Accept: */*
    Forwarded: for=192.0.2.7;host="example.com";proto=http
    X-Forwarded-For: 192.0.2.7
    X-Real-IP: 192.0.2.7
    X-Forwarded-Proto: http
    X-Forwarded-Host: example.com
    X-Forwarded-Port: 80
    X-Request-Id: r-1
    "#);
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.fields.as_bytes(), b"X-A: b\r\n");
    assert!(matches!(answer.body, Body::Full(_)));
    assert_eq!(text(answer.body).await, "ok");
    assert_eq!(stage.upstreams.load(), (0, 0));
}

#[tokio::test]
async fn questions_of_ours_say_and_hear_what_clients_do_not() {
    let (stage, listener) = Stage::one();
    let fields = [("Perijove-Question", "q"), ("Cookie", "a=1")];
    let Request { head, client, .. } = request("GET", "/", &fields, Body::Empty);
    let chunked = "HTTP/1.1 200 OK\r\nPerijove-Subject: ada\r\nSet-Cookie: a=1\r\n\
        Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        let question = peer.answer(chunked).await;
        assert!(question.contains("\r\nPerijove-Question: q\r\nCookie: a=1\r\n"));
        peer.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
        peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab").await;
    };
    let time = Duration::from_secs(60);
    let client = async {
        let answer = ask(&stage.upstreams, head.clone(), &client, time).await.unwrap();
        assert_eq!(answer.fields.get("perijove-subject"), Some(&b"ada"[..]));
        assert!(answer.fields.contains("set-cookie"));
        assert!(matches!(answer.body, Body::Full(body) if body == "ok"));
        let answer = ask(&stage.upstreams, head.clone(), &client, time).await.unwrap();
        assert!(matches!(answer.body, Body::Full(body) if body.is_empty()));
        assert!(ask(&stage.upstreams, head.clone(), &client, time).await.is_none());
        let nobody = Stage::new();
        let soon = Duration::from_millis(20);
        assert!(ask(&nobody.upstreams, head.clone(), &client, soon).await.is_none());
        nobody.add("nobody", None);
        assert!(ask(&nobody.upstreams, head, &client, time).await.is_none());
    };
    tokio::join!(upstream, client);
}

#[tokio::test]
async fn a_connection_is_kept_and_used_again() {
    let (stage, listener) = Stage::one();
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        for _ in 0..3 {
            peer.answer(OK).await;
        }
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        peer.answer(chunked).await;
        peer.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
        peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
        assert!(peer.rest().await.is_empty());
        Peer::accept(&listener).await.answer(OK).await;
    };
    let client = async {
        for expected in ["ok", "ok", "ok", "ok", "", "ok", "ok"] {
            assert_eq!(text(stage.get("/").await.unwrap().body).await, expected);
        }
    };
    tokio::join!(upstream, client);
}

#[tokio::test]
async fn bodies_of_requests_are_sent_with_their_length_or_in_chunks() {
    let (stage, listener) = Stage::one();
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        assert!(peer.head().await.contains("\r\nContent-Length: 3\r\n\r\n"));
        assert_eq!(peer.bytes(3).await, "abc");
        peer.say(OK).await;
        assert!(peer.head().await.contains("\r\nContent-Length: 4\r\n\r\n"));
        assert_eq!(peer.bytes(4).await, "abcd");
        peer.say(OK).await;
        assert!(peer.head().await.contains("\r\nTransfer-Encoding: chunked\r\n\r\n"));
        assert_eq!(peer.bytes(19).await, "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n");
        peer.say(OK).await;
        assert!(peer.head().await.contains("\r\nContent-Length: 0\r\n\r\n"));
        peer.say(OK).await;
    };
    let client = async {
        let post = |body| stage.send(request("POST", "/", &[], body));
        post(Body::Full("abc".into())).await.unwrap();
        for length in [Some(4), None] {
            let (sender, body) = pieces(length);
            sender.send(Ok("ab")).unwrap();
            sender.send(Ok("cd")).unwrap();
            drop(sender);
            post(body).await.unwrap();
        }
        post(Body::Empty).await.unwrap();
    };
    tokio::join!(upstream, client);
}

#[tokio::test]
async fn an_answer_is_passed_on_as_it_comes() {
    let (stage, listener) = Stage::one();
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
        peer
    };
    let (answer, mut peer) = tokio::join!(stage.get("/"), upstream);
    let mut body = answer.unwrap().body;
    assert_eq!(body.length(), None);
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
    // The slot is busy until the body has ended.
    assert_eq!(stage.upstreams.load(), (1, 0));
    peer.say("3\r\ntwo\r\n0\r\nTrailer: x\r\n\r\n").await;
    assert_eq!(text(body).await, "two");
    assert_eq!(stage.upstreams.load(), (0, 0));
}

#[tokio::test]
async fn a_large_answer_comes_whole() {
    let (stage, listener) = Stage::one();
    let large = "x".repeat(1_000_000);
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await;
        peer.say(format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{large}")).await;
        peer.head().await;
        peer.say(format!("HTTP/1.0 200 OK\r\n\r\n{large}")).await;
    };
    let client = async {
        let answer = stage.get("/").await.unwrap();
        assert_eq!(answer.body.length(), Some(1_000_000));
        assert!(text(answer.body).await == large);
        assert!(text(stage.get("/").await.unwrap().body).await == large);
    };
    tokio::join!(upstream, client);
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_never_a_complete_one() {
    let check = async |answer: &str, expected: &str| {
        let (stage, listener) = Stage::one();
        let upstream = async {
            Peer::accept(&listener).await.answer(answer).await;
        };
        let (answer, ()) = tokio::join!(stage.get("/"), upstream);
        assert_eq!(text(answer.unwrap().body).await, expected);
        assert_eq!(stage.upstreams.load(), (0, 0));
    };
    check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "abc! the body was cut off").await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    check(chunked, "abc! the body was cut off").await;
    check(&format!("{chunked}0\r\n"), "abc! the body was cut off").await;
    let broken = format!("{chunked}x\r\n");
    check(&broken, "abc! the chunked body is malformed: a chunk's size").await;
    check("HTTP/1.1 200 OK\r\n\r\nabc", "abc").await;
}

#[tokio::test]
async fn answers_without_body_have_none() {
    let (stage, listener) = Stage::one();
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        assert!(
            peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").await.starts_with("HEAD ")
        );
        peer.answer("HTTP/1.1 304 Not Modified\r\nETag: e\r\nContent-Length: 9\r\n\r\n").await;
    };
    let client = async {
        let head = stage.send(request("HEAD", "/", &[], Body::Empty)).await.unwrap();
        assert_eq!(head.fields.as_bytes(), b"Content-Length: 9\r\n");
        assert!(matches!(head.body, Body::Empty));
        let unchanged = stage.get("/").await.unwrap();
        assert_eq!(unchanged.fields.as_bytes(), b"ETag: e\r\n");
        assert!(matches!(unchanged.body, Body::Empty));
    };
    tokio::join!(upstream, client);
}

#[tokio::test]
async fn interim_answers_are_skipped() {
    let (stage, listener) = Stage::one();
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let upstream = async {
        Peer::accept(&listener).await.answer(&format!("{interim}{interim}{OK}")).await;
        Peer::accept(&listener).await.answer(&interim.repeat(40)).await;
    };
    let client = async {
        assert_eq!(stage.get("/").await.unwrap().status, 200);
        assert_eq!(stage.get("/").await.unwrap_err().status, 502);
    };
    // The first connection is closed by the upstream.
    tokio::join!(upstream, client);
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_an_error() {
    let (stage, listener) = Stage::one();
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n").await;
        peer
    };
    let (answer, _peer) = tokio::join!(stage.get("/"), upstream);
    assert_eq!(answer.unwrap_err().status, 502);
}

#[tokio::test]
async fn an_answer_may_begin_before_the_request_has_ended() {
    let (stage, listener) = Stage::one();
    let (sender, body) = pieces(Some(4));
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await;
        peer
    };
    let (answer, mut peer) = tokio::join!(stage.send(request("POST", "/", &[], body)), upstream);
    let mut body = answer.unwrap().body;
    for (piece, more) in [("ab", true), ("cd", false)] {
        sender.send(Ok(piece)).unwrap();
        // The body goes on although nobody asks for the answer's.
        let echoed = peer.bytes(2).await;
        assert_eq!(echoed, piece);
        peer.say(echoed).await;
        assert_eq!(next(&mut body).await.unwrap().unwrap(), piece);
        assert_eq!(body.length(), Some(if more { 2 } else { 0 }));
    }
    assert!(next(&mut body).await.is_none());
}

#[tokio::test]
async fn an_early_end_closes_the_connection() {
    let (stage, listener) = Stage::one();
    let (sender, body) = pieces(Some(4));
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await;
        peer.rest().await
    };
    let client = async {
        let answer = stage.send(request("PUT", "/", &[], body)).await.unwrap();
        assert_eq!((answer.status, text(answer.body).await.as_str()), (413, "no"));
    };
    let (rest, ()) = tokio::join!(upstream, client);
    assert!(rest.is_empty());
    drop(sender);
}

#[tokio::test]
async fn a_client_that_expects_continue_waits_for_the_upstream() {
    let (stage, listener) = Stage::one();
    let fields = [("Expect", "100-continue")];
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        assert!(peer.head().await.contains("\r\nExpect: 100-continue\r\n"));
        peer.say("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert_eq!(peer.bytes(2).await, "ab");
        peer.say(OK).await;
        assert!(peer.head().await.contains("\r\nExpect: 100-continue\r\n"));
        peer.say("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").await;
        assert!(peer.rest().await.is_empty());
        // One that does not know the expectation gets the body all the same.
        let mut peer = Peer::accept(&listener).await;
        peer.head().await;
        assert_eq!(peer.bytes(2).await, "ab");
        peer.say(OK).await;
    };
    let client = async {
        for expected in [200, 401, 200] {
            let (sender, body) = pieces(Some(2));
            sender.send(Ok("ab")).unwrap();
            let answer = stage.send(request("PUT", "/", &fields, body)).await.unwrap();
            assert_eq!(answer.status, expected);
        }
    };
    tokio::join!(upstream, client);
}

#[tokio::test]
async fn a_stale_connection_is_replaced_where_that_is_safe() {
    let (stage, listener) = Stage::one();
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer(OK).await;
        // Closed at the moment in which the next request arrives.
        assert!(peer.head().await.starts_with("PUT "));
        drop(peer);
        let mut peer = Peer::accept(&listener).await;
        assert!(peer.head().await.starts_with("PUT "));
        assert_eq!(peer.bytes(2).await, "ab");
        peer.say(OK).await;
        assert!(peer.head().await.starts_with("POST "));
        drop(peer);
        // Not on a new connection, where it can only be the request itself.
        let mut peer = Peer::accept(&listener).await;
        assert!(peer.head().await.starts_with("GET "));
    };
    let client = async {
        let send = |method, body| stage.send(request(method, "/", &[], body));
        send("GET", Body::Empty).await.unwrap();
        assert_eq!(send("PUT", Body::Full("ab".into())).await.unwrap().status, 200);
        assert_eq!(send("POST", Body::Empty).await.unwrap_err().status, 502);
        assert_eq!(send("GET", Body::Empty).await.unwrap_err().status, 502);
    };
    tokio::join!(upstream, client);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_repeated_goes_on_a_fresh_connection_only() {
    let (stage, listener) = Stage::one();
    let upstream = async {
        let mut old = Peer::accept(&listener).await;
        old.answer(OK).await;
        let mut new = Peer::accept(&listener).await;
        assert!(new.answer(OK).await.starts_with("POST "));
        assert!(new.answer(OK).await.starts_with("POST "));
        // The other one was not given up.
        assert!(new.answer(OK).await.starts_with("GET "));
        assert!(old.answer(OK).await.starts_with("GET "));
        tokio::time::sleep(Duration::from_secs(70)).await;
        assert!(new.rest().await.is_empty());
        assert!(old.rest().await.is_empty());
    };
    let client = async {
        let post = || stage.send(request("POST", "/", &[], Body::Empty));
        stage.get("/").await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        post().await.unwrap();
        post().await.unwrap();
        let both = tokio::join!(stage.get("/1"), stage.get("/2"));
        assert!(both.0.is_ok() && both.1.is_ok());
    };
    tokio::join!(upstream, client);
}

#[tokio::test]
async fn a_connection_that_was_seen_to_end_is_not_used() {
    let (stage, listener) = Stage::one();
    let upstream = async {
        Peer::accept(&listener).await.answer(OK).await;
        let mut peer = Peer::accept(&listener).await;
        peer.answer(OK).await
    };
    let client = async {
        stage.get("/").await.unwrap();
        tokio::task::yield_now().await;
        stage.send(request("POST", "/", &[], Body::Empty)).await.unwrap();
    };
    let (head, ()) = tokio::join!(upstream, client);
    assert!(head.starts_with("POST "));
}

#[tokio::test]
async fn silence_is_answered_with_504() {
    let stage = Stage::with(impatient);
    let listener = stage.listen("a");
    stage.add("a", None);
    let answer = stage.get("/").await.unwrap_err();
    assert_eq!((answer.status, answer.whose), (504, Whose::Upstream));
    let mut peer = Peer::accept(&listener).await;
    assert!(peer.head().await.starts_with("GET /"));
    assert!(peer.rest().await.is_empty());
}

#[tokio::test]
async fn a_client_may_take_longer_than_an_upstream() {
    let stage = Stage::with(impatient);
    let listener = stage.listen("a");
    stage.add("a", None);
    let (sender, body) = pieces(Some(2));
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await;
        // More than the upstream's time-out passes before the client sends its body.
        tokio::time::sleep(Duration::from_millis(250)).await;
        sender.send(Ok("ab")).unwrap();
        peer.bytes(2).await;
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await;
        peer
    };
    let (answer, _peer) = tokio::join!(stage.send(request("PUT", "/", &[], body)), upstream);
    let text = text(answer.unwrap().body).await;
    assert_eq!(text, "ab! the body did not go on within its time limit");
    assert_eq!(stage.upstreams.load(), (0, 0));
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_answered_with_502_or_passed_over() {
    let stage = Stage::new();
    stage.add("nobody", None);
    assert_eq!(stage.get("/").await.unwrap_err().status, 502);
    let listener = stage.listen("a");
    stage.add("a", None);
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        for _ in 0..2 {
            peer.answer(OK).await;
        }
    };
    let client = async {
        for _ in 0..2 {
            assert_eq!(stage.get("/").await.unwrap().status, 200);
        }
    };
    tokio::join!(upstream, client);
}

#[tokio::test]
async fn another_account_on_the_socket_is_refused() {
    let stage = Stage::new();
    let _listener = stage.listen("a");
    let account = Some(rustix::process::getuid().as_raw() + 1);
    stage.upstreams.add(Upstream { account, ..stage.upstream("a", None) });
    let fault = stage.get("/").await.unwrap_err();
    assert_eq!(fault.status, 502);
    assert!(format!("{:?}", fault.source).contains("another account"));
}

#[tokio::test]
async fn a_request_waits_for_a_set_that_is_starting() {
    let stage = Stage::new();
    let listener = stage.listen("a");
    let start = async {
        while stage.upstreams.load() != (0, 1) {
            tokio::task::yield_now().await;
        }
        stage.add("a", Some(1));
        Peer::accept(&listener).await.answer(OK).await;
    };
    let (answer, ()) = tokio::join!(stage.get("/"), start);
    assert_eq!(answer.unwrap().status, 200);
}

#[tokio::test]
async fn a_dead_upstream_is_not_waited_for() {
    let stage = Stage::new();
    let listener = stage.listen("a");
    let id = stage.add("a", Some(1));
    let end = async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await;
        stage.upstreams.fail(id);
        peer
    };
    let (answer, _peer) = tokio::join!(stage.get("/"), end);
    assert_eq!(answer.unwrap_err().status, 502);
}

#[tokio::test]
async fn a_body_that_the_client_cuts_off_is_cut_off_for_the_upstream() {
    let (stage, listener) = Stage::one();
    let (sender, body) = pieces(None);
    sender.send(Ok("ab")).unwrap();
    sender.send(Err(BodyError::CutOff)).unwrap();
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await;
        peer.rest().await
    };
    let (answer, rest) = tokio::join!(stage.send(request("PUT", "/", &[], body)), upstream);
    let fault = answer.unwrap_err();
    assert_eq!((fault.status, fault.whose), (400, Whose::Client));
    assert_eq!(rest, "2\r\nab\r\n");
}

#[tokio::test]
async fn a_client_that_vanishes_ends_the_request() {
    let (stage, listener) = Stage::one();
    let upstream = async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab").await;
        peer
    };
    let (answer, peer) = tokio::join!(stage.get("/"), upstream);
    assert_eq!(stage.upstreams.load(), (1, 0));
    drop(answer);
    assert!(peer.rest().await.is_empty());
    assert_eq!(stage.upstreams.load(), (0, 0));
}

#[tokio::test]
async fn upstreams_are_reached_by_tcp_and_by_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stage = Stage::new();
    stage.upstreams.add(Upstream {
        address: UpstreamAddress::Tcp(format!(
            "localhost:{}",
            listener.local_addr().unwrap().port()
        )),
        protocol: Protocol::Http1,
        capacity: None,
        account: None,
        is_replaced: false,
    });
    let upstream = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, OK.as_bytes()).await.unwrap();
        stream
    };
    let (answer, _stream) = tokio::join!(stage.get("/"), upstream);
    assert_eq!(text(answer.unwrap().body).await, "ok");
}
