//! Several equal upstreams elsewhere: who is asked, and what happens when one is lost.

use tokio::net::UnixListener;

use super::{OK, Peer, Stage, pieces, request, text};
use crate::{Body, Upstream};

/// A stage with two upstreams that take turns.
fn two() -> (Stage, UnixListener, UnixListener) {
    let stage = Stage::new();
    let listeners = (stage.listen("a"), stage.listen("b"));
    for name in ["a", "b"] {
        stage.upstreams.add_weighed(elsewhere(&stage, name), 1);
    }
    (stage, listeners.0, listeners.1)
}

fn elsewhere(stage: &Stage, name: &str) -> Upstream {
    stage.upstream(name, None)
}

#[tokio::test]
async fn equals_are_asked_in_turn() {
    let (stage, first, second) = two();
    let upstreams = async {
        for _ in 0..2 {
            Peer::accept(&first).await.answer(CLOSING).await;
            Peer::accept(&second).await.answer(CLOSING).await;
        }
    };
    let client = async {
        for _ in 0..4 {
            assert_eq!(stage.get("/").await.unwrap().status, 200);
        }
    };
    tokio::join!(upstreams, client);
    let served: Vec<_> = stage.upstreams.health().iter().map(|one| one.served).collect();
    assert_eq!(served, [2, 2]);
}

const CLOSING: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn who_refuses_is_left_alone() {
    let (stage, first, second) = two();
    drop(first);
    let upstreams = async {
        let mut peer = Peer::accept(&second).await;
        for _ in 0..3 {
            peer.answer(OK).await;
        }
    };
    let client = async {
        let (_, body) = pieces(Some(0));
        assert_eq!(stage.send(request("POST", "/", &[], body)).await.unwrap().status, 200);
        for _ in 0..2 {
            assert_eq!(stage.get("/").await.unwrap().status, 200);
        }
    };
    tokio::join!(upstreams, client);
    let health = stage.upstreams.health();
    assert_eq!((health[0].failures, health[0].rests, health[0].served), (1, true, 1));
    assert_eq!((health[1].failures, health[1].rests, health[1].served), (0, false, 3));
    assert!(health[0].address.starts_with("unix:"), "{}", health[0].address);
}

#[tokio::test]
async fn what_is_safe_goes_to_an_equal_of_who_was_lost() {
    let (stage, first, second) = two();
    let upstreams = async {
        assert!(Peer::accept(&first).await.head().await.starts_with("PUT /1 "));
        let mut peer = Peer::accept(&second).await;
        assert!(peer.head().await.starts_with("PUT /1 "));
        assert_eq!(peer.bytes(3).await, "abc");
        peer.say(OK).await;
    };
    let client = async {
        let put = request("PUT", "/1", &[], Body::Full("abc".into()));
        assert_eq!(text(stage.send(put).await.unwrap().body).await, "ok");
    };
    tokio::join!(upstreams, client);
    assert!(stage.upstreams.health()[0].rests);
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_twice() {
    let (stage, first, second) = two();
    let upstreams = async {
        assert!(Peer::accept(&first).await.head().await.starts_with("POST /1 "));
        // One answer has begun: whatever is lost then is lost.
        Peer::accept(&second).await.answer("HTTP/1.1 2").await;
    };
    let client = async {
        let post = request("POST", "/1", &[], Body::Full("abc".into()));
        assert_eq!(stage.send(post).await.unwrap_err().status, 502);
        assert_eq!(stage.get("/2").await.unwrap_err().status, 502);
    };
    tokio::join!(upstreams, client);
}

#[tokio::test]
async fn one_alone_is_asked_again_and_again() {
    let stage = Stage::new();
    stage.upstreams.add_weighed(elsewhere(&stage, "a"), 1);
    for _ in 0..3 {
        assert_eq!(stage.get("/").await.unwrap_err().status, 502);
    }
    let listener = stage.listen("a");
    let upstream = async { Peer::accept(&listener).await.answer(OK).await };
    let (answer, _) = tokio::join!(stage.get("/"), upstream);
    assert_eq!(answer.unwrap().status, 200);
    assert!(!stage.upstreams.health()[0].rests);
}
