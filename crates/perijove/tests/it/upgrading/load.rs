//! Upgrades while the site is busy: not one request fails.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::upgrade;
use crate::site::{Answer, Connection, Plan, Site};

/// Visitors who come again and again until they are told to stop.
struct Visitors {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    count: Arc<AtomicUsize>,
}

impl Visitors {
    fn new() -> Self {
        Self { stop: CancellationToken::new(), tasks: Vec::new(), count: Arc::default() }
    }

    /// On one connection for as long as that is kept open, and then on the next one.
    fn keep_alive(&mut self, site: &Site) {
        let (address, stop, count) =
            (site.address().to_owned(), self.stop.clone(), self.count.clone());
        self.tasks.push(tokio::spawn(async move {
            while !stop.is_cancelled() {
                let mut connection = Connection::to(&address).await;
                loop {
                    let answer = connection.ask("GET", "/", b"").await;
                    answer.shows("hello");
                    count.fetch_add(1, Ordering::Relaxed);
                    if stop.is_cancelled() || is_last(&answer) {
                        break;
                    }
                }
            }
        }));
    }

    /// On a connection of its own each time.
    fn once(&mut self, site: &Site, path: &'static str, body: Vec<u8>) {
        let (address, stop, count) =
            (site.address().to_owned(), self.stop.clone(), self.count.clone());
        self.tasks.push(tokio::spawn(async move {
            while !stop.is_cancelled() {
                let mut connection = Connection::to(&address).await;
                let method = if body.is_empty() { "GET" } else { "POST" };
                connection.ask(method, path, &body).await.is(200);
                count.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }

    /// Ends them; every request of theirs was answered.
    async fn end(self) -> usize {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        self.count.load(Ordering::Relaxed)
    }
}

fn is_last(answer: &Answer) -> bool {
    answer.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

#[tokio::test]
async fn no_request_fails_while_three_upgrades_pass() {
    let mut site = Plan::new().wsgi("hello").set("site.workers = 2").start().await;
    let mut visitors = Visitors::new();
    for _ in 0..3 {
        visitors.keep_alive(&site);
        visitors.once(&site, "/", Vec::new());
    }
    visitors.once(&site, "/upload", vec![b'x'; 2 << 20]);
    // An upload that spans all of it.
    let mut slow = site.connect().await;
    slow.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n").await;
    for _ in 0..3 {
        slow.send(&vec![b'x'; 100_000]).await;
        site.tell(&["upgrade"]);
    }
    slow.send(&vec![b'x'; 100_000]).await;
    slow.answer(false).await.shows("400000");
    upgrade(&mut site).await;
    let answered = visitors.end().await;
    assert!(answered > 20, "{answered} requests");
}
