//! Notebooks on a domain of their own: tickets lead there, and the site stays where it is.

use std::{net::TcpListener, time::Duration};

use super::{site_with_people, visitor::Visitor};
use crate::site::{Answer, Plan, Site};

/// A site whose notebooks are at `nb.localhost`, or at a host of their user's below it.
pub(super) async fn start(plan: Plan, host: &str) -> (Site, String) {
    // The port must be known before the start: it stands in the configuration.
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let domain = format!("notebook.domain = 'http://{host}:{port}'");
    let site = plan.set(&domain).socket(socket).start().await;
    (site, format!("{}:{port}", host.replace("{user}", "ada")))
}

/// What a browser asks for that follows a link or a redirect from another site.
const LINK: [&str; 4] = [
    "Accept: text/html",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Dest: document",
];

async fn page(site: &Site, host: &str, path: &str, fields: &[&str]) -> Answer {
    let fields = [&LINK[..], fields].concat();
    let stream = tokio::net::TcpStream::connect(site.address()).await.unwrap();
    crate::site::Connection::over(stream, host).ask_with("GET", path, &fields, b"").await
}

/// Host and path of an absolute address.
fn parts(location: &str) -> (&str, &str) {
    let rest = location.strip_prefix("http://").unwrap_or_else(|| panic!("{location}"));
    rest.split_at(rest.find('/').unwrap())
}

/// Clicks at the site, and follows the ticket; the cookie and the page that it is for.
async fn enter(site: &Site, user: &str) -> (String, String, String) {
    let launched = Visitor::new(site, user).launch("a = 6 * 7").await;
    assert_eq!(launched.status, 303, "{launched:?}");
    follow(site, launched.field("location").unwrap()).await
}

async fn follow(site: &Site, ticket: &str) -> (String, String, String) {
    let (host, path) = parts(ticket);
    let taken = page(site, host, path, &[]).await;
    assert_eq!(taken.status, 303, "{taken:?}");
    assert_eq!(taken.field("referrer-policy"), Some("no-referrer"));
    assert_eq!(taken.field("cache-control"), Some("no-store"));
    let cookie = taken.field("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Lax") && !cookie.contains("Domain"), "{cookie}");
    let to = taken.field("location").unwrap();
    assert!(to.starts_with('/') && !to.contains("ticket="), "{to}");
    (host.to_owned(), cookie.split(';').next().unwrap().to_owned(), to.to_owned())
}

#[tokio::test]
async fn a_ticket_leads_to_the_domain_and_the_site_keeps_its_word() {
    let (site, domain) = start(site_with_people(), "nb.localhost").await;
    let (host, cookie, to) = enter(&site, "ada").await;
    assert_eq!(host, domain);
    assert!(to.starts_with("/notebook/ada/lab/tree/default-"), "{to}");
    let ada = Visitor::with_cookie(&site, "ada", &cookie).at(&host);
    ada.until_ready().await;
    let kernel = ada.kernel().await;
    let mut channels = ada.channels(&kernel).await;
    assert_eq!(channels.execute("a").await, "42");

    // A notebook is not at the site's address: pages lead there by a ticket, the rest is not here.
    let at_site = Visitor::new(&site, "ada");
    let led = at_site.page("/notebook/ada/lab?x=1").await;
    assert_eq!(led.status, 303, "{led:?}");
    let (_, _, to) = follow(&site, led.field("location").unwrap()).await;
    assert_eq!(to, "/notebook/ada/lab?x=1");
    assert_eq!(at_site.get("/notebook/ada/api").await.status, 404);
    assert_eq!(at_site.ask("POST", "/notebook/ada/api/kernels", "{}").await.status, 404);
    let opened = at_site.try_channels("/notebook/ada/", &kernel, site.address()).await;
    assert_eq!(opened.err(), Some(404));
    // Whom the site does not let pass gets none.
    let bob = Visitor::new(&site, "bob").page("/notebook/ada/lab").await;
    assert_eq!((bob.status, bob.field("location")), (403, None));
    assert_eq!(page(&site, site.address(), "/notebook/ada/lab", &[]).await.status, 401);

    // Nor is the site at the notebooks' address, whatever it is called.
    for path in ["/launch", "/x", "/notebooks"] {
        let there = ada.page(path).await;
        assert_eq!(there.status, 404, "{path}: {there:?}");
    }
    let root = ada.page("/").await;
    let home = format!("http://{}/", site.address());
    assert_eq!((root.status, root.field("location")), (302, Some(home.as_str())));

    // A page of the site is a stranger at the domain, as any other is.
    let from_site = ada.try_channels(&ada.base, &kernel, site.address()).await;
    assert_eq!(from_site.err(), Some(403));
    let origin = format!("Origin: http://{}", site.address());
    let path = "/notebook/ada/api/kernels";
    assert_eq!(ada.ask_with("POST", path, &[&origin], "{}").await.status, 403);
    // The site's cookie opens nothing there, and the notebook hears of neither.
    assert_eq!(Visitor::new(&site, "ada").at(&host).get("/notebook/ada/api").await.status, 401);

    // Struck off the site's list: the visit ends, an open websocket too.
    site.write("allowed", "bob\n");
    channels.until_closed(Duration::from_secs(20)).await;
    let out = ada.page("/notebook/ada/lab").await;
    assert_eq!(out.status, 401, "{out:?}");
    assert!(out.field("set-cookie").is_none() && !out.text().contains("on the list"), "{out:?}");
    site.write("allowed", "ada\n");
    assert_eq!(ada.get("/notebook/ada/api").await.status, 200);

    // Started anew, nobody has to come again; signed out, for good.
    let site = site.crash_and_start_after(|| ()).await;
    let ada = Visitor::with_cookie(&site, "ada", &cookie).at(&host);
    ada.until_ready().await;
    let kernel = ada.kernel().await;
    drop(ada.channels(&kernel).await);
    let out = ada.ask("POST", "/notebook/-/logout", "").await;
    assert!(out.field("set-cookie").unwrap().contains("Max-Age=0"), "{out:?}");
    assert_eq!(ada.get("/notebook/ada/api").await.status, 401);
    site.tell(&["notebook", "stop", "--all"]);
}

#[tokio::test]
async fn each_user_has_an_origin() {
    let (site, _) = start(site_with_people(), "{user}.nb.localhost").await;
    let (host, cookie, to) = enter(&site, "ada").await;
    assert!(host.starts_with("ada.nb.localhost:"), "{host}");
    let ada = Visitor::with_cookie(&site, "ada", &cookie).at(&host);
    ada.until_ready().await;
    let kernel = ada.kernel().await;
    assert_eq!(ada.channels(&kernel).await.execute("a").await, "42");
    assert_eq!(ada.page(&to).await.status, 200);

    // The browser would not send it there; whoever does is refused all the same.
    let (of_bob, bobs, _) = enter(&site, "bob").await;
    let port = host.rsplit_once(':').unwrap().1;
    for (host, path) in [
        (of_bob.as_str(), "/notebook/ada/api"),
        (of_bob.as_str(), "/notebook/bob/api"),
        (&format!("nobody.nb.localhost:{port}"), "/notebook/ada/api"),
        (&format!("x.{host}"), "/notebook/ada/api"),
    ] {
        let there = Visitor::with_cookie(&site, "ada", &cookie).at(host);
        assert_eq!(there.get(path).await.status, 403, "{host} {path}");
    }
    let bob = Visitor::with_cookie(&site, "bob", &bobs).at(&host);
    assert_eq!(bob.get("/notebook/ada/api").await.status, 403);
    assert_eq!(bob.get("/notebook/bob/api").await.status, 403);
    // A page of bob's is a stranger at ada's.
    let foreign = ada.try_channels(&ada.base, &kernel, &of_bob).await;
    assert_eq!(foreign.err(), Some(403));

    // Of whatever name.
    site.write("allowed", "Ada\nada@example.com\n");
    for (name, begin) in [("Ada", "u-ada--"), ("ada@example.com", "u-ada-example-com--")] {
        let (host, cookie, _) = enter(&site, name).await;
        assert!(host.starts_with(begin), "{host}");
        let visitor = Visitor::with_cookie(&site, name, &cookie).at(&host);
        visitor.until_ready().await;
    }
    site.tell(&["notebook", "stop", "--all"]);
}

#[tokio::test]
async fn a_ticket_is_worth_nothing_to_anybody_else() {
    let (site, domain) = start(site_with_people(), "{user}.nb.localhost").await;
    let launched = Visitor::new(&site, "ada").launch("").await;
    let ticket = launched.field("location").unwrap();
    let (host, path) = parts(ticket);
    assert_eq!(host, domain);
    let port = host.rsplit_once(':').unwrap().1;
    // At another host, the site's, a nameless one, changed, or only looked at: it is not used up.
    let others =
        [&format!("bob.nb.localhost:{port}"), &format!("nb.localhost:{port}"), site.address()];
    for other in others {
        let refused = page(&site, other, path, &[]).await;
        assert_ne!(refused.status, 303, "{other}: {refused:?}");
        assert_eq!(refused.field("set-cookie"), None);
    }
    let changed = path.replace("ticket=e", "ticket=f");
    assert_eq!(page(&site, host, &changed, &[]).await.status, 401);
    let looked = Visitor::new(&site, "nobody").at(host).ask_with("HEAD", path, &[], "").await;
    assert_eq!(looked.field("set-cookie"), None);
    // Loaded by a page, rather than opened.
    let image = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"];
    let loaded = Visitor::new(&site, "nobody").at(host).ask_with("GET", path, &image, "").await;
    assert_eq!((loaded.status, loaded.field("set-cookie")), (403, None));

    let (_, cookie, _) = follow(&site, ticket).await;
    let again = page(&site, host, path, &[&format!("Cookie: {cookie}")]).await;
    assert_eq!((again.status, again.field("set-cookie")), (401, None), "it is good twice");
    // Nobody finds it in a log.
    let secret = path.split_once("ticket=").unwrap().1;
    let log = site.stop();
    assert!(!log.log.contains(secret), "{}", log.log);
}

#[tokio::test]
async fn a_host_is_what_is_written() {
    let (site, domain) = start(site_with_people(), "nb.localhost").await;
    let (_, cookie, _) = enter(&site, "ada").await;
    let port = domain.rsplit_once(':').unwrap().1;
    let check = async |host: &str, path: &str, expected: u16| {
        let ada = Visitor::with_cookie(&site, "ada", &cookie).at(host);
        let answer = ada.ask_with("GET", path, &["Accept: text/html"], "").await;
        assert_eq!(answer.status, expected, "{host}{path}: {answer:?}");
    };
    // The same host, however it is spelled: the notebooks', never the site's.
    for host in ["NB.LOCALHOST", "nb.localhost.", "nb.localhost:1", "Nb.LocalHost.:80"] {
        check(host, "/launch", 404).await;
        check(host, "/notebook", 308).await;
    }
    // Others are the site's, to which this cookie says nothing.
    let (like, below) = (format!("xnb.localhost:{port}"), format!("x.nb.localhost:{port}"));
    for host in [like.as_str(), &below, "nb.localhost.evil.example", "nb"] {
        check(host, "/hello", 200).await;
        let ada = Visitor::with_cookie(&site, "ada", &cookie).at(host);
        assert!(matches!(ada.get("/notebook/ada/api").await.status, 401 | 403), "{host}");
    }
    // Another port is another origin: what stands there opens nothing here.
    let other = format!("nb.localhost:{}", port.parse::<u16>().unwrap() ^ 1);
    let at_other = Visitor::with_cookie(&site, "ada", &cookie).at(&other);
    assert_eq!(at_other.ask("POST", "/notebook/ada/api/kernels", "{}").await.status, 403);
    let kernel = at_other.try_channels("/notebook/ada/", "x", &other).await;
    assert_eq!(kernel.err(), Some(403));
}

#[tokio::test]
async fn some_networks_may_come_and_every_refusal_is_noted() {
    let site = site_with_people().set("notebook.allow-from = ['10.0.0.0/8']").start().await;
    let ada = Visitor::new(&site, "ada");
    let refused = ada.page("/notebook/ada/lab").await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("allow-from"), "{refused:?}");
    let line = site.logs("from a network that may not");
    assert!(line.contains("refusal") && line.contains("/notebook/ada/lab"), "{line}");
    assert_eq!(ada.get("/hello").await.status, 200);
    site.configure("allow-from = []");
    let site = site_with_people().set("notebook.allow-from = ['127.0.0.0/8']").start().await;
    let ada = Visitor::new(&site, "ada");
    assert_eq!(ada.get("/notebook/ada/api").await.status, 404);
    // The site's own no is a refusal, too.
    let guest = Visitor::new(&site, "guest");
    assert_eq!(guest.get("/notebook/guest/api").await.status, 403);
    assert!(site.logs("not let in").contains("/notebook/guest/api"));
}

#[tokio::test]
async fn a_proxy_that_takes_websockets_apart_is_told_of() {
    let site = site_with_people().start().await;
    let ada = Visitor::new(&site, "ada");
    let origin = format!("Origin: http://{}", site.address());
    let path = "/notebook/ada/api/kernels/x/channels";
    let fields = [
        origin.as_str(),
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ];
    let told = ada.ask_with("GET", path, &fields, "").await;
    assert_eq!(told.status, 400);
    for words in
        ["`Upgrade: websocket` and `Connection: upgrade`", "proxy_set_header", "upgrade=websocket"]
    {
        assert!(told.text().contains(words), "{words}: {}", told.text());
    }
    let line = site.logs("takes websockets apart");
    assert!(line.contains("proxy_set_header Upgrade $http_upgrade"), "{line}");
    assert!(line.contains(path), "{line}");
}
