//! The site: says who a request belongs to, as it is told by the test, and remembers questions.

use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the site is like at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mood {
    /// Names that are signed in but may not have a notebook.
    pub(crate) banned: Vec<String>,
    /// A further field of each yes, such as `Cache-Control: max-age=60`.
    pub(crate) extra: String,
    /// Answers 503 to everything.
    pub(crate) is_away: bool,
}

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) address: String,
    mood: Arc<Mutex<Mood>>,
    requests: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Site {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mood, requests) = (Arc::<Mutex<Mood>>::default(), Arc::<Mutex<Vec<Value>>>::default());
        let (kept_mood, kept_requests) = (mood.clone(), requests.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, mood.clone(), requests.clone()));
            }
        });
        Self { address, mood: kept_mood, requests: kept_requests, task }
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut self.mood.lock().unwrap());
    }

    /// What was asked so far, and forgotten herewith.
    pub(crate) fn take_requests(&self) -> Vec<Value> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

async fn serve(mut stream: TcpStream, mood: Arc<Mutex<Mood>>, requests: Arc<Mutex<Vec<Value>>>) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(length) => buffer.extend_from_slice(&piece[..length]),
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let request = read(&head);
        let answer = answer(&request, &mood.lock().unwrap());
        requests.lock().unwrap().push(request);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn read(head: &str) -> Value {
    let mut lines = head.trim_end().split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap(), first.next().unwrap());
    let fields: Map<String, Value> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), Value::from(value.trim())))
        .collect();
    json!({"method": method, "target": target, "fields": fields})
}

fn answer(request: &Value, mood: &Mood) -> String {
    let cookies = request["fields"]["cookie"].as_str().unwrap_or_default();
    let user = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="));
    let (status, fields, body) = match user {
        _ if mood.is_away => ("503 Service Unavailable", String::new(), "away"),
        None if request["target"] == "/login" => {
            ("200 OK", "Set-Cookie: session=ada; Path=/\r\n".to_owned(), "welcome")
        }
        None => ("302 Found", "Location: /login\r\n".to_owned(), "sign in"),
        Some(user) if mood.banned.iter().any(|banned| banned == user) => {
            ("403 Forbidden", "X-Site: own\r\n".to_owned(), "the site's own words")
        }
        Some(user) => {
            let extra =
                if mood.extra.is_empty() { String::new() } else { mood.extra.clone() + "\r\n" };
            (
                "200 OK",
                format!("Perijove-User: {user}\r\nSet-Cookie: seen=1; Path=/\r\n{extra}"),
                "ok",
            )
        }
    };
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}
