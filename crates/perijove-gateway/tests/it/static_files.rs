//! Files of a folder, as clients get them.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

use perijove_gateway::{FileSettings, Files, Response, Route, Target};
use tempfile::TempDir;

use crate::{
    site::{Running, Site, service},
    upstream::echo,
    wire::Wire,
};

/// A folder with the files that are named, and a gateway that serves it.
fn serving(files: &[(&str, &[u8])]) -> (TempDir, Running) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let site = Site::new().route("/", route(folder.path())).start();
    (folder, site)
}

fn route(folder: &Path) -> Route {
    Route::new(Target::Files(Arc::new(files(folder))))
}

fn files(folder: &Path) -> Files {
    Files::new("/", folder.to_owned(), FileSettings::default())
}

/// More than is kept in memory, and than a socket takes at once.
fn large() -> Vec<u8> {
    (0..5_000_000_u32).map(|at| (at % 251) as u8).collect()
}

async fn ask(client: &mut Wire, method: &str, path: &str, fields: &str) -> crate::wire::Message {
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n")).await;
    if method == "HEAD" { client.head().await } else { client.message().await }
}

#[tokio::test]
async fn one_connection_gets_small_and_large_files_and_what_is_missing() {
    let (_folder, site) =
        serving(&[("index.html", b"home"), ("a/style.css", b"css"), ("large", &large())]);
    let mut client = site.connect().await;
    for _ in 0..2 {
        let home = client.get("/").await;
        home.shows(200, "home");
        assert_eq!(home.get("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(home.get("content-length"), Some("4"));
        assert!(client.get("/large").await.body == large());
        client.get("/a/style.css?v=2").await.shows(200, "css");
        assert_eq!(client.get("/none").await.status(), 404);
        let folder = client.get("/a").await;
        assert_eq!((folder.status(), folder.get("location")), (404, None));
    }
}

#[tokio::test]
async fn nothing_outside_the_folder_is_reached() {
    let (folder, site) =
        serving(&[("public/x", b"x"), ("secret", b"secret"), ("public/.env", b"k")]);
    symlink("../secret", folder.path().join("public/link")).unwrap();
    site.routes.insert(None, "/", route(&folder.path().join("public")));
    let mut client = site.connect().await;
    client.get("/x").await.shows(200, "x");
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/..%5csecret",
        "/..\\secret",
        "/.%2e/secret",
        "/x/../../secret",
        "/%252e%252e/secret",
        "/link",
        "/.env",
        "/%2eenv",
        "/x%00",
        "/%c0%ae%c0%ae/secret",
        "//secret",
        "/./../secret",
        "/%zz",
        "http://site.example/../secret",
    ] {
        let answer = client.get(path).await;
        assert!(matches!(answer.status(), 400 | 404), "{path}: {answer:?}");
        assert!(!answer.text().contains("secret\n") && answer.text() != "secret", "{path}");
        if answer.get("connection") == Some("close") {
            client = site.connect().await;
        }
    }
}

#[tokio::test]
async fn head_tells_what_get_would_bring() {
    let (_folder, site) = serving(&[("small", b"text"), ("large", &large()), ("empty", b"")]);
    let mut client = site.connect().await;
    for path in ["/small", "/large", "/empty"] {
        let get = client.get(path).await;
        let head = ask(&mut client, "HEAD", path, "").await;
        assert_eq!(head.status(), 200);
        for name in ["etag", "last-modified", "content-type", "accept-ranges"] {
            assert_eq!(head.get(name), get.get(name), "{path} {name}");
        }
        if !get.body.is_empty() {
            assert_eq!(head.get("content-length"), get.get("content-length"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_copy_that_is_good_is_not_sent_again_and_a_part_is_sent_alone() {
    let (_folder, site) = serving(&[("small.txt", b"0123456789"), ("large", &large())]);
    let mut client = site.connect().await;
    for path in ["/small.txt", "/large"] {
        let whole = client.get(path).await;
        let tag = whole.get("etag").unwrap();
        let again = ask(&mut client, "GET", path, &format!("If-None-Match: {tag}\r\n")).await;
        again.shows(304, "");
        assert_eq!(again.get("etag"), Some(tag));
        let changed = ask(&mut client, "GET", path, "If-Match: \"other\"\r\n").await;
        assert_eq!(changed.status(), 412);
        let part = ask(&mut client, "GET", path, "Range: bytes=2-4\r\n").await;
        assert_eq!(part.status(), 206);
        assert_eq!(part.body, whole.body[2..5]);
        let total = whole.body.len();
        assert_eq!(part.get("content-range"), Some(format!("bytes 2-4/{total}").as_str()));
        let end = ask(&mut client, "GET", path, "Range: bytes=-1\r\n").await;
        assert_eq!(end.body, whole.body[total - 1..]);
        let parts = ask(&mut client, "GET", path, "Range: bytes=0-1,4-\r\n").await;
        assert_eq!(parts.status(), 206);
        assert!(parts.get("content-type").unwrap().starts_with("multipart/byteranges; boundary="));
        assert!(parts.body.windows(total - 4).any(|window| window == &whole.body[4..]));
        let outside = ask(&mut client, "GET", path, &format!("Range: bytes={total}-\r\n")).await;
        assert_eq!(outside.status(), 416);
        assert_eq!(outside.get("content-range"), Some(format!("bytes */{total}").as_str()));
    }
    client.get("/small.txt").await.shows(200, "0123456789");
}

#[tokio::test]
async fn a_change_is_refused_and_the_connection_stays() {
    let (_folder, site) = serving(&[("a", b"text")]);
    let mut client = site.connect().await;
    for request in [
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "DELETE /a HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = client.ask(request).await;
        assert_eq!((answer.status(), answer.get("allow")), (405, Some("GET, HEAD")), "{request}");
        client.get("/a").await.shows(200, "text");
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_not_told_to_go_on() {
    let (_folder, site) = serving(&[("a", b"text")]);
    let mut client = site.connect().await;
    let fields = "Content-Length: 5000000\r\nExpect: 100-continue\r\n";
    let answer = ask(&mut client, "POST", "/a", fields).await;
    assert_eq!((answer.status(), answer.get("connection")), (405, Some("close")));
    client.is_closed().await;
}

#[tokio::test]
async fn precompressed_files_go_to_those_who_can_read_them() {
    let (_folder, site) =
        serving(&[("a.js", b"plain"), ("a.js.gz", b"gzip"), ("a.js.br", b"brotli")]);
    let mut client = site.connect().await;
    for (accepted, coding, body) in [
        ("gzip, deflate, br", Some("br"), "brotli"),
        ("gzip;q=1, br;q=0", Some("gzip"), "gzip"),
        ("identity", None, "plain"),
    ] {
        let answer =
            ask(&mut client, "GET", "/a.js", &format!("Accept-Encoding: {accepted}\r\n")).await;
        answer.shows(200, body);
        assert_eq!(answer.get("content-encoding"), coding);
        assert_eq!(answer.get("vary"), Some("Accept-Encoding"));
        assert_eq!(answer.get("content-type"), Some("text/javascript; charset=utf-8"));
    }
}

#[tokio::test]
async fn what_is_no_file_goes_to_the_application_behind() {
    let (folder, site) = serving(&[("robots.txt", b"all"), ("docs/index.html", b"docs")]);
    let Route { target: Target::Proxy { upstreams, .. }, .. } = echo().await else {
        panic!("an upstream is a proxy's")
    };
    let files = Arc::from([Arc::new(files(folder.path()))]);
    site.routes.insert(None, "/", Route::new(Target::Proxy { files, upstreams }));
    let mut client = site.connect().await;
    client.get("/robots.txt").await.shows(200, "all");
    client.get("/docs/").await.shows(200, "docs");
    assert_eq!(client.get("/docs").await.get("location"), Some("/docs/"));
    let post = "POST /docs HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    client.ask(post).await.shows(200, "hi");
    client.ask(post.replace("/docs", "/app/x")).await.shows(200, "hi");
    assert_eq!(client.ask(post.replace("/docs", "/robots.txt")).await.status(), 405);
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_sent_ends_the_connection() {
    let (folder, site) = serving(&[("large", &vec![b'x'; 50_000_000])]);
    let mut client = site.connect().await;
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.get("content-length"), Some("50000000"));
    let file = fs::File::options().write(true).open(folder.path().join("large")).unwrap();
    file.set_len(10).unwrap();
    assert!(client.rest().await.len() < 50_000_000);
    // Others are served.
    site.connect().await.get("/large").await.shows(200, "xxxxxxxxxx");
}

#[tokio::test]
async fn a_folder_may_be_exchanged_while_it_is_served() {
    let (folder, site) = serving(&[("one/a", b"one"), ("two/a", b"two")]);
    let link = folder.path().join("current");
    symlink("one", &link).unwrap();
    site.routes.insert(None, "/", route(&link));
    let mut client = site.connect().await;
    client.get("/a").await.shows(200, "one");
    symlink("two", folder.path().join("next")).unwrap();
    fs::rename(folder.path().join("next"), &link).unwrap();
    // A change shows within a second or so; how often it is asked does not matter.
    let mut answer = client.get("/a").await;
    while answer.text() == "one" {
        answer = client.get("/a").await;
    }
    answer.shows(200, "two");
}

#[tokio::test]
async fn other_routes_are_not_shadowed() {
    let (_folder, site) = serving(&[("api/x", b"file")]);
    site.routes.insert(None, "/api/", service(|_| Response::new(200, "text/plain", "service")));
    let mut client = site.connect().await;
    client.get("/api/x").await.shows(200, "service");
}
