//! What is done to answers before they leave: compression, files sent instead, documents of errors.

use std::{collections::BTreeMap, fs, io::Read, path::PathBuf, sync::Arc};

use perijove_gateway::{
    ErrorDocument, ErrorDocuments, ExtraFields, FileMemory, FileSettings, Files, Finish, Response,
    Route, SendFiles, Target,
};
use tempfile::TempDir;

use crate::{
    site::{Site, service},
    upstream::echo,
    wire::{Message, Wire},
};

async fn ask(client: &mut Wire, request: &str, fields: &str) -> Message {
    client.send(format!("{request} HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n")).await;
    if request.starts_with("HEAD") { client.head().await } else { client.message().await }
}

fn with(route: Route, finish: Finish) -> Route {
    Route { finish: Some(Arc::new(finish)), ..route }
}

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn texts_are_compressed_for_those_who_can_read_it() {
    let finish = || Finish { compresses: true, ..Finish::default() };
    let page = |_| Response::new(200, "text/html", "a page ".repeat(1000));
    let site = Site::new()
        .route("/", with(service(page), finish()))
        .route(
            "/long",
            with(service(|_| Response::new(200, "text/plain", "x".repeat(900_000))), finish()),
        )
        .route("/echo", with(echo().await, finish()))
        .start();
    let mut client = site.connect().await;
    let gzip = "Accept-Encoding: gzip\r\n";
    for _ in 0..2 {
        let coded = ask(&mut client, "GET /", gzip).await;
        assert_eq!(coded.get("content-encoding"), Some("gzip"));
        assert_eq!(coded.get("vary"), Some("Accept-Encoding"));
        assert_eq!(coded.get("content-length"), Some(coded.body.len().to_string().as_str()));
        assert_eq!(gunzip(&coded.body), "a page ".repeat(1000));
        let plain = ask(&mut client, "GET /", "").await;
        assert_eq!((plain.get("content-encoding"), plain.body.len()), (None, 7000));
        let head = ask(&mut client, "HEAD /", gzip).await;
        assert_eq!(head.get("content-encoding"), Some("gzip"));
        let long = ask(&mut client, "GET /long", gzip).await;
        assert_eq!(long.get("transfer-encoding"), Some("chunked"));
        assert!(gunzip(&long.body) == "x".repeat(900_000) && long.body.len() < 10_000);
    }
    // What an upstream sends is not for us to compress when it says what it is: bytes.
    let body = "x".repeat(5000);
    let post =
        format!("POST /echo HTTP/1.1\r\nHost: a\r\n{gzip}Content-Length: 5000\r\n\r\n{body}");
    client.ask(post).await.shows(200, &body);
    // A client of HTTP/1.0 is told the end of the body by the end of the connection.
    client.send(format!("GET /long HTTP/1.0\r\nHost: a\r\n{gzip}\r\n")).await;
    let old = client.head().await;
    assert_eq!((old.get("content-encoding"), old.get("connection")), (Some("gzip"), Some("close")));
}

/// A folder with private files, and a finish that lets answers name them.
fn private() -> (TempDir, Finish) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("private/a b")).unwrap();
    fs::create_dir(root.join("internal")).unwrap();
    fs::write(root.join("private/a b/é.txt"), "0123456789").unwrap();
    fs::write(root.join("private/.hidden"), "hidden").unwrap();
    fs::write(root.join("secret"), "secret").unwrap();
    fs::write(root.join("internal/x.pdf"), "pdf").unwrap();
    std::os::unix::fs::symlink("../secret", root.join("private/link")).unwrap();
    std::os::unix::fs::symlink(&root, folder.path().join("private/self")).unwrap();
    let internal = vec![Files::new("/internal/", root.join("internal"), FileSettings::plain())];
    let files = SendFiles::new(&[root.join("private")], internal, &FileMemory::new(1 << 20), true);
    (folder, Finish { files: Some(files), ..Finish::default() })
}

#[tokio::test]
async fn an_answer_may_name_a_file_to_be_sent_instead() {
    let (folder, finish) = private();
    let root = folder.path().canonicalize().unwrap();
    let route = service(move |request| {
        let mut answer = Response::new(200, "text/x-mine", "not this");
        let name = request.head.query().unwrap_or_default();
        let by = if name.starts_with(b"/") { "X-Accel-Redirect" } else { "X-Sendfile" };
        let name =
            String::from_utf8(name.to_vec()).unwrap().replace("%20", " ").replace("%C3%A9", "é");
        let path = root.join(&name);
        let value = if by == "X-Sendfile" { path.to_str().unwrap() } else { &name };
        answer.fields.push(by, value);
        answer.fields.push("Content-Disposition", "attachment");
        answer.fields.push("ETag", "\"of the answer\"");
        answer.fields.push("Cache-Control", "private");
        answer
    });
    let site = Site::new().route("/", with(route, finish)).start();
    let mut client = site.connect().await;
    let sent = ask(&mut client, "GET /?private/a%20b/%C3%A9.txt", "").await;
    sent.shows(200, "0123456789");
    assert_eq!(sent.get("content-type"), Some("text/x-mine"));
    assert_eq!(sent.get("content-disposition"), Some("attachment"));
    assert_eq!(sent.get("cache-control"), Some("private"));
    assert_eq!((sent.get("x-sendfile"), sent.get("accept-ranges")), (None, Some("bytes")));
    let tag = sent.get("etag").unwrap().to_owned();
    assert_ne!(tag, "\"of the answer\"");
    let part = ask(&mut client, "GET /?private/a%20b/%C3%A9.txt", "Range: bytes=2-3\r\n").await;
    part.shows(206, "23");
    let again = format!("If-None-Match: {tag}\r\n");
    ask(&mut client, "GET /?private/a%20b/%C3%A9.txt", &again).await.shows(304, "");
    let parts =
        ask(&mut client, "GET /?private/a%20b/%C3%A9.txt", "Range: bytes=0-1,4-5\r\n").await;
    assert!(parts.get("content-type").unwrap().starts_with("multipart/byteranges"));
    let head = ask(&mut client, "HEAD /?private/a%20b/%C3%A9.txt", "").await;
    assert_eq!((head.status(), head.get("content-length")), (200, Some("10")));
    let pdf = ask(&mut client, "GET /?/internal/x.pdf", "").await;
    pdf.shows(200, "pdf");
    assert_eq!(pdf.get("x-accel-redirect"), None);
    for (name, status) in [
        ("private/none", 404),
        ("private/.hidden", 404),
        ("private/link", 404),
        ("private/../secret", 500),
        ("secret", 500),
        ("", 500),
        ("/internal/none", 404),
        ("/internal/../secret", 500),
        ("/other/x", 500),
        ("/", 500),
    ] {
        let refused = ask(&mut client, &format!("GET /?{name}"), "").await;
        assert_eq!(refused.status(), status, "{name}");
        assert!(!refused.text().contains("secret") && refused.get("x-sendfile").is_none());
    }
}

fn documents(list: &[(u16, ErrorDocument)], overrides: bool) -> Finish {
    let list: BTreeMap<_, _> = list.iter().cloned().collect();
    Finish { documents: Some(ErrorDocuments::new(list, overrides)), ..Finish::default() }
}

#[tokio::test]
async fn errors_have_documents_of_the_site() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("502.html"), "the kitchen is closed").unwrap();
    fs::write(folder.path().join("public.html"), "public").unwrap();
    let list = [
        (404, ErrorDocument::Path("/errors/404?from=gateway".to_owned())),
        (413, ErrorDocument::Path("/errors/none".to_owned())),
        (502, ErrorDocument::File(folder.path().join("502.html"))),
        (503, ErrorDocument::File(PathBuf::from("/none"))),
    ];
    let files = Files::new("/", folder.path().to_owned(), FileSettings::default());
    let nobody = perijove_gateway::Upstreams::new(perijove_gateway::UpstreamSettings::default());
    let closed = perijove_gateway::UpstreamAddress::Unix(folder.path().join("none.sock"));
    nobody.add(perijove_gateway::Upstream {
        address: closed,
        protocol: perijove_gateway::Protocol::Http1,
        capacity: None,
        account: None,
        is_replaced: false,
    });
    let down = Target::Proxy { files: Arc::new([]), upstreams: nobody };
    let page = service(|request| {
        let agent = String::from_utf8_lossy(request.head.get("user-agent").unwrap_or_default());
        let text =
            format!("{} {} {agent}", request.head.method(), request.head.path().escape_ascii());
        match request.head.path() {
            b"/errors/404" => Response::new(200, "text/x-page", text),
            _ => Response::new(404, "text/plain", "no such document"),
        }
    });
    let site = Site::new()
        .route("/", with(Route::new(Target::Files(Arc::new(files))), documents(&list, false)))
        .route("/down", with(Route::new(down), documents(&list, false)))
        .route("/errors/", with(page, documents(&list, true)))
        .start();
    let mut client = site.connect().await;
    client.get("/public.html").await.shows(200, "public");
    let lost = ask(&mut client, "GET /nothing", "User-Agent: me\r\nRange: bytes=0-1\r\n").await;
    lost.shows(404, "GET /errors/404 me");
    assert_eq!(lost.get("content-type"), Some("text/x-page"));
    assert_eq!(lost.get("cache-control"), Some("no-store"));
    ask(&mut client, "HEAD /nothing", "").await;
    let json = ask(&mut client, "GET /nothing", "Accept: application/json\r\n").await;
    assert_eq!((json.status(), json.get("content-type")), (404, Some("application/json")));
    ask(&mut client, "GET /down", "").await.shows(502, "the kitchen is closed");
    // A document that fails itself is not asked for again: ours is shown.
    ask(&mut client, "GET /errors/x", "").await.shows(404, "GET /errors/404 ");
}

#[tokio::test]
async fn the_errors_of_a_target_are_replaced_where_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("404.html"), "ours").unwrap();
    let target = || {
        service(|_| {
            let mut answer = Response::new(404, "text/plain", "theirs");
            answer.fields.push("ETag", "\"theirs\"");
            answer.fields.push("Set-Cookie", "seen=1");
            answer
        })
    };
    let list = [(404, ErrorDocument::File(folder.path().join("404.html")))];
    let site = Site::new()
        .route("/kept", with(target(), documents(&list, false)))
        .route("/replaced", with(target(), documents(&list, true)))
        .route("/by-folder", with(target(), documents(&[], true)))
        .with(|plan| plan.error_pages = Some(folder.path().to_owned()))
        .start();
    let mut client = site.connect().await;
    client.get("/kept").await.shows(404, "theirs");
    let replaced = client.get("/replaced").await;
    replaced.shows(404, "ours");
    assert_eq!((replaced.get("etag"), replaced.get("set-cookie")), (None, Some("seen=1")));
    assert_eq!(replaced.get("content-type"), Some("text/html; charset=utf-8"));
    client.get("/by-folder").await.shows(404, "ours");
    let json = "Accept: application/json\r\n";
    ask(&mut client, "GET /replaced", json).await.shows(404, "theirs");
    client.get("/nowhere").await.shows(404, "ours");
}

#[tokio::test]
async fn every_answer_of_a_route_has_its_fields() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "a").unwrap();
    let pairs =
        [("X-Frame-Options", "DENY"), ("X-Powered-By", ""), ("Referrer-Policy", "same-origin")];
    let fields = ExtraFields(pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec());
    let finish = || Finish { fields: fields.clone(), ..Finish::default() };
    let files = Files::new("/", folder.path().to_owned(), FileSettings::default());
    let says = service(|_| {
        let mut answer = Response::new(200, "text/plain", "x");
        answer.fields.push("X-Powered-By", "a secret");
        answer.fields.push("x-frame-options", "SAMEORIGIN");
        answer
    });
    let site = Site::new()
        .route("/", with(Route::new(Target::Files(Arc::new(files))), finish()))
        .route("/says", with(says, finish()))
        .start();
    let mut client = site.connect().await;
    for (path, status, frame) in
        [("/a.txt", 200, "DENY"), ("/none", 404, "DENY"), ("/says", 200, "SAMEORIGIN")]
    {
        let answer = client.get(path).await;
        assert_eq!(
            (answer.status(), answer.get("x-frame-options")),
            (status, Some(frame)),
            "{path}"
        );
        assert_eq!(answer.get("referrer-policy"), Some("same-origin"), "{path}");
        assert_eq!(answer.get("x-powered-by"), None, "{path}");
    }
}
