//! A site that runs elsewhere, in any language, without any Python here.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, UnixListener},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use crate::site::{Connection, PATIENCE, Plan, Site, until};

/// Answers every request with its own name and the request's first line.
async fn elsewhere(name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, name));
        }
    });
    address
}

async fn answer(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, name: &str) {
    loop {
        let (mut lines, mut first) = (BufReader::new(&mut stream).lines(), None);
        loop {
            match lines.next_line().await {
                Ok(Some(line)) if line.is_empty() => break,
                Ok(Some(line)) => first = first.or(Some(line)),
                _ => return,
            }
        }
        let body = format!("{name}: {}", first.unwrap());
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + &body).as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_site_elsewhere_is_reached() {
    let address = elsewhere("tcp").await;
    let site = Plan::new()
        .set(&format!("site.upstream = 'http://{address}'"))
        .file("public/x", "a file")
        .variable("PATH", "/nowhere")
        .start()
        .await;
    site.get("/a/%2F?b").await.shows("tcp: GET /a/%2F?b HTTP/1.1");
    site.get("/x").await.shows("a file");
    let told = site.tell(&["status"]);
    assert!(told.contains(&address), "{told}");
}

#[tokio::test]
async fn a_site_on_a_unix_socket_is_reached() {
    let plan = Plan::new().set("site.upstream = 'unix:other.sock'");
    let listener = UnixListener::bind(plan.folder().join("other.sock")).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, "unix"));
        }
    });
    let site = plan.start().await;
    site.get("/").await.shows("unix: GET / HTTP/1.1");
}

#[tokio::test]
async fn a_site_that_is_away_is_502() {
    let site = Plan::new().set("site.upstream = 'unix:nobody.sock'").start().await;
    site.get("/").await.is(502);
}

#[tokio::test]
async fn a_site_that_moves_is_followed() {
    let (first, second) = (elsewhere("first").await, elsewhere("second").await);
    let site = Plan::new().set(&format!("site.upstream = 'http://{first}'")).start().await;
    site.get("/").await.shows("first");
    let file = site.folder().join("perijove.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&first, &second)).unwrap();
    site.tell(&["reload"]);
    site.get("/").await.shows("second");
}

/// A program elsewhere that can be killed with all its connections.
struct Program {
    address: String,
    running: JoinHandle<()>,
}

impl Program {
    async fn start(address: &str, name: &'static str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let running = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, name));
            }
        });
        Self { address, running }
    }

    async fn kill(self) -> String {
        self.running.abort();
        assert!(self.running.await.is_err());
        self.address
    }
}

/// Asks again and again until it is told to stop; how many were answered by whom.
async fn load(address: String, stop: Arc<AtomicBool>, answers: Arc<[AtomicUsize; 2]>) {
    let mut connection = Connection::to(&address).await;
    while !stop.load(Ordering::Relaxed) {
        let answer = connection.ask("GET", "/api/x", b"").await;
        let who = usize::from(answer.is(200).text().starts_with("second"));
        answers[who].fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn one_of_several_may_be_killed_under_load() {
    let first = Program::start("127.0.0.1:0", "first").await;
    let second = Program::start("127.0.0.1:0", "second").await;
    let site = Plan::new()
        .set(&format!(
            "route = [{{ path = '/api/', upstream = ['http://{}', 'http://{}'] }}]",
            first.address, second.address
        ))
        .set("metrics.listen = '127.0.0.1:0'")
        .start()
        .await;
    let (stop, answers) =
        (Arc::new(AtomicBool::new(false)), Arc::new([0, 0].map(AtomicUsize::new)));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(load(site.address().to_owned(), stop.clone(), answers.clone()));
    }
    let counted = |who: usize| answers[who].load(Ordering::Relaxed);
    until("both are asked", || counted(0) > 100 && counted(1) > 100).await;
    let address = second.kill().await;
    let before = counted(0);
    until("the other is asked", || counted(0) > before + 200).await;
    until_phases(&site, ["in use", "resting"]).await;
    let again = Program::start(&address, "second").await;
    let before = counted(1);
    until("it is asked again", || counted(1) > before + 100).await;
    stop.store(true, Ordering::Relaxed);
    // Whoever was not answered with 200 has failed.
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    until_phases(&site, ["in use", "in use"]).await;
    let told = site.tell(&["status"]);
    assert!(told.contains(&format!("http://{address}")), "{told}");
    drop(again);
}

/// Waits until the status tells this of both programs, while they go on.
async fn until_phases(site: &Site, expected: [&str; 2]) {
    let waiting = async {
        loop {
            let told = site.begin_command(&["status", "--json"]).await.unwrap();
            let status: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
            let phase = |at: usize| status["upstreams"][at]["phase"].as_str().unwrap().to_owned();
            if [phase(0), phase(1)] == expected {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

/// Answers with the head of each request, and leads elsewhere.
async fn mirror() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut lines = BufReader::new(&mut stream).lines();
                let mut head = Vec::new();
                while let Ok(Some(line)) = lines.next_line().await
                    && !line.is_empty()
                {
                    head.push(line);
                }
                let body = head.join("\n");
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nLocation: /login\r\n\r\n{body}",
                    body.len()
                );
                drop(stream.write_all(answer.as_bytes()).await);
            });
        }
    });
    address
}

#[tokio::test]
async fn a_program_may_lie_elsewhere_than_it_thinks() {
    let address = mirror().await;
    let site = Plan::new()
        .set(&format!(
            "route = [\
             {{ path = '/bare/', upstream = 'http://{address}', upstream-path = '/' }}, \
             {{ path = '/moved', upstream = 'http://{address}/base/', upstream-host = 'upstream' }}, \
             {{ path = '/named/', upstream = 'http://{address}', upstream-host = 'app.internal' }}]"
        ))
        .start()
        .await;
    let answer = site.get("/bare/x%2Fy?z").await;
    answer.shows("GET /x%2Fy?z HTTP/1.1").shows("X-Forwarded-Prefix: /bare");
    answer.shows(&format!("Host: {}", site.address()));
    assert_eq!(answer.field("location"), Some("/bare/login"));
    let answer = site.get("/moved/x").await;
    answer.shows("GET /base/x HTTP/1.1").shows(&format!("Host: {address}\n"));
    answer.shows(&format!("X-Forwarded-Host: {}", site.address()));
    assert_eq!(answer.field("location"), Some("/login"));
    let answer = site.get("/named/x").await;
    answer.shows("GET /named/x HTTP/1.1").shows("Host: app.internal");
}

/// A program elsewhere under TLS, for `app.internal`; its certificate lies in the folder.
async fn secure(folder: &std::path::Path) -> String {
    let made = rcgen::generate_simple_self_signed(["app.internal".to_owned()]).unwrap();
    std::fs::write(folder.join("ca.pem"), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shaking = acceptor.accept(stream);
            tokio::spawn(async move {
                if let Ok(stream) = shaking.await {
                    answer(stream, "secure").await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn programs_elsewhere_are_reached_by_tls() {
    let plan = Plan::new();
    let address = secure(plan.folder()).await;
    let own = "ca = 'ca.pem', name = 'app.internal'";
    let site = plan
        .set(&format!(
            "route = [\
             {{ path = '/api/', upstream = 'https://{address}', upstream-tls = {{ {own} }} }}, \
             {{ path = '/other/', upstream = 'https://{address}', upstream-tls = {{ ca = 'ca.pem' }} }}]"
        ))
        .start()
        .await;
    for _ in 0..3 {
        site.get("/api/x").await.shows("secure: GET /api/x HTTP/1.1");
    }
    site.get("/other/x").await.is(502);
    let told = site.logs("its certificate is not for 127.0.0.1, but for");
    assert!(told.contains("app.internal") && told.contains("upstream-tls.name"), "{told}");
    // What is read anew keeps what stays as it was.
    site.tell(&["reload"]);
    site.get("/api/x").await.shows("secure");
    let status = site.status();
    assert_eq!(status["upstreams"][0]["requests"], 4, "{status}");
    assert_eq!(status["upstreams"][0]["address"], format!("https://{address}"));
    assert_eq!(status["upstreams"][1]["failures"], 1);
}
