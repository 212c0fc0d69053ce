//! Static files as a client sees them, over a folder on the disk.

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use super::{CacheRule, FileMemory, FileSettings, Files, MediaTypes};
use crate::{Body, Head, Response};

/// A folder and what serves it, at a time of its own.
struct Served {
    folder: TempDir,
    files: Files,
    now: u64,
}

impl Served {
    /// A folder `public` beside a secret.
    fn new() -> Self {
        Self::with("/", FileSettings::default())
    }

    fn with(prefix: &str, settings: FileSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("public")).unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        let mut files = Files::new(prefix, folder.path().join("public"), settings);
        // What a test writes was changed long ago.
        files.wall_clock = || SystemTime::now() + Duration::from_secs(60);
        Self { folder, files, now: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("public").join(name)
    }

    /// Writes a file as it was an hour ago.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
        self.age(name, 3600)
    }

    fn age(&self, name: &str, seconds: u64) -> &Self {
        let then = SystemTime::now() - Duration::from_secs(seconds);
        fs::File::options().write(true).open(self.path(name)).unwrap().set_modified(then).unwrap();
        self
    }

    fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Option<Response> {
        let mut all: Vec<(&[u8], &[u8])> = vec![(b"host", b"a")];
        all.extend(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let head = Head::from_parts(method, path.as_bytes(), &all).unwrap();
        self.files.serve_at(&head, self.now)
    }

    /// A field of the answer to GET, empty when it is not there.
    fn field(&self, path: &str, fields: &[(&str, &str)], name: &str) -> String {
        let answer = self.ask("GET", path, fields).unwrap();
        String::from_utf8(answer.fields.get(name).unwrap_or_default().to_vec()).unwrap()
    }

    /// Asks, and compares status and body (or, where there is no body, the field that explains
    /// the status) with what is expected; `-` is no answer.
    #[track_caller]
    fn check(&self, request: &str, fields: &[(&str, &str)], expected: &str) -> &Self {
        let (method, path) = request.split_once(' ').unwrap();
        let found = self.ask(method, path, fields).map_or("-".to_owned(), |answer| {
            let status = answer.status;
            let body = String::from_utf8_lossy(&read(answer.body)).into_owned();
            let fields = &answer.fields;
            let mut reason = ["location", "allow", "content-range"].into_iter();
            let reason = reason.find_map(|name| fields.get(name)).unwrap_or_default();
            let reason = String::from_utf8_lossy(reason);
            format!("{status} {reason} {body}").split_whitespace().collect::<Vec<_>>().join(" ")
        });
        assert_eq!(found, expected, "{request} {fields:?}");
        self
    }
}

fn read(body: Body) -> Vec<u8> {
    match body {
        Body::Empty => Vec::new(),
        Body::Full(bytes) => bytes.to_vec(),
        Body::File(file) => {
            let mut bytes = vec![0; usize::try_from(file.length).unwrap()];
            std::os::unix::fs::FileExt::read_exact_at(&*file.file, &mut bytes, file.offset)
                .unwrap();
            bytes
        }
        Body::Stream(mut source) => {
            let (mut all, length) = (Vec::new(), source.length().unwrap());
            let mut context = Context::from_waker(Waker::noop());
            while let Poll::Ready(Some(chunk)) = source.poll_chunk(&mut context) {
                all.extend_from_slice(&chunk.unwrap());
            }
            assert_eq!(all.len() as u64, length);
            all
        }
        Body::Tunnel(_) => panic!("a file is no tunnel"),
    }
}

#[test]
fn files_and_folders_with_an_index_are_found() {
    let site = Served::new();
    site.write("index.html", "home").write("docs/index.html", "docs").write("a b/é.txt", "text");
    site.write("empty", "").write("bare/x", "x").write(".well-known/acme", "key");
    site.check("GET /", &[], "200 home");
    site.check("GET /index.html?v=1", &[], "200 home");
    site.check("HEAD /", &[], "200 home");
    site.check("GET /docs/", &[], "200 docs");
    site.check("GET /docs?a=<b>", &[], "308 /docs/?a=%3Cb%3E");
    site.check("HEAD /docs", &[], "308 /docs/");
    site.check("GET /a%20b/%c3%a9.txt", &[], "200 text");
    site.check("GET /empty", &[], "200");
    site.check("GET /.well-known/acme", &[], "200 key");
    for missing in ["/none", "/bare", "/bare/", "/docs/none/", "/index.html/", "/index.html/x"] {
        site.check(&format!("GET {missing}"), &[], "-");
    }
}

#[test]
fn what_is_hidden_or_outside_is_not_there() {
    let site = Served::new();
    site.write(".env", "x").write(".git/config", "x").write("a/x", "x");
    symlink("../secret", site.path("out")).unwrap();
    symlink(site.folder.path().join("secret"), site.path("absolute")).unwrap();
    symlink("..", site.path("up")).unwrap();
    symlink("a/x", site.path("inside")).unwrap();
    site.check("GET /inside", &[], "200 x");
    for path in [
        "/.env",
        "/.git/config",
        "/%2egit/config",
        "/out",
        "/absolute",
        "/up/secret",
        "/../secret",
        "/%2e%2e/secret",
        "/a/..%2f..%2fsecret",
        "/a/%2e%2e/%2e%2e/secret",
        "/..%5csecret",
        "//a/x",
        "/a//x",
        "/a/./x",
        "/a/x%00",
        "/a/x%2f",
        "/a\\x",
    ] {
        site.check(&format!("GET {path}"), &[], "-");
    }
}

#[test]
fn pipes_and_sockets_are_no_files() {
    let site = Served::new();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        site.path("pipe"),
        rustix::fs::FileType::Fifo,
        0o644.into(),
        0,
    )
    .unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(site.path("socket")).unwrap();
    site.check("GET /pipe", &[], "-").check("GET /socket", &[], "-");
}

#[test]
fn other_methods_are_refused_where_there_is_a_file_and_passed_on_where_there_is_none() {
    let site = Served::new();
    site.write("index.html", "home").write("docs/index.html", "docs");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        site.check(&format!("{method} /index.html"), &[], "405 GET, HEAD");
        site.check(&format!("{method} /docs/"), &[], "405 GET, HEAD");
        site.check(&format!("{method} /docs"), &[], "-");
        site.check(&format!("{method} /none"), &[], "-");
    }
}

#[test]
fn the_prefix_is_cut_off() {
    let site = Served::with("/static/", FileSettings::default());
    site.write("index.html", "home").write("a.css", "css");
    site.check("GET /static/a.css", &[], "200 css");
    site.check("GET /static/", &[], "200 home");
    site.check("GET /static", &[], "308 /static/");
    site.check("GET /a.css", &[], "-");
    site.check("GET /statica.css", &[], "-");
}

#[test]
fn fields_tell_what_a_file_is() {
    let rule =
        CacheRule { pattern: "d*".to_owned(), age: Duration::from_secs(60), is_immutable: false };
    let types = MediaTypes::new([("shader".to_owned(), "text/x-shader".to_owned())]);
    let settings = FileSettings { cache_rules: vec![rule], types, ..FileSettings::default() };
    let site = Served::with("/", settings);
    site.write("a.shader", "s").write("index.html", "home").write("a.js", "js").write("data", "?");
    assert_eq!(site.field("/", &[], "content-type"), "text/html; charset=utf-8");
    assert_eq!(site.field("/a.js", &[], "content-type"), "text/javascript; charset=utf-8");
    assert_eq!(site.field("/a.shader", &[], "content-type"), "text/x-shader");
    assert_eq!(site.field("/data", &[], "content-type"), "application/octet-stream");
    assert_eq!(site.field("/data", &[], "accept-ranges"), "bytes");
    assert_eq!(site.field("/data", &[], "cache-control"), "max-age=60");
    assert_eq!(site.field("/a.js", &[], "cache-control"), "");
    assert_eq!(site.field("/data", &[], "vary"), "");
    let modified = fs::metadata(site.path("data")).unwrap().modified().unwrap();
    assert_eq!(site.field("/data", &[], "last-modified"), httpdate::fmt_http_date(modified));
}

#[test]
fn a_copy_that_is_still_good_is_not_sent_again() {
    let site = Served::new();
    site.write("a", "text").write("large", vec![b'x'; 200_000]);
    for path in ["/a", "/large"] {
        let tag = site.field(path, &[], "etag");
        let modified = site.field(path, &[], "last-modified");
        let unchanged = site.ask("GET", path, &[("If-None-Match", &tag)]).unwrap();
        assert_eq!(unchanged.status, 304);
        assert_eq!(unchanged.fields.get("etag"), Some(tag.as_bytes()));
        assert!(matches!(unchanged.body, Body::Empty));
        site.check(&format!("HEAD {path}"), &[("If-Modified-Since", &modified)], "304");
        site.check(&format!("GET {path}"), &[("If-Match", "\"other\"")], "412");
    }
    site.check("GET /a", &[("If-None-Match", "\"other\"")], "200 text");
}

#[test]
fn ranges_are_served_from_memory_and_from_the_disk() {
    let site = Served::new();
    let large: Vec<u8> = (0..200_000u32).map(|at| b'a' + (at % 26) as u8).collect();
    site.write("small", "0123456789").write("large", &large);
    site.check("GET /small", &[("Range", "bytes=2-4")], "206 bytes 2-4/10 234");
    site.check("GET /small", &[("Range", "bytes=-1")], "206 bytes 9-9/10 9");
    site.check("GET /small", &[("Range", "bytes=10-")], "416 bytes */10");
    site.check("GET /small", &[("Range", "bytes=4-2")], "200 0123456789");
    site.check("HEAD /small", &[("Range", "bytes=2-4")], "200 0123456789");
    site.check("GET /small", &[("Range", "bytes=0-0"), ("Range", "bytes=1-1")], "200 0123456789");
    site.check("GET /large", &[("Range", "bytes=26-28")], "206 bytes 26-28/200000 abc");
    site.check("GET /large", &[("Range", "bytes=300000-")], "416 bytes */200000");
    let tag = site.field("/small", &[], "etag");
    let range = ("Range", "bytes=2-4");
    site.check("GET /small", &[range, ("If-Range", &tag)], "206 bytes 2-4/10 234");
    site.check("GET /small", &[range, ("If-Range", "\"other\"")], "200 0123456789");
    site.check("GET /small", &[range, ("If-None-Match", &tag)], "304");
}

#[test]
fn several_ranges_come_in_parts() {
    let site = Served::new();
    let large: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    site.write("small.txt", "0123456789").write("large.txt", &large);
    for (path, length, pieces) in [
        ("/small.txt", 10, vec![(0, 2), (5, 7), (9, 10)]),
        ("/large.txt", 300_000, vec![(100, 200), (150_000, 290_000)]),
    ] {
        let whole = if length == 10 { b"0123456789".to_vec() } else { large.clone() };
        let list: Vec<_> =
            pieces.iter().map(|(start, end)| format!("{start}-{}", end - 1)).collect();
        let range = format!("bytes={}", list.join(", "));
        let answer = site.ask("GET", path, &[("Range", &range)]).unwrap();
        assert_eq!(answer.status, 206);
        let content_type =
            String::from_utf8(answer.fields.get("content-type").unwrap().into()).unwrap();
        let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let mut expected = Vec::new();
        for (start, end) in pieces {
            expected.extend_from_slice(
                format!(
                    "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
                     Content-Range: bytes {start}-{}/{length}\r\n\r\n",
                    end - 1
                )
                .as_bytes(),
            );
            expected.extend_from_slice(&whole[start..end]);
        }
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert!(read(answer.body) == expected[2..], "{path}");
    }
}

#[test]
fn precompressed_neighbours_are_sent_to_those_who_can_read_them() {
    let site = Served::new();
    site.write("a.css", "plain").write("a.css.br", "brotli").write("a.css.gz", "gzip");
    site.write("large.js", vec![b'x'; 200_000]).write("large.js.zst", "zstd");
    site.write("old.css", "new").write("old.css.gz", "old").age("old.css.gz", 7200);
    site.check("GET /a.css", &[], "200 plain");
    site.check("GET /a.css", &[("Accept-Encoding", "gzip, br")], "200 brotli");
    site.check("GET /a.css", &[("Accept-Encoding", "gzip")], "200 gzip");
    site.check("GET /a.css", &[("Accept-Encoding", "zstd")], "200 plain");
    site.check("GET /large.js", &[("Accept-Encoding", "zstd")], "200 zstd");
    site.check("GET /old.css", &[("Accept-Encoding", "gzip")], "200 new");
    site.check("GET /a.css.gz", &[], "200 gzip");
    let brotli = [("Accept-Encoding", "br")];
    assert_eq!(site.field("/a.css", &brotli, "content-encoding"), "br");
    assert_eq!(site.field("/a.css", &brotli, "content-type"), "text/css; charset=utf-8");
    assert_eq!(site.field("/a.css", &brotli, "vary"), "Accept-Encoding");
    assert_eq!(site.field("/a.css", &[], "vary"), "Accept-Encoding");
    assert_eq!(site.field("/a.css", &[], "content-encoding"), "");
    assert_ne!(site.field("/a.css", &[], "etag"), site.field("/a.css", &brotli, "etag"));
    let tag = site.field("/a.css", &brotli, "etag");
    site.check("GET /a.css", &[("Accept-Encoding", "br"), ("If-None-Match", &tag)], "304");
    site.check("GET /a.css", &[("If-None-Match", &tag)], "200 plain");
}

#[test]
fn a_change_shows_within_a_second() {
    let mut site = Served::new();
    site.write("a", "one").write("large", vec![b'x'; 200_000]);
    let tag = site.field("/a", &[], "etag");
    site.check("GET /a", &[], "200 one").check("GET /b", &[], "-");
    site.write("a", "two").write("b", "new").write("large", "small now");
    site.check("GET /a", &[], "200 one").check("GET /b", &[], "200 new");
    // What lies on the disk cannot be sent as it was.
    site.check("GET /large", &[], "200 small now");
    site.now += 1000;
    site.check("GET /a", &[("If-None-Match", &tag)], "200 two");
    site.write("a.gz", "gzip");
    site.now += 1000;
    site.check("GET /a", &[("Accept-Encoding", "gzip")], "200 gzip");
    fs::remove_file(site.path("a")).unwrap();
    site.now += 1000;
    site.check("GET /a", &[], "-");
    site.write("a", "three");
    site.check("GET /a", &[], "200 three");
}

#[test]
fn what_was_missed_often_is_found_soon_after_it_came() {
    let mut site = Served::new();
    site.write("static/a", "a");
    for _ in 0..100 {
        site.check("GET /", &[], "-").check("GET /app/x", &[], "-").check(
            "GET /static/b",
            &[],
            "-",
        );
    }
    site.write("index.html", "home").write("app/x", "x").write("static/b", "b");
    site.check("GET /static/b", &[], "200 b").check("GET /app/x", &[], "-");
    site.now += 20;
    site.check("GET /", &[], "200 home").check("GET /app/x", &[], "200 x");
}

#[test]
fn a_change_right_after_reading_is_not_missed_though_its_time_is_the_same() {
    let mut site = Served::new();
    site.files.wall_clock = SystemTime::now;
    fs::write(site.path("a"), "one").unwrap();
    let modified = fs::metadata(site.path("a")).unwrap().modified().unwrap();
    site.check("GET /a", &[], "200 one");
    fs::write(site.path("a"), "two").unwrap();
    let file = fs::File::options().write(true).open(site.path("a")).unwrap();
    file.set_modified(modified).unwrap();
    site.now += 1000;
    site.check("GET /a", &[], "200 two");
}

#[test]
fn memory_is_bounded_and_used_files_stay() {
    let settings = FileSettings { memory: FileMemory::new(100_000), ..FileSettings::default() };
    let mut site = Served::with("/", settings);
    site.write("hot", "one");
    site.check("GET /hot", &[], "200 one");
    for name in 0..50 {
        let name = format!("file{name}");
        site.write(&name, vec![b'x'; 10_000]);
        assert!(site.ask("GET", &format!("/{name}"), &[]).is_some());
        site.check("GET /hot", &[], "200 one");
        assert!(site.files.cache.weight() <= 100_000);
    }
    // Still from memory: within the second nobody looks at the disk.
    fs::remove_file(site.path("hot")).unwrap();
    site.check("GET /hot", &[], "200 one");
    site.now += 1000;
    site.check("GET /hot", &[], "-");
    let weight = site.files.cache.weight();
    site.write("larger-than-all", vec![b'x'; 110_000]);
    assert!(site.ask("GET", "/larger-than-all", &[]).is_some());
    assert_eq!(site.files.cache.weight(), weight);
}

#[test]
fn folders_share_their_memory() {
    let memory = FileMemory::new(20_000);
    let settings = FileSettings { memory, ..FileSettings::default() };
    let (one, other) = (Served::with("/", settings.clone()), Served::with("/", settings));
    one.write("a", vec![b'1'; 8000]);
    other.write("a", vec![b'2'; 8000]);
    for _ in 0..3 {
        assert_eq!(read(one.ask("GET", "/a", &[]).unwrap().body), [b'1'; 8000]);
        assert_eq!(read(other.ask("GET", "/a", &[]).unwrap().body), [b'2'; 8000]);
    }
    assert!(one.files.cache.weight() > 16_000);
    for name in 0..20 {
        other.write(&name.to_string(), vec![b'x'; 8000]);
        assert!(other.ask("GET", &format!("/{name}"), &[]).is_some());
        assert!(one.files.cache.weight() <= 20_000);
    }
    one.check("GET /b", &[], "-");
    assert_eq!(read(one.ask("GET", "/a", &[]).unwrap().body), [b'1'; 8000]);
}

#[test]
fn a_folder_is_the_first_of_its_pages_that_is_there() {
    let index = vec!["index.html".to_owned(), "index.htm".to_owned()];
    let mut site = Served::with("/", FileSettings { index, ..FileSettings::default() });
    site.write("index.htm", "old").write("docs/index.htm", "docs").write("both/index.html", "html");
    site.write("both/index.htm", "htm")
        .write("odd/index.html/x", "x")
        .write("odd/index.htm", "odd");
    site.check("GET /", &[], "200 old").check("GET /docs/", &[], "200 docs");
    site.check("GET /docs", &[], "308 /docs/").check("GET /both/", &[], "200 html");
    site.check("GET /odd/", &[], "200 odd").check("POST /docs/", &[], "405 GET, HEAD");
    assert_eq!(site.field("/docs/", &[], "content-type"), "text/html; charset=utf-8");
    site.write("index.html", "new");
    site.check("GET /", &[], "200 new");
    fs::remove_file(site.path("index.html")).unwrap();
    site.now += 1000;
    site.check("GET /", &[], "200 old");

    let none = Served::with("/", FileSettings { index: Vec::new(), ..FileSettings::default() });
    none.write("index.html", "home").write("docs/index.html", "docs");
    none.check("GET /", &[], "-").check("GET /docs", &[], "-").check("GET /docs/", &[], "-");
    none.check("GET /index.html", &[], "200 home");
}

#[test]
fn a_page_that_is_not_there_is_answered_by_the_fallback() {
    let fallback = Some("index.html".to_owned());
    let site = Served::with("/app/", FileSettings { fallback, ..FileSettings::default() });
    site.write("index.html", "shell").write("a.js", "js").write("docs/x", "x");
    let html = [("Accept", "text/html,*/*;q=0.8")];
    for path in ["/app/", "/app/settings", "/app/settings/me", "/app/docs", "/app/docs/"] {
        site.check(&format!("GET {path}"), &html, "200 shell");
    }
    site.check("HEAD /app/settings", &html, "200 shell");
    site.check("GET /app/a.js", &html, "200 js");
    site.check("GET /app/gone.js", &[("Accept", "*/*")], "-");
    site.check("GET /app/api", &[("Accept", "application/json")], "-");
    site.check("POST /app/settings", &html, "-").check("GET /other", &html, "-");
    site.check("GET /app/../x", &html, "-").check("GET /app/.env", &html, "-");
    assert_eq!(site.field("/app/settings", &html, "cache-control"), "no-cache");
    assert_eq!(site.field("/app/index.html", &html, "cache-control"), "");
    let tag = site.field("/app/settings", &html, "etag");
    site.check("GET /app/x", &[html[0], ("If-None-Match", &tag)], "304");
}

#[test]
fn one_file_stands_at_one_path() {
    let site = Served::new();
    site.write("icons/.favicon.ico", "icon").write("icons/other", "no");
    let files =
        Files::single("/favicon.ico", &site.path("icons/.favicon.ico"), FileSettings::default());
    let site = Served { files, ..site };
    site.check("GET /favicon.ico", &[], "200 icon");
    site.check("HEAD /f%61vicon.ico?v=1", &[], "200 icon");
    site.check("POST /favicon.ico", &[], "405 GET, HEAD");
    for path in ["/", "/favicon.ico/", "/favicon.ico/other", "/other", "/favicon.ico2"] {
        site.check(&format!("GET {path}"), &[], "-");
    }
    assert_eq!(site.field("/favicon.ico", &[], "content-type"), "image/x-icon");
}

#[test]
fn a_folder_is_listed_where_that_is_wanted() {
    let settings = FileSettings { is_listed: true, ..FileSettings::default() };
    let site = Served::with("/files/", settings);
    site.write("b.txt", "text")
        .write("a <b>&\"c\".txt", "odd")
        .write("z/x", "x")
        .write(".hidden", "h");
    site.write("javascript:alert(1)", "js").write("docs/index.html", "docs");
    symlink("../secret", site.path("out")).unwrap();
    symlink("b.txt", site.path("link.txt")).unwrap();
    let listed = site.ask("GET", "/files/", &[]).unwrap();
    let page = String::from_utf8(read(listed.body)).unwrap();
    let hrefs: Vec<&str> =
        page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let odd = "./a%20%3Cb%3E%26%22c%22.txt";
    let expected = ["./docs/", "./z/", odd, "./b.txt", "./javascript%3Aalert%281%29", "./link.txt"];
    assert_eq!(hrefs, expected, "{page}");
    assert!(page.contains("a &lt;b&gt;&amp;&quot;c&quot;.txt") && !page.contains("<b>"), "{page}");
    for path in ["/files/a%20%3Cb%3E%26%22c%22.txt", "/files/javascript%3Aalert%281%29"] {
        assert_eq!(site.ask("GET", path, &[]).unwrap().status, 200, "{path}");
    }
    site.check("GET /files/docs/", &[], "200 docs").check("GET /files/z", &[], "308 /files/z/");
    site.check("POST /files/z/", &[], "405 GET, HEAD").check("GET /files/none/", &[], "-");
    let below = String::from_utf8(read(site.ask("GET", "/files/z/", &[]).unwrap().body)).unwrap();
    assert!(below.contains("href=\"../\"") && below.contains("href=\"./x\""), "{below}");
    let (folder, top) = (Served::new(), "GET /");
    folder.write("x", "x").check(top, &[], "-");
}

#[test]
fn small_texts_are_kept_compressed() {
    let mut site = Served::new();
    let text = "body { color: red }\n".repeat(100);
    site.write("a.css", &text).write("a.bin", &text).write("short.css", "p {}");
    let both = [("Accept-Encoding", "gzip, deflate, br, zstd")];
    let (gzip, plain) = ([("Accept-Encoding", "gzip")], [("Accept-Encoding", "zstd")]);
    for _ in 0..2 {
        assert_eq!(site.field("/a.css", &both, "content-encoding"), "br");
        assert_eq!(site.field("/a.css", &gzip, "content-encoding"), "gzip");
        assert_eq!(site.field("/a.css", &plain, "content-encoding"), "");
        assert_eq!(site.field("/a.css", &[], "vary"), "Accept-Encoding");
        assert_eq!(site.field("/short.css", &both, "content-encoding"), "");
        assert_eq!(site.field("/a.bin", &both, "content-encoding"), "");
    }
    let coded = read(site.ask("GET", "/a.css", &gzip).unwrap().body);
    let mut decoded = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&*coded);
    std::io::Read::read_to_string(&mut decoder, &mut decoded).unwrap();
    assert!(decoded == text && coded.len() < 200);
    let tags: Vec<String> =
        [&both[..], &gzip, &[]].iter().map(|fields| site.field("/a.css", fields, "etag")).collect();
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[2] != tags[0], "{tags:?}");
    site.check("GET /a.css", &[gzip[0], ("If-None-Match", &tags[1])], "304");
    let range = [gzip[0], ("Range", "bytes=0-1"), ("If-Range", &tags[1])];
    let part = site.ask("GET", "/a.css", &range).unwrap();
    assert_eq!((part.status, read(part.body)), (206, coded[..2].to_vec()));
    // It is made of the file, whatever happens to that.
    site.write("a.css", text.replace("red", "blue"));
    site.now += 1000;
    assert_ne!(read(site.ask("GET", "/a.css", &gzip).unwrap().body), coded);
    site.write("a.css.gz", "by hand");
    site.now += 1000;
    site.check("GET /a.css", &gzip, "200 by hand");
    assert_eq!(site.field("/a.css", &both, "content-encoding"), "gzip");

    let settings = FileSettings { compresses: false, ..FileSettings::default() };
    let never = Served::with("/", settings);
    never.write("a.css", &text);
    assert_eq!(never.field("/a.css", &both, "content-encoding"), "");
}

#[tokio::test]
async fn long_texts_are_compressed_once_and_by_another_thread() {
    let mut site = Served::new();
    let text = "body { color: red }\n".repeat(20_000);
    site.write("a.css", &text);
    let gzip = [("Accept-Encoding", "gzip")];
    // Who asks while it is made waits for it, and is told nothing of its length.
    let first: Vec<Response> = (0..5).map(|_| site.ask("GET", "/a.css", &gzip).unwrap()).collect();
    let mut bodies = Vec::new();
    for answer in first {
        assert_eq!(answer.fields.get("content-encoding"), Some(b"gzip".as_slice()));
        assert_eq!(answer.fields.get("vary"), Some(b"Accept-Encoding".as_slice()));
        bodies.push(crate::body::whole(answer.body, u64::MAX).await.unwrap());
    }
    let mut decoded = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&*bodies[0]);
    std::io::Read::read_to_string(&mut decoder, &mut decoded).unwrap();
    assert!(decoded == text);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    // From then on it is at hand, with its length, and parts of it can be named.
    let known = site.ask("GET", "/a.css", &gzip).unwrap();
    assert_eq!(known.body.length(), Some(bodies[0].len() as u64));
    let tag = site.field("/a.css", &gzip, "etag");
    site.check("GET /a.css", &[gzip[0], ("If-None-Match", &tag)], "304");
    let part = site.ask("GET", "/a.css", &[gzip[0], ("Range", "bytes=0-1")]).unwrap();
    assert_eq!((part.status, read(part.body)), (206, bodies[0][..2].to_vec()));
    // Parts of what is not made are parts of the file.
    let range = [("Accept-Encoding", "br"), ("Range", "bytes=0-3")];
    let part = site.ask("GET", "/a.css", &range).unwrap();
    assert!(part.status == 206 && part.fields.get("content-encoding").is_none());
    assert_eq!(read(part.body), b"body");
    assert!(site.files.cache.weight() > bodies[0].len());
    // It is made of the file, whatever happens to that.
    site.write("a.css", text.replace("red", "blue"));
    site.now += 1000;
    let next = site.ask("GET", "/a.css", &gzip).unwrap();
    assert_ne!(crate::body::whole(next.body, u64::MAX).await.unwrap(), bodies[0]);
}
