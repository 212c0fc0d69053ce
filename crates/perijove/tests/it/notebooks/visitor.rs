//! Somebody who uses notebooks in a browser.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, handshake::client::Request},
};

use crate::site::{Answer, Connection, PATIENCE, Site, until};

/// Somebody with the cookie of a login.
pub(crate) struct Visitor<'a> {
    site: &'a Site,
    cookie: String,
    /// By which name the site is reached.
    host: String,
    pub(crate) base: String,
}

/// A kernel's websocket.
pub(crate) struct Channels(pub(crate) WebSocketStream<TcpStream>);

impl<'a> Visitor<'a> {
    pub(crate) fn new(site: &'a Site, name: &str) -> Self {
        let encoded = canonical(name);
        let cookie = format!("Cookie: visitor={encoded}");
        let host = site.address().to_owned();
        Self { site, cookie, host, base: format!("/notebook/{encoded}/") }
    }

    /// The same browser, at another name of the site's address.
    pub(crate) fn at(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    /// Somebody whose cookie another has set.
    pub(crate) fn with_cookie(site: &'a Site, name: &str, cookie: &str) -> Self {
        Self { cookie: format!("Cookie: {cookie}"), ..Self::new(site, name) }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let origin = format!("Origin: http://{}", self.host);
        self.ask_with(method, path, &[&origin], body).await
    }

    pub(crate) async fn ask_with(
        &self,
        method: &str,
        path: &str,
        fields: &[&str],
        body: &str,
    ) -> Answer {
        let fields = [&[self.cookie.as_str()], fields].concat();
        let stream = TcpStream::connect(self.site.address()).await.unwrap();
        let mut connection = Connection::over(stream, &self.host);
        connection.ask_with(method, path, &fields, body.as_bytes()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    /// What a browser shows.
    pub(crate) async fn page(&self, path: &str) -> Answer {
        self.ask_with("GET", path, &["Accept: text/html"], "").await
    }

    /// Clicks on the button of the site.
    pub(crate) async fn launch(&self, startup: &str) -> Answer {
        self.get(&format!("/launch?startup={}", canonical(startup))).await
    }

    /// Clicks, and waits until Jupyter answers.
    pub(crate) async fn open(&self, startup: &str) {
        let launched = self.launch(startup).await;
        assert_eq!(launched.status, 303, "{launched:?}");
        let address = launched.field("location").unwrap();
        assert!(address.starts_with(&self.base), "{address} is not below {}", self.base);
        self.until_ready().await;
    }

    pub(crate) async fn until_ready(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE * 2;
        loop {
            let answer = self.get(&format!("{}api", self.base)).await;
            if answer.status == 200 && answer.text().contains("version") {
                return;
            }
            let told = answer.text();
            assert!(tokio::time::Instant::now() < deadline, "it is not ready: {told}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts a kernel; its id.
    pub(crate) async fn kernel(&self) -> String {
        let body = r#"{"name": "python3"}"#;
        let answer = self.ask("POST", &format!("{}api/kernels", self.base), body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let started: Value = serde_json::from_slice(&answer.body).unwrap();
        started["id"].as_str().unwrap().to_owned()
    }

    /// Opens a kernel's websocket.
    pub(crate) async fn channels(&self, kernel: &str) -> Channels {
        self.try_channels(&self.base, kernel, &self.host).await.unwrap()
    }

    /// The same, at any address and from a page of any origin. The error is the status.
    pub(crate) async fn try_channels(
        &self,
        base: &str,
        kernel: &str,
        origin: &str,
    ) -> Result<Channels, u16> {
        let request = self.handshake(base, kernel, origin);
        let stream = TcpStream::connect(self.site.address()).await.unwrap();
        match timeout(PATIENCE, client_async(request, stream)).await.unwrap() {
            Ok((socket, _)) => Ok(Channels(socket)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    fn handshake(&self, base: &str, kernel: &str, origin: &str) -> Request {
        let address = format!("ws://{}{base}api/kernels/{kernel}/channels", self.host);
        let mut request = address.into_client_request().unwrap();
        let fields = request.headers_mut();
        fields.insert("Cookie", self.cookie[8..].parse().unwrap());
        fields.insert("Origin", format!("http://{origin}").parse().unwrap());
        request
    }

    /// The ids of the kernels that run.
    pub(crate) async fn kernels(&self) -> Vec<String> {
        let answer = self.get(&format!("{}api/kernels", self.base)).await;
        let kernels: Vec<Value> = serde_json::from_slice(&answer.body).unwrap();
        kernels.iter().map(|kernel| kernel["id"].as_str().unwrap().to_owned()).collect()
    }
}

impl Channels {
    /// Runs code; all that it prints, results and errors included.
    pub(crate) async fn execute(&mut self, code: &str) -> String {
        timeout(PATIENCE, self.try_execute(code)).await.expect("the code does not end").unwrap()
    }

    async fn try_execute(&mut self, code: &str) -> Option<String> {
        let id = format!("message-{code}");
        let header = json!({
            "msg_id": id, "msg_type": "execute_request", "username": "", "session": "story",
            "date": "2026-01-01T00:00:00Z", "version": "5.3",
        });
        let content = json!({
            "code": code, "silent": false, "store_history": false, "user_expressions": {},
            "allow_stdin": false, "stop_on_error": true,
        });
        let message = json!({
            "header": header, "parent_header": {}, "metadata": {}, "content": content,
            "channel": "shell", "buffers": [],
        });
        self.0.send(Message::text(message.to_string())).await.ok()?;
        let mut printed = String::new();
        loop {
            let Message::Text(text) = self.0.next().await?.ok()? else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            let content = &message["content"];
            if message["parent_header"]["msg_id"] != id.as_str() {
                continue;
            }
            match message["msg_type"].as_str().unwrap() {
                "stream" => printed.push_str(content["text"].as_str().unwrap()),
                "execute_result" => {
                    printed.push_str(content["data"]["text/plain"].as_str().unwrap());
                }
                "error" => printed.push_str(content["evalue"].as_str().unwrap()),
                "status" if content["execution_state"] == "idle" => return Some(printed),
                _ => {}
            }
        }
    }

    /// Waits until the other side ends the connection.
    pub(crate) async fn until_closed(&mut self, within: Duration) {
        let closed = async {
            while let Some(Ok(message)) = self.0.next().await {
                if message.is_close() {
                    return;
                }
            }
        };
        timeout(within, closed).await.expect("it stays open");
    }
}

/// Waits until the control socket tells that a notebook is in a state.
pub(crate) async fn until_state(site: &Site, user: &str, state: &str) -> Value {
    let mut told = Value::Null;
    until(&format!("the notebook of {user} is {state}"), || {
        let output = site.command(&["notebook", "status", user, "--json"]);
        told = serde_json::from_slice(&output.stdout).unwrap_or_default();
        told["state"] == state
    })
    .await;
    told
}

/// All but letters, digits, `-`, `_` and `~` percent-encoded.
pub(crate) fn canonical(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => char::from(byte).into(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Somebody who is not logged in.
pub(crate) async fn nobody(site: &Site, path: &str) -> Answer {
    Connection::to(site.address()).await.ask("GET", path, b"").await
}
