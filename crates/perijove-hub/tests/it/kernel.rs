//! A kernel over its websocket, as Jupyter's own pages talk to it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    client::{PATIENCE, Socket, fetch},
    world::World,
};

pub(crate) struct Kernel {
    pub(crate) id: String,
    socket: Socket,
}

/// A request of Jupyter's API that changes something.
pub(crate) async fn change(world: &World, user: &str, method: &str, path: &str) -> Value {
    let origin = format!("http://{}", world.address);
    let cookie = format!("session={user}");
    let fields = [("Origin", origin.as_str()), ("Cookie", &cookie)];
    let path = format!("/notebook/{user}/{path}");
    let answer = fetch(&world.address, method, &path, &fields, "").await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

impl Kernel {
    pub(crate) async fn start(world: &World, user: &str) -> Self {
        let model = change(world, user, "POST", "api/kernels").await;
        Self::join(world, user, model["id"].as_str().unwrap()).await
    }

    pub(crate) async fn join(world: &World, user: &str, id: &str) -> Self {
        let path = format!("/notebook/{user}/api/kernels/{id}/channels?session_id=test");
        let socket = world.websocket(user, &path).await.unwrap();
        let mut kernel = Self { id: id.to_owned(), socket };
        kernel.wait().await;
        kernel
    }

    /// Starts the kernel anew, with the websocket open, as Jupyter's pages do: the server may be
    /// deaf on one that takes an open one's place meanwhile.
    pub(crate) async fn restart(&mut self, world: &World, user: &str) {
        change(world, user, "POST", &format!("api/kernels/{}/restart", self.id)).await;
        self.wait().await;
    }

    /// Asks for the kernel's version until there is an answer: what is sent to one that starts may
    /// be lost.
    pub(crate) async fn wait(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let id = self.send("kernel_info_request", json!({})).await;
            if timeout(Duration::from_secs(1), self.shown(&id)).await.is_ok() {
                return;
            }
            assert!(Instant::now() < deadline, "the kernel does not answer");
        }
    }

    /// Runs a cell; all that it shows, in order.
    pub(crate) async fn run(&mut self, code: &str) -> String {
        let content = json!({
            "code": code, "silent": false, "store_history": true, "user_expressions": {},
            "allow_stdin": false, "stop_on_error": true,
        });
        let id = self.send("execute_request", content).await;
        timeout(PATIENCE, self.shown(&id)).await.expect("a result in time")
    }

    async fn send(&mut self, kind: &str, content: Value) -> String {
        // No two are the same, as Jupyter wants it: what an earlier connection missed comes again.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let id = format!("message-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let message = json!({
            "channel": "shell", "buffers": [], "parent_header": {}, "metadata": {},
            "header": {
                "msg_id": id, "msg_type": kind, "session": "test", "username": "test",
                "version": "5.3", "date": "2026-01-01T00:00:00Z",
            },
            "content": content,
        });
        self.socket.send(Message::text(message.to_string())).await.unwrap();
        id
    }

    async fn shown(&mut self, id: &str) -> String {
        let mut shown = String::new();
        loop {
            let message = self.socket.next().await.expect("an open websocket").unwrap();
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["parent_header"]["msg_id"] != id {
                continue;
            }
            let content = &message["content"];
            match message["header"]["msg_type"].as_str().unwrap() {
                "stream" => shown += content["text"].as_str().unwrap(),
                "execute_result" => shown += content["data"]["text/plain"].as_str().unwrap(),
                "error" => shown += content["ename"].as_str().unwrap(),
                "status" if content["execution_state"] == "idle" => return shown,
                _ => {}
            }
        }
    }
}
