//! Requests to a site: its application, its files, its log.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::site::Plan;

#[tokio::test]
async fn an_application_is_served() {
    let site = Plan::new().wsgi("hello").start().await;
    site.get("/").await.shows("hello");
    site.get("/nothing/here").await.is(404);
    let ended = site.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

#[tokio::test]
async fn many_requests_go_over_one_connection() {
    let site = Plan::new().wsgi("hello").start().await;
    let mut connection = site.connect().await;
    for _ in 0..20 {
        connection.ask("GET", "/", b"").await.shows("hello");
    }
    let head = connection.ask("HEAD", "/", b"").await;
    assert_eq!((head.status, head.field("content-length")), (200, Some("6")));
}

#[tokio::test]
async fn files_come_before_the_application() {
    let site = Plan::new()
        .wsgi("hello")
        .file("public/version", "from a file")
        .file("public/.secret", "no")
        .file("public/page/index.html", "a page")
        .start()
        .await;
    site.get("/version").await.shows("from a file");
    site.get("/page/").await.shows("a page");
    site.get("/pid").await.is(200);
    site.get("/.secret").await.is(404);
    site.get("/../app.py").await.is(404);
    site.get("/%2e%2e/app.py").await.is(404);
}

#[tokio::test]
async fn a_file_is_not_sent_twice() {
    let site = Plan::new().wsgi("hello").file("public/style.css", "p {}").start().await;
    let mut connection = site.connect().await;
    let first = connection.ask("GET", "/style.css", b"").await;
    let tag = format!("If-None-Match: {}", first.field("etag").unwrap());
    let second = connection.ask_with("GET", "/style.css", &[&tag], b"").await;
    assert_eq!(second.status, 304);
    let part = connection.ask_with("GET", "/style.css", &["Range: bytes=2-3"], b"").await;
    assert_eq!((part.status, part.text()), (206, "{}".to_owned()));
}

#[tokio::test]
async fn a_site_may_be_files_alone() {
    let site = Plan::new().file("public/index.html", "only this").start().await;
    site.get("/").await.shows("only this");
    site.get("/other").await.is(404);
}

#[tokio::test]
async fn large_bodies_go_up_and_down() {
    let site = Plan::new().wsgi("hello").start().await;
    let body: Vec<u8> = (0..8_u32 << 20).map(|at| (at % 251) as u8).collect();
    let hex: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = format!("{} {hex}", body.len());
    site.post("/upload", &body).await.shows(&expected);

    let mut connection = site.connect().await;
    connection
        .send(b"POST /upload HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for piece in body.chunks(100_000) {
        connection.send(format!("{:x}\r\n", piece.len()).as_bytes()).await;
        connection.send(piece).await;
        connection.send(b"\r\n").await;
    }
    connection.send(b"0\r\n\r\n").await;
    connection.answer(false).await.shows(&expected);

    let answer = site.get("/download/128").await;
    assert_eq!(answer.body.len(), 128 << 16);
    assert!(answer.body.chunks(256).all(|row| row[0] == 0 && row[255] == 255));
}

#[tokio::test]
async fn the_application_sees_who_asks_and_for_what() {
    let site = Plan::new().wsgi("hello").start().await;
    let mut connection = site.connect().await;
    let fields = ["X-Forwarded-For: 10.9.9.9", "X-Forwarded-Proto: https", "Perijove-User: ada"];
    let answer = connection.ask_with("GET", "/tell/caf%C3%A9?a=b", &fields, b"").await;
    let environ: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(environ["REQUEST_METHOD"], "GET");
    assert_eq!(environ["PATH_INFO"], "/tell/caf\u{c3}\u{a9}");
    assert_eq!(environ["QUERY_STRING"], "a=b");
    assert_eq!(environ["SCRIPT_NAME"], "");
    assert_eq!(environ["REMOTE_ADDR"], "127.0.0.1");
    assert_eq!(environ["wsgi.url_scheme"], "http");
    assert!(environ.get("HTTP_PERIJOVE_USER").is_none(), "{environ}");
}

#[tokio::test]
async fn trusted_proxies_are_believed() {
    let site = Plan::new().wsgi("hello").set("trusted-proxies = ['127.0.0.1']").start().await;
    let mut connection = site.connect().await;
    let fields = ["X-Forwarded-For: 10.9.9.9", "X-Forwarded-Proto: https"];
    let answer = connection.ask_with("GET", "/tell", &fields, b"").await;
    let environ: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(environ["REMOTE_ADDR"], "10.9.9.9");
    assert_eq!(environ["wsgi.url_scheme"], "https");
}

#[tokio::test]
async fn each_request_has_a_line_with_its_id() {
    let site = Plan::new().wsgi("hello").set("log.access = 'json'").start().await;
    site.get("/version?x=1").await.shows("one");
    let line = site.logs("\"/version");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["status"], 200);
    let id = line["request_id"].as_str().unwrap();
    assert!(!id.is_empty() && id.len() <= 64, "{id}");
}

#[tokio::test]
async fn access_lines_go_to_a_file_that_is_opened_again() {
    let site = Plan::new().wsgi("hello").set("log.access-file = 'access.log'").start().await;
    let file = site.folder().join("access.log");
    let holds = |words: &'static str| {
        let file = file.clone();
        move || std::fs::read_to_string(&file).is_ok_and(|text| text.contains(words))
    };
    site.get("/version?before").await.is(200);
    crate::site::until("the line is written", holds("/version?before")).await;
    std::fs::rename(&file, site.folder().join("access.log.1")).unwrap();
    site.signal(rustix::process::Signal::USR1);
    crate::site::until("the new file is used", || {
        // Any request after the signal will do.
        std::thread::scope(|scope| {
            let asked = || {
                std::net::TcpStream::connect(site.address()).map(|mut stream| {
                    std::io::Write::write_all(
                        &mut stream,
                        b"GET /version?after HTTP/1.0\r\nHost: s\r\n\r\n",
                    )
                    .ok();
                    std::io::Read::read_to_end(&mut stream, &mut Vec::new()).ok();
                })
            };
            scope.spawn(asked).join().unwrap().ok();
        });
        holds("/version?after")()
    })
    .await;
}

#[tokio::test]
async fn a_traceback_is_logged_with_the_id_of_its_request() {
    let site = Plan::new().wsgi("hello").start().await;
    let answer = site.get("/fail").await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    let line = site.logs("RuntimeError: this view always fails");
    let access = site.logs("\"GET /fail ");
    let id = access.split_whitespace().next_back().unwrap();
    assert!(line.contains(id), "{id} is not in {line}");
}

#[tokio::test]
async fn what_the_application_writes_is_logged_with_the_request() {
    let site = Plan::new()
        .wsgi("hello")
        .set("log.format = 'json'")
        .set("log.access = 'json'")
        .start()
        .await;
    site.get("/say").await.shows("said");
    let printed = site.logs("printed by the application");
    let said = site.logs("said by the application");
    let access: Value = serde_json::from_str(&site.logs("\"/say\"")).unwrap();
    let id = access["request_id"].as_str().unwrap();
    for line in [printed, said] {
        assert!(line.contains(id), "{id} is not in {line}");
    }
}

#[tokio::test]
async fn further_paths_lead_elsewhere() {
    let other = Plan::new().file("public/grafana/index.html", "a graph").start().await;
    let site = Plan::new()
        .wsgi("hello")
        .file("manual/index.html", "read me")
        .set(&format!(
            "route = [{{ path = '/grafana/', upstream = 'http://{}' }}, \
             {{ path = '/manual/', folder = 'manual' }}, \
             {{ path = '/old', redirect = '/version' }}]",
            other.address()
        ))
        .start()
        .await;
    site.get("/grafana/").await.shows("a graph");
    site.get("/manual/").await.shows("read me");
    let redirect = site.get("/old").await;
    assert_eq!((redirect.status, redirect.field("location")), (302, Some("/version")));
    site.get("/version").await.shows("one");
}

#[tokio::test]
async fn a_folder_without_any_configuration_is_served() {
    let site = Plan::new().wsgi("hello").file("public/x", "a file").without_file().start().await;
    site.get("/").await.shows("hello");
    site.get("/x").await.shows("a file");
    assert_eq!(site.stop().code, Some(0));
}

#[tokio::test]
async fn a_socket_that_is_handed_over_is_used() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let site = Plan::new().wsgi("hello").socket(socket).start().await;
    assert_eq!(site.address(), address);
    site.get("/").await.shows("hello");
}
