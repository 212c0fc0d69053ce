//! A site that runs elsewhere, in any language, without any Python here.

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, UnixListener},
};

use crate::site::Plan;

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
