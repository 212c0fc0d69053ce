//! Clients that are slow: how slow they may be, and that they harm nobody else.

use std::time::Duration;

use perijove_gateway::{Response, Route};
use tokio::{
    net::TcpSocket,
    time::{Instant, sleep},
};

use crate::{
    site::{Running, Site, service},
    upstream::{echo, upstream},
    wire::{Wire, soon},
};

const SHORT: Duration = Duration::from_millis(300);
/// Between two pieces; well within the time for one.
const PAUSE: Duration = Duration::from_millis(20);

fn site(body_rate: u64, answer_rate: u64, route: Route) -> Running {
    patient(SHORT, body_rate, answer_rate, route)
}

fn patient(time: Duration, body_rate: u64, answer_rate: u64, route: Route) -> Running {
    let site = Site::new().route("/", route).says("/quick", "quick").with(|plan| {
        plan.transfer_time = time;
        plan.body_rate = body_rate;
        plan.answer_rate = answer_rate;
    });
    site.start()
}

/// Sends a body of 100 000 bytes in pieces of this size, until an answer comes.
async fn trickle(client: &mut Wire, start: &str, piece: &[u8]) -> u16 {
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{start}\r\n\r\n")).await;
    let began = Instant::now();
    while began.elapsed() < 5 * SHORT {
        if !client.try_send(piece).await || client.has_come(PAUSE).await {
            return client.message().await.status();
        }
    }
    0
}

#[tokio::test]
async fn a_body_below_the_least_rate_is_given_up() {
    let check = async |rate: u64, start: &str, piece: &[u8], expected: u16| {
        let site = site(rate, 0, echo().await);
        let status = trickle(&mut site.connect().await, start, piece).await;
        assert_eq!(status, expected, "{rate} {start}");
    };
    let (sized, chunked) = ("Content-Length: 100000", "Transfer-Encoding: chunked");
    check(100_000, sized, b"few", 408).await;
    check(100_000, chunked, b"3\r\nfew\r\n", 408).await;
    check(1, sized, b"few", 0).await;
    check(0, chunked, b"3\r\nfew\r\n", 0).await;
}

#[tokio::test]
async fn the_time_that_the_application_takes_is_not_the_clients() {
    let slow = upstream(async |mut wire| {
        wire.head().await;
        sleep(2 * SHORT).await;
        let count = wire.take(4 << 20).await.len();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{count}")).await;
    });
    let site = site(1_000, 0, slow.await);
    let mut client = site.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n").await;
    client.send(vec![1; 4 << 20]).await;
    client.message().await.shows(200, "4194304");
}

async fn endless() -> Route {
    upstream(async |mut wire| {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while wire.try_send(&b"4\r\nmore\r\n".repeat(1000)).await {}
    })
    .await
}

/// Takes an answer at about this rate, and says whether it goes on for as long as is looked at.
async fn sip(site: &Running, bytes: usize) -> bool {
    let socket = TcpSocket::new_v4().unwrap();
    // A kernel says that there is room again when a good part of its buffer is free: of a large one
    // that would be a long silence in which it seems that nothing is taken.
    socket.set_recv_buffer_size(256 << 10).unwrap();
    let stream = soon("a connection", socket.connect(site.address())).await.unwrap();
    let mut client = Wire::new(stream);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let began = Instant::now();
    while began.elapsed() < 6 * SHORT {
        client.take(bytes).await;
        sleep(PAUSE).await;
    }
    // What the kernels hold is still to be had when the gateway has ended the connection.
    client.goes_on_for(16 << 20).await
}

#[tokio::test]
async fn an_answer_taken_below_the_least_rate_is_given_up() {
    let slow = site(0, 100 << 20, endless().await);
    assert!(!sip(&slow, 100).await);
    // Longer than a busy machine keeps a client from its turn, shorter than is looked at.
    let time = 4 * SHORT;
    let slow_enough = patient(time, 0, 10_000, endless().await);
    assert!(sip(&slow_enough, 64 << 10).await);
    let indifferent = patient(time, 0, 0, endless().await);
    assert!(sip(&indifferent, 64 << 10).await);
}

#[tokio::test]
async fn a_client_has_so_many_connections() {
    let check = async |trusted: &[(&str, u8)], expected: bool| {
        let site = Site::new().says("/", "hello").with(|plan| {
            plan.connections_per_client = Some(2);
            let network = |(address, length): &(&str, u8)| (address.parse().unwrap(), *length);
            plan.trusted_proxies = trusted.iter().map(network).collect();
        });
        let site = site.start();
        let (mut first, mut second) = (site.connect().await, site.connect().await);
        first.get("/").await.shows(200, "hello");
        second.get("/").await.shows(200, "hello");
        let mut third = site.connect().await;
        if expected {
            third.get("/").await.shows(200, "hello");
            return;
        }
        third.is_closed().await;
        drop(first);
        let until_free = async {
            while !site.connect().await.try_get("/").await {
                sleep(PAUSE).await;
            }
        };
        soon("a free place", until_free).await;
        second.get("/").await.shows(200, "hello");
    };
    check(&[], false).await;
    check(&[("127.0.0.0", 8)], true).await;
}

/// Hundreds who trickle, and one who wants an answer.
#[tokio::test]
async fn tricklers_do_not_keep_others_from_being_served() {
    let route = service(|request| Response::new(200, "text/plain", request.body));
    let site = site(100_000, 0, route);
    let mut tricklers = tokio::task::JoinSet::new();
    for number in 0..300 {
        let socket = site.socket().await;
        tricklers.spawn(async move {
            let mut client = Wire::new(socket);
            if number % 2 == 0 {
                return trickle(&mut client, "Content-Length: 100000", b"few").await;
            }
            client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Long: ").await;
            while client.try_send(b"y").await && !client.has_come(PAUSE).await {}
            408
        });
    }
    for _ in 0..20 {
        let began = Instant::now();
        site.connect().await.get("/quick").await.shows(200, "quick");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    // Those who trickle heads are given up when the time for a head is over: longer than this.
    let mut given_up = 0;
    while given_up < 150 {
        let status = soon("the end of patience", tricklers.join_next()).await.unwrap().unwrap();
        assert_eq!(status, 408);
        given_up += 1;
    }
}
