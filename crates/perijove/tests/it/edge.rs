//! Files, redirects and hosts, as a configuration asks for them.

use crate::site::Plan;

const BROWSER: &str = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";

#[tokio::test]
async fn files_lie_where_the_configuration_says() {
    let site = Plan::new()
        .wsgi("hello")
        .file("assets/icon.ico", "an icon")
        .file("assets/private/x", "x")
        .file("media/cat.3f2a9c1b.jpg", "cat")
        .file("media/cat.css", "css")
        .file("media/deep/index.htm", "deep")
        .file("web/index.html", "shell")
        .file("web/main.js", "js")
        .set(
            "site.static = [\
             { path = '/favicon.ico', file = 'assets/icon.ico' }, \
             { path = '/media/', folder = 'media', index = ['index.htm'], listing = true, \
               cache = [{ match = '*.css', age = '1h' }] }, \
             { path = '/web/', folder = 'web', fallback = 'index.html' }]",
        )
        .start()
        .await;
    let mut connection = site.connect().await;
    let icon = connection.ask("GET", "/favicon.ico", b"").await;
    icon.shows("an icon");
    assert_eq!(icon.field("content-type"), Some("image/x-icon"));
    let refused = connection.ask("POST", "/favicon.ico", b"x").await;
    assert_eq!((refused.status, refused.field("allow")), (405, Some("GET, HEAD")));
    site.get("/icon.ico").await.is(404);

    let cat = connection.ask("GET", "/media/cat.3f2a9c1b.jpg", b"").await;
    assert_eq!(cat.field("cache-control"), Some("max-age=31536000, immutable"));
    let css = connection.ask("GET", "/media/cat.css", b"").await;
    assert_eq!(css.field("cache-control"), Some("max-age=3600"));
    connection.ask("GET", "/media/deep/", b"").await.shows("deep");
    let list = connection.ask("GET", "/media/", b"").await;
    assert!(list.text().contains("href=\"./cat.css\""), "{}", list.text());

    let page = connection.ask_with("GET", "/web/settings/me", &[BROWSER], b"").await;
    page.shows("shell");
    assert_eq!(page.field("cache-control"), Some("no-cache"));
    // What is no page is the application's.
    connection.ask_with("GET", "/web/gone.js", &["Accept: */*"], b"").await.is(404);
    connection.ask("GET", "/web/main.js", b"").await.shows("js");
    site.get("/").await.shows("hello");
}

#[tokio::test]
async fn a_route_may_be_files_or_a_redirect() {
    let site = Plan::new()
        .wsgi("hello")
        .file("handbook/index.html", "handbook")
        .file("handbook/a b.txt", "text")
        .file("robots.txt", "nobody")
        .set(
            "route = [\
             { path = '/handbook/', folder = 'handbook', listing = true }, \
             { path = '/robots.txt', file = 'robots.txt' }, \
             { path = '/old/', redirect = '/new/{rest}', status = 301 }, \
             { path = '/fixed', redirect = 'https://example.com/' }, \
             { host = 'www.example.com', redirect = 'https://example.com{path}', status = 308 }, \
             { host = '*.old.example.com', redirect = 'https://example.com/' }]",
        )
        .start()
        .await;
    let mut connection = site.connect().await;
    connection.ask("GET", "/handbook/", b"").await.shows("handbook");
    connection.ask("GET", "/robots.txt", b"").await.shows("nobody");
    let mut check = async |host: &str, path: &str, expected: (u16, &str)| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        connection.send(request.as_bytes()).await;
        let answer = connection.answer(false).await;
        let location = answer.field("location").unwrap_or_default();
        assert_eq!((answer.status, location), expected, "{host} {path}");
    };
    check("s", "/old/a/b?c=d", (301, "/new/a/b?c=d")).await;
    check("s", "/old//evil.example", (301, "/new//evil.example")).await;
    check("s", "/fixed/more", (302, "https://example.com/")).await;
    check("www.example.com", "/a?b=c", (308, "https://example.com/a?b=c")).await;
    check("WWW.example.com:80", "/handbook/", (308, "https://example.com/handbook/")).await;
    check("a.old.example.com", "/a", (302, "https://example.com/")).await;
    check("old.example.com", "/", (200, "")).await;
}

#[tokio::test]
async fn hosts_that_are_not_the_sites_are_refused_and_a_reload_changes_them() {
    let plan = Plan::new().wsgi("hello");
    let site = plan.set("site.hosts = ['example.com', '*.example.com']").start().await;
    let mut connection = site.connect().await;
    let mut check = async |host: &str, status: u16| {
        connection.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await;
        assert_eq!(connection.answer(false).await.status, status, "{host}");
    };
    check("example.com", 200).await;
    check("a.example.com:8000", 200).await;
    check("attacker.example", 421).await;
    check("127.0.0.1", 421).await;
    let file = site.folder().join("perijove.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("'*.example.com'", "'127.0.0.1'");
    site.write("perijove.toml", text);
    site.tell(&["reload"]);
    check("a.example.com:8000", 421).await;
    check("127.0.0.1", 200).await;
}

#[test]
fn what_cannot_be_meant_is_told() {
    let ended = Plan::new()
        .wsgi("hello")
        .file("public/x", "x")
        .set(
            "site.static = [{ path = '/a' }, { folder = 'public', fallback = 'none.html' }, \
             { path = 'b', folder = 'public', index = ['a/b'] }, \
             { path = '/c/', file = 'app.py' }, { file = 'none' }]",
        )
        .set("site.hosts = ['https://example.com', 'example.com:80']")
        .set("route = [{ path = '/x', redirect = '/y', status = 200 }]")
        .run();
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    for what in [
        "`site.static[0]`: needs either `folder` or `file`",
        "`site.static[1].fallback`: there is no file",
        "`site.static[2].path`: \"b\" does not begin with a slash",
        "`site.static[2].index[0]`: \"a/b\" is no name of a file",
        "`site.static[3].path`: a file does not lie at a path with a slash at its end",
        "`site.static[4].file`: there is no file",
        "`site.hosts[0]`: \"https://example.com\" is no name of a host",
        "`site.hosts[1]`: \"example.com:80\" is no name of a host",
        "`route[0].status`: 200 is no status of a redirect",
    ] {
        assert!(ended.log.contains(what), "{what}\n{}", ended.log);
    }
}

fn gunzip(answer: &crate::site::Answer) -> String {
    assert_eq!(answer.field("content-encoding"), Some("gzip"), "{answer:?}");
    let mut text = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&*answer.body);
    std::io::Read::read_to_string(&mut decoder, &mut text).unwrap();
    text
}

const APPLICATION: &str = r#"
import os

def application(environ, start_response):
    path = environ["PATH_INFO"]
    here = os.path.dirname(os.path.abspath(__file__))
    if path == "/long":
        start_response("200 OK", [("Content-Type", "text/html"), ("ETag", '"1"')])
        return [b"a long page, " * 1000]
    if path == "/lines":
        start_response("200 OK", [("Content-Type", "text/plain")])
        def lines():
            for number in range(3):
                yield b"line %d\n" % number
                while not os.path.exists(os.path.join(here, "go-%d" % number)):
                    __import__("time").sleep(0.005)
        return lines()
    if path.startswith("/send/"):
        start_response("200 OK", [("X-Sendfile", os.path.join(here, path[6:]))])
        return [b"not this"]
    if path.startswith("/accel/"):
        start_response("200 OK", [("X-Accel-Redirect", "/internal/" + path[7:])])
        return []
    if path == "/fail":
        raise RuntimeError("on purpose")
    if path == "/errors/404":
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"lost: " + environ["HTTP_USER_AGENT"].encode()]
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"theirs"]
"#;

#[tokio::test]
async fn answers_of_the_application_are_compressed_as_they_come() {
    let site = Plan::new().file("app.py", APPLICATION).start().await;
    let mut connection = site.connect().await;
    let fields = ["Accept-Encoding: gzip"];
    let long = connection.ask_with("GET", "/long", &fields, b"").await;
    assert_eq!(gunzip(&long), "a long page, ".repeat(1000));
    assert_eq!(long.field("etag"), Some("W/\"1\""));
    assert_eq!(connection.ask("GET", "/long", b"").await.body.len(), 13_000);
    // Each line arrives although the next one is not there yet.
    connection.send(b"GET /lines HTTP/1.1\r\nHost: s\r\nAccept-Encoding: gzip\r\n\r\n").await;
    let mut raw = Vec::new();
    for number in 0..3 {
        let line = format!("line {number}\n");
        while !plain(&raw).ends_with(&line) {
            raw.extend(connection.more().await);
        }
        site.make(&format!("go-{number}"));
    }
    let off = Plan::new().file("app.py", APPLICATION).set("site.compress = false").start().await;
    let mut connection = off.connect().await;
    let plain = connection.ask_with("GET", "/long", &fields, b"").await;
    assert_eq!((plain.field("content-encoding"), plain.field("vary")), (None, None));
}

/// What can be read so far of a chunked answer in gzip.
fn plain(raw: &[u8]) -> String {
    let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") else {
        return String::new();
    };
    let mut rest = &raw[end + 4..];
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
        let Some(chunk) = rest.get(at + 2..at + 2 + size) else { break };
        body.extend_from_slice(chunk);
        rest = rest.get(at + 4 + size..).unwrap_or_default();
    }
    let mut text = Vec::new();
    // It ends too early, as long as the rest has not come.
    drop(std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*body), &mut text));
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn an_application_has_files_sent_instead_of_its_answer() {
    let site = Plan::new()
        .file("app.py", APPLICATION)
        .file("private/report.txt", "a report")
        .file("files/x.txt", "internal")
        .set("site.sendfile = ['private']")
        .set("site.static = [{ path = '/internal/', folder = 'files', internal = true }]")
        .start()
        .await;
    site.get("/send/private/report.txt").await.shows("a report");
    site.get("/accel/x.txt").await.shows("internal");
    site.get("/internal/x.txt").await.is(404);
    let part =
        site.connect().await.ask_with("GET", "/accel/x.txt", &["Range: bytes=0-1"], b"").await;
    assert_eq!((part.status, part.text()), (206, "in".to_owned()));
    let refused = site.get("/send/app.py").await;
    assert_eq!((refused.status, refused.field("x-sendfile")), (500, None));
    let line = site.logs("may not be sent");
    assert!(line.contains("app.py") && line.contains("`sendfile`"), "{line}");
    site.get("/send/private/none").await.is(404);
}

#[tokio::test]
async fn errors_are_shown_as_the_site_wants_them() {
    let site = Plan::new()
        .file("app.py", APPLICATION)
        .file("errors/500.html", "we broke it")
        .file("errors/busy.html", "too large")
        .set("site.error-documents = { 404 = '/errors/404', 413 = 'errors/busy.html' }")
        .set("site.body-limit = 10")
        .set("site.headers = { X-Frame-Options = 'DENY' }")
        .start()
        .await;
    let agent = "User-Agent: me";
    let mut connection = site.connect().await;
    let failed = connection.ask_with("GET", "/fail", &[agent], b"").await;
    assert_eq!((failed.status, failed.text()), (500, "we broke it".to_owned()));
    assert_eq!(failed.field("x-frame-options"), Some("DENY"));
    let json = connection.ask_with("GET", "/fail", &["Accept: application/json"], b"").await;
    assert_eq!((json.status, json.field("content-type")), (500, Some("application/json")));
    let theirs = connection.ask_with("GET", "/nothing", &[agent], b"").await;
    assert_eq!((theirs.status, theirs.text()), (404, "theirs".to_owned()));
    assert_eq!(theirs.field("x-frame-options"), Some("DENY"));
    let large = site.post("/", b"more than ten bytes").await;
    assert_eq!((large.status, large.text()), (413, "too large".to_owned()));

    let file = site.folder().join("perijove.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    site.write("perijove.toml", text + "site.error-override = true\n");
    site.tell(&["reload"]);
    let ours = connection.ask_with("GET", "/nothing", &[agent], b"").await;
    assert_eq!((ours.status, ours.text()), (404, "lost: me".to_owned()));
}
