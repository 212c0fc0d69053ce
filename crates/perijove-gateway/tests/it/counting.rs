//! What the gateway counts, over real sockets.

use perijove_gateway::{Meter, Route, Target, Totals, Upstream, UpstreamSettings, Upstreams};

use crate::{
    site::{Running, Site, service},
    upstream::upstream,
    wire::soon,
};

/// Waits until what was counted is as wanted: an answer arrives before it is counted.
async fn until(meter: &Meter, is_wanted: impl Fn(&Totals) -> bool) -> Totals {
    let counted = async {
        loop {
            let totals = meter.totals();
            if is_wanted(&totals) {
                return totals;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the numbers", counted).await
}

fn total(totals: &Totals) -> u64 {
    totals.routes.iter().flat_map(|route| &route.requests).map(|(_, _, count)| count).sum()
}

fn fault(totals: &Totals, kind: &str) -> u64 {
    totals.faults.iter().find(|(name, _)| *name == kind).unwrap().1
}

fn counted(site: Site) -> (Running, std::sync::Arc<Meter>) {
    let meter = Meter::new(2);
    let counting = meter.clone();
    let site = site.with(move |plan| {
        plan.meter = Some(counting);
        plan.threads = 2;
    });
    (site.start(), meter)
}

#[tokio::test]
async fn requests_are_counted_by_route_method_and_status() {
    let site = Site::new();
    let meter = Meter::new(2);
    let hello = service(|_| perijove_gateway::Response::new(200, "text/plain", "hello"));
    let hello = Route { label: meter.label("hello"), ..hello };
    let counting = meter.clone();
    let site = site.route("/hello", hello).with(|plan| plan.meter = Some(counting)).start();
    let mut client = site.connect().await;
    client.get("/hello").await.shows(200, "hello");
    client.get("/hello?of=many").await.shows(200, "hello");
    client.ask("BREW /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntea").await;
    client.get("/nothing").await;
    let totals = until(&meter, |totals| total(totals) == 4).await;
    let route = |name: &str| totals.routes.iter().find(|route| route.name == name).unwrap();
    assert_eq!(route("hello").requests, [("get", "2xx", 2), ("other", "2xx", 1)]);
    assert_eq!(route("none").requests, [("get", "4xx", 1)]);
    assert_eq!((route("hello").sent, route("hello").received), (15, 3));
    assert_eq!(route("hello").whole.count(), 3);
    assert_eq!(route("hello").first.count(), 3);
    assert!(route("hello").first.sum <= route("hello").whole.sum);
    assert_eq!(fault(&totals, "client"), 1);
}

#[tokio::test]
async fn connections_are_counted_by_what_is_spoken() {
    let (site, meter) = counted(Site::new().says("/", "hello"));
    let mut client = site.connect().await;
    client.get("/").await.shows(200, "hello");
    let http1 = |totals: &Totals| totals.connections[0];
    let totals = until(&meter, |totals| http1(totals).open == 1).await;
    assert_eq!((http1(&totals).spoken, http1(&totals).accepted), ("http1", 1));
    drop(client);
    until(&meter, |totals| http1(totals).open == 0).await;
}

#[tokio::test]
async fn upgrades_are_no_slow_requests() {
    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let route = upstream(async |mut wire| {
        wire.head().await;
        wire.send(ANSWER).await;
        wire.rest().await;
    });
    let (site, meter) = counted(Site::new().route("/", route.await));
    let mut client = site.connect().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    assert_eq!(client.head().await.status(), 101);
    let upgraded = |totals: &Totals| totals.connections[2].open;
    until(&meter, |totals| upgraded(totals) == 1).await;
    drop(client);
    let totals = until(&meter, |totals| upgraded(totals) == 0 && total(totals) == 1).await;
    assert_eq!(totals.routes[0].requests, [("get", "1xx", 1)]);
    assert_eq!(totals.routes[0].whole.count(), 0, "it is no request that took long");
}

#[tokio::test]
async fn faults_are_counted_by_their_kind() {
    let broken = upstream(async |mut wire| {
        wire.head().await;
        wire.send("nonsense\r\n\r\n").await;
    });
    let lost = upstream(async |mut wire| drop(wire.head().await));
    // Nobody listens at a port that was just given back.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstreams = Upstreams::new(UpstreamSettings::default());
    upstreams.add(Upstream {
        address: perijove_gateway::UpstreamAddress::Tcp(gone.to_string()),
        protocol: perijove_gateway::Protocol::Http1,
        capacity: None,
        account: None,
        is_replaced: false,
    });
    let unreachable = Route::new(Target::Proxy { files: std::sync::Arc::from([]), upstreams });
    let site = Site::new()
        .route("/broken", broken.await)
        .route("/lost", lost.await)
        .route("/unreachable", unreachable);
    let (site, meter) = counted(site);
    for path in ["/broken", "/lost", "/unreachable"] {
        assert_eq!(site.connect().await.get(path).await.status(), 502, "{path}");
    }
    let totals = until(&meter, |totals| total(totals) == 3).await;
    for kind in ["upstream-broken", "upstream-lost", "upstream-unreachable"] {
        assert_eq!(fault(&totals, kind), 1, "{kind}");
    }
}

#[tokio::test]
async fn the_wait_in_line_is_measured() {
    let route = upstream(async |mut wire| {
        loop {
            wire.message().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let Target::Proxy { upstreams, .. } = route.await.target else { panic!("a proxy") };
    let empty = Upstreams::new(UpstreamSettings::default());
    let files = std::sync::Arc::from([]);
    let waiting = Route::new(Target::Proxy { files, upstreams: empty.clone() });
    let site = Site::new().route("/", waiting).start();
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    soon("a place in line", async {
        while empty.load().1 == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(empty.waits().count(), 0);
    drop(upstreams);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    empty.add(Upstream {
        address: perijove_gateway::UpstreamAddress::Tcp(listener.local_addr().unwrap().to_string()),
        protocol: perijove_gateway::Protocol::Http1,
        capacity: None,
        account: None,
        is_replaced: false,
    });
    let (stream, _) = soon("the request", listener.accept()).await.unwrap();
    let mut wire = crate::wire::Wire::new(stream);
    wire.message().await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.message().await.status(), 200);
    assert_eq!(empty.waits().count(), 1);
}
