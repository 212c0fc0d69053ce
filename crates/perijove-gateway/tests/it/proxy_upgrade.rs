//! Upgraded connections, joined through the gateway.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use perijove_gateway::{
    Activity, Guard, Pass, Protocol, Question, Response, Route, Target, Tls, Upgrades, Upstream,
    UpstreamAddress, UpstreamSettings, Upstreams, Verdict,
};
use tokio::{
    net::UnixListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use crate::{
    site::{Running, Site},
    tls::{certify, secure},
    upstream::upstream,
    wire::{Message, Wire, soon},
};

/// The handshake of RFC 6455 1.3.
const ASK: &str = "GET /channels HTTP/1.1\r\nHost: site.example\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: chat\r\n\r\n";

/// A route to a server that agrees to every upgrade, and the server's ends of them.
async fn agreeable() -> (Route, UnboundedReceiver<Wire>) {
    let (sender, receiver) = unbounded_channel();
    let route = upstream(move |mut wire| {
        let sender = sender.clone();
        async move {
            let request = wire.head().await;
            assert_eq!(request.get("upgrade"), Some("websocket"));
            assert_eq!(request.get("connection"), Some("Upgrade"));
            wire.send(AGREE).await;
            sender.send(wire).unwrap();
        }
    });
    (route.await, receiver)
}

async fn server(receiver: &mut UnboundedReceiver<Wire>) -> Wire {
    soon("the server's end", receiver.recv()).await.unwrap()
}

/// Opens a websocket; the head of the answer is checked.
async fn open(wire: &mut Wire) {
    wire.send(ASK).await;
    let answer = wire.head().await;
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.get("connection"), Some("Upgrade"));
    assert_eq!(answer.get("upgrade"), Some("websocket"));
    assert_eq!(answer.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.get("sec-websocket-protocol"), Some("chat"));
}

async fn joined() -> (Running, Arc<Activity>, Wire, Wire) {
    let (route, mut servers) = agreeable().await;
    let activity = route.activity.clone();
    let site = Site::new().route("/", route).start();
    let mut client = site.connect().await;
    open(&mut client).await;
    let server = server(&mut servers).await;
    (site, activity, client, server)
}

#[tokio::test]
async fn bytes_pass_both_ways_in_all_sizes() {
    let (_site, activity, mut client, mut server) = joined().await;
    assert_eq!(activity.open_upgrades(), 1);
    for size in [1, 125, 16_383, 16_384, 65_536, 65_537, 300_000, 1, 3_000_000, 7, 64] {
        let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let (from, to) = (&mut client, &mut server);
        tokio::join!(from.send(&bytes), async { assert!(to.take(size).await == bytes, "{size}") });
        tokio::join!(to.send(&bytes), async { assert!(from.take(size).await == bytes, "{size}") });
    }
    drop(client);
    server.is_closed().await;
}

#[tokio::test]
async fn bytes_that_come_with_the_handshake_are_not_lost() {
    let early = upstream(async |mut wire| {
        wire.head().await;
        wire.send([AGREE, "early"].concat()).await;
        assert_eq!(wire.take(8).await, b"leftover");
        wire.is_closed().await;
    });
    let site = Site::new().route("/", early.await).start();
    let mut client = site.connect().await;
    client.send([ASK, "leftover"].concat()).await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.take(5).await, b"early");
    client.finish().await;
    client.is_closed().await;
}

#[tokio::test]
async fn the_end_of_one_side_reaches_the_other() {
    let (_site, activity, mut client, mut server) = joined().await;
    client.finish().await;
    server.is_closed().await;
    server.send("last words").await;
    assert_eq!(client.take(10).await, b"last words");
    drop(server);
    client.is_closed().await;
    soon("the count", async {
        while activity.open_upgrades() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn upgrades_pass_under_tls() {
    let folder = tempfile::tempdir().unwrap();
    let files = certify(folder.path(), "site.example");
    let tls = Tls::load(vec![files.clone()]).unwrap();
    let (route, mut servers) = agreeable().await;
    let site = Site::new().route("/", route).start_with(|l| l.tls = Some(tls.config()));
    let stream = secure(&site, "site.example", &[&files], &["http/1.1"]).await.unwrap();
    let mut client = Wire::new(stream);
    open(&mut client).await;
    let mut server = server(&mut servers).await;
    for size in [1, 65_536, 1_000_000] {
        let bytes = vec![7; size];
        tokio::join!(client.send(&bytes), async { assert!(server.take(size).await == bytes) });
        tokio::join!(server.send(&bytes), async { assert!(client.take(size).await == bytes) });
    }
    drop(server);
    client.is_closed().await;
}

#[tokio::test]
async fn upgrades_pass_to_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let upstreams = Upstreams::new(UpstreamSettings::default());
    let id = upstreams.add(Upstream {
        address: UpstreamAddress::Unix(path),
        protocol: Protocol::Http1,
        capacity: None,
        account: None,
        is_replaced: false,
    });
    let route = Route::new(Target::Proxy { files: Arc::from([]), upstreams: upstreams.clone() });
    let site = Site::new().route("/", route).start();
    let mut client = site.connect().await;
    let accept = async {
        let mut wire = Wire::new(listener.accept().await.unwrap().0);
        wire.head().await;
        wire.send(AGREE).await;
        wire
    };
    let (mut server, ()) = tokio::join!(accept, open(&mut client));
    for size in [1, 65_536, 1_000_000, 1] {
        let bytes = vec![7; size];
        tokio::join!(client.send(&bytes), async { assert!(server.take(size).await == bytes) });
        tokio::join!(server.send(&bytes), async { assert!(client.take(size).await == bytes) });
    }
    // An upgraded connection is under way for as long as it stands.
    upstreams.remove(id);
    let drained = upstreams.drained(id);
    tokio::pin!(drained);
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut drained).await.is_err());
    drop(client);
    server.is_closed().await;
    drop(server);
    soon("the last connection's end", drained).await;
}

/// What a client gets for its upgrade from a server that answers so.
async fn answered(answer: &'static str, upgrades: Upgrades, ask: &str) -> (Message, Message) {
    let (sender, mut receiver) = unbounded_channel();
    let mut route = upstream(move |mut wire| {
        let sender = sender.clone();
        async move {
            sender.send(wire.head().await).unwrap();
            wire.send(answer).await;
            wire.rest().await;
        }
    })
    .await;
    route.upgrades = upgrades;
    let site = Site::new().route("/", route).start();
    let answer = site.connect().await.ask(ask).await;
    (answer, receiver.recv().await.unwrap())
}

#[tokio::test]
async fn an_upstream_that_does_not_agree_answers_itself() {
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    let (answer, _) = answered(refusal, Upgrades::Websocket, ASK).await;
    answer.shows(403, "no");
    assert_eq!(answer.get("upgrade"), None);
}

#[tokio::test]
async fn an_upstream_that_agrees_to_something_else_is_not_joined() {
    for wrong in [
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    ] {
        let (answer, _) = answered(wrong, Upgrades::Websocket, ASK).await;
        assert_eq!(answer.status(), 502, "{wrong}");
    }
}

#[tokio::test]
async fn what_is_not_to_be_joined_is_an_ordinary_request() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let other = ASK.replace("websocket", "h2c");
    for (upgrades, ask) in [(Upgrades::Never, ASK), (Upgrades::Websocket, other.as_str())] {
        let (answer, request) = answered(ok, upgrades, ask).await;
        answer.shows(200, "ok");
        assert_eq!(request.get("upgrade"), None);
        assert_eq!(request.get("connection"), None);
    }
}

#[tokio::test]
async fn a_route_may_join_other_protocols_too() {
    let agree = "HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
    let upgrades = Upgrades::Also(Arc::from(["h2c".to_owned()]));
    let (answer, _) = answered(agree, upgrades, &ASK.replace("websocket", "h2c")).await;
    assert_eq!((answer.status(), answer.get("upgrade")), (101, Some("h2c")));
}

/// Lets connections stand until it is told otherwise.
#[derive(Debug, Default)]
struct Doorkeeper {
    is_refusing: AtomicBool,
}

impl Guard for Doorkeeper {
    fn check<'a>(
        &'a self,
        question: Question<'a>,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        let verdict = if question.is_open && self.is_refusing.load(Ordering::Relaxed) {
            Verdict::Refuse(Box::new(Response::new(403, "text/plain", "no")))
        } else {
            let ask_again = Some(Duration::from_millis(5));
            Verdict::Pass(Pass { ask_again, ..Pass::default() })
        };
        Box::pin(async move { verdict })
    }
}

#[tokio::test]
async fn a_guard_that_turns_to_no_closes_the_connection() {
    let (mut route, mut servers) = agreeable().await;
    let doorkeeper = Arc::new(Doorkeeper::default());
    route.guard = Some(doorkeeper.clone());
    let site = Site::new().route("/", route).start();
    let mut client = site.connect().await;
    open(&mut client).await;
    let mut server = server(&mut servers).await;
    server.send("hello").await;
    assert_eq!(client.take(5).await, b"hello");
    doorkeeper.is_refusing.store(true, Ordering::Relaxed);
    // A close frame that says: policy violation.
    assert_eq!(client.take(4).await, [0x88, 2, 0x03, 0xf0]);
    client.is_closed().await;
    server.is_closed().await;
}

#[tokio::test]
async fn a_gateway_that_stops_says_so() {
    let (mut site, _activity, mut client, mut server) = joined().await;
    site.stop.cancel();
    // A close frame that says: going away.
    assert_eq!(client.take(4).await, [0x88, 2, 0x03, 0xe9]);
    drop(client);
    server.is_closed().await;
    site.ended().await;
}
