//! Workers that die, or cannot be reached, while others live.

use std::time::Duration;

use super::{OK, Peer, Stage, request};
use crate::{Body, Upstream};

/// A worker that is killed takes connections with it that it has not accepted, and requests that it
/// has not read.
#[tokio::test]
async fn what_a_dying_worker_has_not_read_goes_to_another() {
    let check = async |method: &str, body: &'static str, is_accepted: bool, expected: u16| {
        let stage = Stage::new();
        let worker = |name: &str| Upstream { is_replaced: true, ..stage.upstream(name, None) };
        let first = stage.listen("a");
        let dying = stage.upstreams.add(worker("a"));
        let body = if body.is_empty() { Body::Empty } else { Body::Full(body.into()) };
        let upstream = async {
            while stage.upstreams.load().0 == 0 {
                tokio::task::yield_now().await;
            }
            if is_accepted {
                let mut peer = Peer::accept(&first).await;
                let mut some = [0; 3];
                tokio::io::AsyncReadExt::read_exact(&mut peer.stream, &mut some).await.unwrap();
            } else {
                // The request is on its way when somebody looks.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            drop(first);
            std::fs::remove_file(stage.path("a")).unwrap();
            stage.upstreams.fail(dying);
            let second = stage.listen("b");
            stage.upstreams.add(worker("b"));
            if expected == 200 {
                let mut peer = Peer::accept(&second).await;
                assert!(peer.head().await.starts_with(method));
                peer.say(OK).await;
            }
        };
        let client = async {
            match stage.send(request(method, "/", &[], body)).await {
                Ok(answer) => assert_eq!(answer.status, expected, "{method} {is_accepted}"),
                Err(fault) => assert_eq!(fault.status, expected, "{method} {is_accepted}"),
            }
        };
        tokio::join!(upstream, client);
    };
    check("GET", "", false, 200).await;
    check("GET", "", true, 200).await;
    check("POST", "", true, 200).await;
    check("PUT", "ab", true, 200).await;
    // Its application may have been entered while the body was still on its way.
    check("POST", "ab", true, 502).await;
}

#[tokio::test]
async fn what_a_worker_has_read_is_not_sent_again() {
    let stage = Stage::new();
    let listener = stage.listen("a");
    stage.upstreams.add(Upstream { is_replaced: true, ..stage.upstream("a", None) });
    let upstream = async {
        Peer::accept(&listener).await.head().await;
    };
    let (answer, ()) = tokio::join!(stage.get("/"), upstream);
    assert_eq!(answer.unwrap_err().status, 502);
}

/// What could not reach the one is answered by the other as soon as that can, however long the first
/// one would have rested.
#[tokio::test]
async fn nobody_waits_for_a_worker_that_cannot_be_reached_while_another_can() {
    let stage = Stage::new();
    let listener = stage.listen("b");
    let worker = |name: &str, capacity| Upstream {
        is_replaced: true,
        ..stage.upstream(name, Some(capacity))
    };
    stage.upstreams.add(worker("b", 1));
    let busy = stage.upstreams.take().await.unwrap();
    stage.upstreams.add(worker("nobody", 9));
    let answers = async { tokio::join!(stage.get("/1"), stage.get("/2"), stage.get("/3")) };
    let upstream = async {
        // All have tried the one that is not there.
        while stage.upstreams.load().1 < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let freed = tokio::time::Instant::now();
        drop(busy);
        let mut peer = Peer::accept(&listener).await;
        for _ in 0..3 {
            peer.answer(OK).await;
        }
        freed.elapsed()
    };
    let ((first, second, third), took) = tokio::join!(answers, upstream);
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    assert!(took < Duration::from_millis(250), "{took:?}");
}
