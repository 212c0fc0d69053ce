//! Long pieces of bodies between gateway and native workers, which change hands on the shelf.

use super::*;

const TRAY_IN: u8 = 6;
const TRAY: u8 = 22;
const TRAYS: u16 = 32;
const SIZE: usize = 131_072;

/// A request that tells the gateway that this worker takes trays, then one with a body.
async fn warm(stage: &Stage) {
    stage.get("/").await.unwrap();
}

fn long(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + u8::try_from(at % 23).unwrap()).collect()
}

impl Worker {
    /// A worker that takes trays, and has answered a first request.
    async fn with_shelf(listener: &UnixListener) -> Self {
        let mut worker = Self::hear(listener).await;
        worker.send(READY, false, 0, &[1, 1, 0, 2]).await;
        let id = worker.enter().await.id;
        worker.respond(id, "", b"", true).await;
        worker
    }

    fn tray_state(&self, number: u16) -> u8 {
        let mut state = [0];
        self.claims.read_exact_at(&mut state, 4096 + u64::from(number)).unwrap();
        state[0]
    }

    fn set_tray(&self, number: u16, state: u8) {
        self.claims.write_all_at(&[state], 4096 + u64::from(number)).unwrap();
    }

    /// What lies on the tray that a frame names, which is free from then on.
    fn take_up(&self, frame: &Frame) -> Vec<u8> {
        assert_eq!((frame.kind, frame.payload.len()), (TRAY_IN, 8), "{frame:?}");
        let number = u16::from_le_bytes([frame.payload[0], frame.payload[1]]);
        let length = u32::from_le_bytes(frame.payload[4..8].try_into().unwrap()) as usize;
        assert_eq!(self.tray_state(number), 1);
        let mut bytes = vec![0; length];
        self.claims.read_exact_at(&mut bytes, place(number)).unwrap();
        self.set_tray(number, 0);
        bytes
    }

    async fn send_tray(&mut self, id: u16, is_last: bool, number: u16, bytes: &[u8]) {
        self.set_tray(number, 1);
        self.claims.write_all_at(bytes, place(number)).unwrap();
        self.name_tray(id, is_last, number, bytes.len()).await;
    }

    async fn name_tray(&mut self, id: u16, is_last: bool, number: u16, length: usize) {
        let mut payload = u32::from(number).to_le_bytes().to_vec();
        payload.extend_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        self.send(TRAY, is_last, id, &payload).await;
    }
}

fn place(number: u16) -> u64 {
    8192 + u64::from(number) * SIZE as u64
}

#[tokio::test]
async fn a_long_body_comes_on_a_tray_with_its_request() {
    let (stage, listener) = Stage::with_worker();
    let worker = async {
        let mut worker = Worker::with_shelf(&listener).await;
        let request = worker.enter().await;
        assert!(!request.is_last);
        assert!(describe(&request.payload).ends_with('\n'), "nothing of the body is in the frame");
        let tray = worker.frame().await.unwrap();
        assert!(tray.is_last);
        assert!(worker.take_up(&tray) == long(100_000));
        worker.respond(request.id, "", b"ok", true).await;
        let short = worker.enter().await;
        assert!(short.is_last && short.payload.ends_with(b"short"));
        worker.respond(short.id, "", b"ok", true).await;
        worker
    };
    let client = async {
        warm(&stage).await;
        for body in [long(100_000), b"short".to_vec()] {
            let answer = stage.send(request("POST", "/", &[], Body::Full(body.into()))).await;
            assert_eq!(text(answer.unwrap().body).await, "ok");
        }
        assert_eq!(stage.upstreams.load(), (0, 0));
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn what_is_longer_comes_against_credit() {
    let (stage, listener) = Stage::with_worker();
    let worker = async {
        let mut worker = Worker::with_shelf(&listener).await;
        let request = worker.enter().await;
        let mut body = Vec::new();
        let first = worker.expect(TRAY_IN).await;
        body.extend(worker.take_up(&first));
        assert_eq!(body.len(), SIZE);
        worker.send(CREDIT, false, request.id, &100_000_u32.to_le_bytes()).await;
        let second = worker.expect(TRAY_IN).await;
        assert!(!second.is_last);
        body.extend(worker.take_up(&second));
        assert_eq!(body.len(), SIZE + 100_000);
        worker.send(CREDIT, false, request.id, &100_000_u32.to_le_bytes()).await;
        let last = worker.expect(TRAY_IN).await;
        assert!(last.is_last);
        body.extend(worker.take_up(&last));
        assert!(body == long(300_000));
        worker.respond(request.id, "", b"ok", true).await;
        worker
    };
    let client = async {
        warm(&stage).await;
        let body = Body::Full(long(300_000).into());
        let answer = stage.send(request("POST", "/", &[], body)).await.unwrap();
        assert_eq!(text(answer.body).await, "ok");
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn without_a_free_tray_a_body_goes_through_the_socket() {
    let (stage, listener) = Stage::with_worker();
    let worker = async {
        let mut worker = Worker::with_shelf(&listener).await;
        (0..TRAYS).for_each(|number| worker.set_tray(number, 1));
        stage.until_busy(1).await;
        let request = worker.enter().await;
        worker.send(CREDIT, false, request.id, &100_000_u32.to_le_bytes()).await;
        let rest = worker.expect(BODY_IN).await;
        assert!(rest.is_last);
        assert_eq!(rest.payload.len(), 100_000 - 65_536);
        worker.respond(request.id, "", b"ok", true).await;
        worker
    };
    let client = async {
        warm(&stage).await;
        // The worker takes the trays in the meantime.
        tokio::task::yield_now().await;
        let body = Body::Full(long(100_000).into());
        let answer = stage.send(request("POST", "/", &[], body)).await.unwrap();
        assert_eq!(text(answer.body).await, "ok");
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn an_answer_on_a_tray_holds_it_until_it_is_sent() {
    let (stage, listener) = Stage::with_worker();
    let (sent, mut is_sent) = tokio::sync::mpsc::channel::<()>(1);
    let worker = async {
        let mut worker = Worker::with_shelf(&listener).await;
        let id = worker.enter().await.id;
        worker.respond(id, "Content-Length: 100000\r\n", b"", false).await;
        worker.send_tray(id, true, 3, &long(100_000)).await;
        is_sent.recv().await.unwrap();
        assert_eq!(worker.tray_state(3), 0);
        worker
    };
    let client = async {
        warm(&stage).await;
        let mut answer = stage.get("/").await.unwrap();
        let piece = next(&mut answer.body).await.unwrap().unwrap();
        assert!(piece == long(100_000));
        drop((piece, answer));
        sent.send(()).await.unwrap();
        assert_eq!(stage.upstreams.load(), (0, 0));
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn an_answer_that_breaks_amid_its_trays_is_cut_off() {
    let (stage, listener) = Stage::with_worker();
    let worker = async {
        let mut worker = Worker::with_shelf(&listener).await;
        let id = worker.enter().await.id;
        worker.respond(id, "Content-Length: 200000\r\n", b"", false).await;
        worker.send_tray(id, false, 0, b"begun").await;
        stage.until_busy(1).await;
        // The worker is gone.
    };
    let client = async {
        warm(&stage).await;
        let answer = stage.get("/").await.unwrap();
        assert_eq!(text(answer.body).await, "begun! the body was cut off");
        assert_eq!(stage.upstreams.load(), (0, 0));
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn a_tray_for_a_request_that_nobody_waits_for_is_freed() {
    let (stage, listener) = Stage::with_worker();
    let worker = async {
        let mut worker = Worker::with_shelf(&listener).await;
        let id = worker.enter().await.id;
        worker.respond(id, "", b"begun", false).await;
        worker.expect(CANCEL).await;
        worker.send_tray(id, false, 7, b"late").await;
        worker.send(RESET, true, id, b"cancelled").await;
        while worker.tray_state(7) != 0 {
            tokio::task::yield_now().await;
        }
        worker
    };
    let client = async {
        warm(&stage).await;
        drop(stage.get("/").await.unwrap());
    };
    tokio::join!(worker, client);
}

#[tokio::test]
async fn trays_that_cannot_be_end_the_connection() {
    for (number, length) in [(TRAYS, 1), (5, SIZE + 1), (5, 1)] {
        let (stage, listener) = Stage::with_worker();
        let worker = async {
            let mut worker = Worker::with_shelf(&listener).await;
            let id = worker.enter().await.id;
            if length > SIZE {
                worker.set_tray(number, 1);
            }
            worker.respond(id, "", b"", false).await;
            worker.name_tray(id, true, number, length).await;
            assert!(worker.frame().await.is_none());
        };
        let client = async {
            warm(&stage).await;
            if let Ok(answer) = stage.get("/").await {
                assert_eq!(text(answer.body).await, "! the body was cut off");
            }
        };
        tokio::join!(worker, client);
    }
}
