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
