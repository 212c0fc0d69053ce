//! How requests to native workers end: whole, cut off, cancelled, recalled, lost.

use super::*;

#[tokio::test]
async fn files_are_sent_by_the_gateway() {
    let (stage, listener) = Stage::with_worker();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    let directory = File::open("/").unwrap();
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let id = worker.enter().await.id;
        worker.respond(id, "Content-Length: 5\r\n", b"", false).await;
        worker.send_file(id, true, &file, 2, 5);
        let id = worker.enter().await.id;
        worker.respond(id, "", b"a", false).await;
        worker.send_file(id, false, &file, 0, 3);
        worker.send(BODY, false, id, b"b").await;
        worker.send_file(id, true, &file, 9, 1);
        let id = worker.enter().await.id;
        worker.respond(id, "", b"a", false).await;
        worker.send_file(id, true, &directory, 0, 1);
        worker
    };
    let client = async {
        let answer = stage.get("/").await.unwrap();
        // Two frames may come apart: then it is a stream, and all the same the file.
        match answer.body {
            Body::File(file) => assert_eq!((file.offset, file.length), (2, 5)),
            body => assert_eq!(text(body).await, "23456"),
        }
        assert_eq!(text(stage.get("/").await.unwrap().body).await, "a012b9");
        let broken = text(stage.get("/").await.unwrap().body).await;
        assert_eq!(broken, "a! the body was cut off");
        assert_eq!(stage.upstreams.load(), (0, 0));
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn a_body_that_breaks_is_never_a_complete_one() {
    let (stage, listener) = Stage::with_worker();
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let id = worker.enter().await.id;
        worker.respond(id, "", b"ab", false).await;
        worker.send(RESET, true, id, b"failed").await;
        let id = worker.enter().await.id;
        worker.respond(id, "Content-Length: 3\r\n", b"ab", false).await;
        worker.send(BODY, true, id, b"").await;
        let id = worker.enter().await.id;
        worker.respond(id, "Content-Length: 3\r\n", b"ab", true).await;
        let id = worker.enter().await.id;
        worker.send(RESET, true, id, b"failed").await;
        let id = worker.enter().await.id;
        worker.send(BODY, true, id, b"").await;
        let id = worker.enter().await.id;
        worker.respond(id, "A: b\r\rC: d\r\n", b"", true).await;
        worker
    };
    let client = async {
        let broken = "ab! the body was cut off";
        assert_eq!(text(stage.get("/").await.unwrap().body).await, broken);
        match stage.get("/").await {
            Ok(answer) => assert_eq!(text(answer.body).await, broken),
            // Both frames came at once.
            Err(fault) => assert_eq!(fault.status, 502),
        }
        for _ in 0..4 {
            let fault = stage.get("/").await.unwrap_err();
            assert_eq!((fault.status, fault.whose), (502, Whose::Upstream));
        }
        assert_eq!(stage.upstreams.load(), (0, 0));
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn a_worker_that_dies_loses_only_what_it_had_begun() {
    let stage = Stage::new();
    let old = stage.listen("old");
    stage.add_worker("old");
    let dying = async {
        let mut worker = Worker::accept(&old).await;
        worker.enter().await;
        worker.expect(REQUEST).await;
        drop((worker, old));
        let new = stage.listen("new");
        stage.add_worker("new");
        let mut worker = Worker::accept(&new).await;
        let request = worker.enter().await;
        assert!(request.payload.ends_with(b"abc"));
        worker.respond(request.id, "", b"ok", true).await;
        worker
    };
    let second = request("POST", "/", &[], Body::Full("abc".into()));
    let (first, second, _worker) = tokio::join!(stage.get("/"), stage.send(second), dying);
    assert_eq!(first.unwrap_err().status, 502);
    assert_eq!(text(second.unwrap().body).await, "ok");
    assert_eq!(stage.upstreams.load(), (0, 0));
}

#[tokio::test]
async fn a_worker_that_is_taken_out_dead_is_not_waited_for() {
    let stage = Stage::new();
    let old = stage.listen("old");
    let id = stage.add_worker("old");
    let dying = async {
        let mut worker = Worker::accept(&old).await;
        worker.expect(REQUEST).await;
        let new = stage.listen("new");
        stage.upstreams.fail(id);
        stage.add_worker("new");
        let mut next = Worker::accept(&new).await;
        next.enter().await;
        next.respond(0, "", b"ok", true).await;
        assert!(worker.frame().await.is_none());
        next
    };
    let (answer, _worker) = tokio::join!(stage.get("/"), dying);
    assert_eq!(text(answer.unwrap().body).await, "ok");
}

#[tokio::test]
async fn a_request_that_waits_at_a_busy_worker_is_recalled_by_an_idle_one() {
    let stage = Stage::new();
    let busy = stage.listen("busy");
    stage.add_worker("busy");
    let play = async {
        let mut busy = Worker::accept(&busy).await;
        busy.enter().await;
        busy.expect(REQUEST).await;
        let idle = stage.listen("idle");
        stage.add_worker("idle");
        let mut idle = Worker::accept(&idle).await;
        let request = idle.enter().await;
        assert!(request.payload.ends_with(b"abc"));
        idle.respond(request.id, "", b"from the idle one", true).await;
        assert_eq!(busy.expect(CANCEL).await.id, 1);
        let mut claims = [0; 2];
        busy.claims.read_exact_at(&mut claims, 0).unwrap();
        assert_eq!(claims, [1, 2]);
        busy.respond(0, "", b"from the busy one", true).await;
        busy.send(RESET, true, 1, b"recalled").await;
        stage.until_busy(0).await;
        (busy, idle)
    };
    let second = request("POST", "/", &[], Body::Full("abc".into()));
    let (first, second, _workers) = tokio::join!(stage.get("/"), stage.send(second), play);
    assert_eq!(text(first.unwrap().body).await, "from the busy one");
    assert_eq!(text(second.unwrap().body).await, "from the idle one");
}

#[tokio::test]
async fn silence_is_answered_with_504_and_cancelled() {
    let stage = Stage::with(impatient);
    let listener = stage.listen("w");
    stage.add_worker("w");
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let id = worker.enter().await.id;
        assert_eq!(worker.expect(CANCEL).await.id, id);
        worker.send(RESET, true, id, b"cancelled").await;
        let id = worker.enter().await.id;
        worker.respond(id, "", b"ab", false).await;
        worker
    };
    let client = async {
        assert_eq!(stage.get("/").await.unwrap_err().status, 504);
        let late = text(stage.get("/").await.unwrap().body).await;
        assert_eq!(late, "ab! the body did not go on within its time limit");
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn a_client_may_take_longer_than_a_worker() {
    let stage = Stage::with(impatient);
    let listener = stage.listen("w");
    stage.add_worker("w");
    let (sender, body) = pieces(Some(2));
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let id = worker.enter().await.id;
        worker.send(CREDIT, false, id, &9_u32.to_le_bytes()).await;
        // More than the worker's time-out passes before the client sends its body.
        tokio::time::sleep(Duration::from_millis(250)).await;
        sender.send(Ok("ab")).unwrap();
        worker.expect(BODY_IN).await;
        worker.respond(id, "", b"ok", true).await;
        worker
    };
    let (answer, _worker) = tokio::join!(stage.send(request("PUT", "/", &[], body)), worker);
    assert_eq!(text(answer.unwrap().body).await, "ok");
}

#[tokio::test]
async fn a_body_that_the_client_cuts_off_cancels() {
    let (stage, listener) = Stage::with_worker();
    let (sender, body) = pieces(None);
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let id = worker.enter().await.id;
        worker.send(CREDIT, false, id, &9_u32.to_le_bytes()).await;
        sender.send(Err(BodyError::CutOff)).unwrap();
        assert_eq!(worker.expect(CANCEL).await.id, id);
        worker
    };
    let (answer, _worker) = tokio::join!(stage.send(request("PUT", "/", &[], body)), worker);
    let fault = answer.unwrap_err();
    assert_eq!((fault.status, fault.whose), (400, Whose::Client));
}

#[tokio::test]
async fn one_that_does_not_speak_the_protocol_is_left() {
    let stage = Stage::new();
    let broken = stage.listen("broken");
    let id = stage.add_worker("broken");
    let play = async {
        for answer in
            [&b"HTTP/1.1 400 Bad\r\n\r\n"[..], &[3, 0, 0, 0, READY, 0, 0, 0, 0, 0, 0, 0, 9, 1, 0]]
        {
            let mut worker = Worker::hear(&broken).await;
            worker.stream.write_all(answer).await.unwrap();
            assert!(worker.frame().await.is_none());
        }
        let good = stage.listen("good");
        stage.add_worker("good");
        stage.upstreams.remove(id);
        let mut worker = Worker::accept(&good).await;
        worker.enter().await;
        worker.respond(0, "", b"ok", true).await;
        worker
    };
    let (answer, _worker) = tokio::join!(stage.get("/"), play);
    assert_eq!(text(answer.unwrap().body).await, "ok");
}

#[tokio::test]
async fn a_worker_that_leaves_finishes_its_requests_first() {
    let (stage, listener) = Stage::with_worker();
    let id = UpstreamId(stage.upstreams.take().await.unwrap().member().id().0);
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        worker.enter().await;
        stage.upstreams.remove(id);
        worker.respond(0, "", b"ok", true).await;
        // Nothing is under way any more: the gateway closes the connection.
        assert!(worker.frame().await.is_none());
    };
    let (answer, ()) = tokio::join!(stage.get("/"), worker);
    assert_eq!(text(answer.unwrap().body).await, "ok");
    stage.upstreams.drained(id).await;
}

#[tokio::test]
async fn the_answer_to_head_has_no_body() {
    let (stage, listener) = Stage::with_worker();
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        let id = worker.enter().await.id;
        worker.respond(id, "Content-Length: 5\r\n", b"", true).await;
        worker
    };
    let (answer, _worker) =
        tokio::join!(stage.send(request("HEAD", "/", &[], Body::Empty)), worker);
    let answer = answer.unwrap();
    assert_eq!(answer.fields.as_bytes(), b"Content-Length: 5\r\n");
    assert!(matches!(answer.body, Body::Empty));
}

#[tokio::test]
async fn links_are_closed_with_their_set() {
    let (stage, listener) = Stage::with_worker();
    let worker = async {
        let mut worker = Worker::accept(&listener).await;
        worker.enter().await;
        worker.respond(0, "", b"", true).await;
        worker
    };
    let (answer, mut worker) = tokio::join!(stage.get("/"), worker);
    answer.unwrap();
    let Stage { upstreams, route, .. } = stage;
    drop(route);
    assert_eq!(Arc::strong_count(&upstreams), 1);
    drop(upstreams);
    assert!(worker.frame().await.is_none());
}
