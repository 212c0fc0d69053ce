//! Listeners that change while the gateway runs, and that pass to another gateway.

use std::{path::Path, sync::Arc, time::Duration};

use perijove_gateway::{
    Gateway, Handed, ListenAddress, Listener, Listeners, Plan, Response, Route, Routes, Upgrades,
};
use tokio::{
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    site::service,
    upstream::upstream,
    wire::{Wire, soon},
};

/// A gateway that runs.
struct Run {
    listeners: Listeners,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Run {
    fn of(plan: Plan) -> Self {
        let gateway = Gateway::bind(plan).unwrap();
        let (listeners, stop) = (gateway.listeners(), CancellationToken::new());
        let ended = tokio::spawn(gateway.run(stop.clone(), CancellationToken::new()));
        Self { listeners, stop, ended }
    }

    async fn connect(&self, number: usize) -> Wire {
        let address = self.listeners.addresses()[number].clone();
        let address = address.split_once("://").unwrap().1.to_owned();
        Wire::new(soon("a connection", TcpStream::connect(address)).await.unwrap())
    }

    async fn end(self) {
        self.stop.cancel();
        soon("the end", self.ended).await.unwrap();
    }
}

fn says(text: &'static str) -> Routes {
    let routes = Routes::new();
    routes.insert(None, "/", service(move |_| Response::new(200, "text/plain", text)));
    routes
}

fn listener(name: &str, routes: Routes) -> Listener {
    let mut listener = Listener::new(ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()), routes);
    name.clone_into(&mut listener.name);
    listener
}

fn plan(listeners: Vec<Listener>) -> Plan {
    Plan { listeners, threads: 2, ..Plan::default() }
}

#[tokio::test]
async fn listeners_come_stay_and_go() {
    let run = Run::of(plan(vec![listener("a", says("a")), listener("b", says("b"))]));
    let before = run.listeners.addresses();
    let (mut kept, mut gone) = (run.connect(0).await, run.connect(1).await);
    kept.get("/").await.shows(200, "a");
    gone.get("/").await.shows(200, "b");

    let wanted = plan(vec![listener("a", says("new")), listener("c", says("c"))]);
    let change = run.listeners.prepare(wanted).unwrap();
    kept.get("/").await.shows(200, "a");
    run.listeners.apply(change);

    let after = run.listeners.addresses();
    assert_eq!((before.len(), after.len()), (2, 2));
    assert_eq!(before[0], after[0], "the same socket");
    run.connect(0).await.get("/").await.shows(200, "new");
    run.connect(1).await.get("/").await.shows(200, "c");
    // What was open is answered once more, and told that it was the last time.
    for (mut wire, text) in [(kept, "a"), (gone, "b")] {
        let answer = wire.get("/").await;
        answer.shows(200, text);
        assert_eq!(answer.get("connection"), Some("close"));
        wire.is_closed().await;
    }
    let closed = before[1].split_once("://").unwrap().1;
    soon("the port is free", async {
        while TcpStream::connect(closed).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    run.end().await;
}

#[tokio::test]
async fn a_change_that_cannot_be_made_changes_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let run = Run::of(plan(vec![listener("a", says("a"))]));
    let impossible = ListenAddress::Tcp(taken.local_addr().unwrap());
    let wanted = plan(vec![listener("a", says("new")), Listener::new(impossible, says("b"))]);
    assert!(run.listeners.prepare(wanted).is_err());
    run.connect(0).await.get("/").await.shows(200, "a");
    run.end().await;
}

/// The plan of a program that goes on with another's listeners.
fn successor(handed: Vec<Handed>, routes: &Routes) -> Plan {
    let take = |Handed { name, socket, file }| {
        let address = ListenAddress::Handed { socket, file };
        Listener { name, ..Listener::new(address, routes.clone()) }
    };
    plan(handed.into_iter().map(take).collect())
}

#[tokio::test]
async fn no_connection_is_refused_while_another_takes_over() {
    let old = Run::of(plan(vec![listener("a", says("old"))]));
    let mut idle = old.connect(0).await;
    idle.get("/").await.shows(200, "old");
    let address = old.listeners.addresses()[0].split_once("://").unwrap().1.to_owned();
    let stop = CancellationToken::new();
    let visiting = {
        let (address, stop) = (address.clone(), stop.clone());
        tokio::spawn(async move {
            let mut count = 0;
            while !stop.is_cancelled() {
                let mut wire = Wire::new(TcpStream::connect(&address).await.unwrap());
                assert_eq!(wire.get("/").await.status(), 200);
                count += 1;
            }
            count
        })
    };
    let new = Run::of(successor(old.listeners.hand().unwrap(), &says("new")));
    old.listeners.leave(Duration::from_secs(60));
    old.stop.cancel();
    // An idle connection of the old one may bring one more request.
    let last = idle.get("/").await;
    last.shows(200, "old");
    assert_eq!(last.get("connection"), Some("close"));
    soon("the old one's end", old.ended).await.unwrap();
    stop.cancel();
    assert!(soon("the visits", visiting).await.unwrap() > 0);
    new.connect(0).await.get("/").await.shows(200, "new");
    new.end().await;
    assert!(TcpStream::connect(&address).await.is_err());
}

fn at(path: &Path, routes: Routes) -> Listener {
    Listener::new(ListenAddress::Unix { path: path.to_owned(), mode: 0o600 }, routes)
}

#[tokio::test]
async fn the_file_of_a_socket_goes_with_who_has_it_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("door.sock");
    let old = Run::of(plan(vec![at(&path, says("old"))]));
    // One that does not take over after all.
    drop(Gateway::bind(successor(old.listeners.hand().unwrap(), &says("never"))).unwrap());
    assert!(path.exists());
    let new = Run::of(successor(old.listeners.hand().unwrap(), &says("new")));
    new.listeners.own();
    old.listeners.leave(Duration::from_secs(60));
    old.end().await;
    assert!(path.exists());
    let mut wire = Wire::new(UnixStream::connect(&path).await.unwrap());
    wire.get("/").await.shows(200, "new");
    assert_eq!(new.listeners.addresses(), [format!("unix:{}", path.display())]);
    new.end().await;
    assert!(!path.exists());
}

/// A gateway with an upgraded connection, and both ends of that.
async fn upgraded() -> (Run, Wire, Wire) {
    let (sender, mut servers) = tokio::sync::mpsc::unbounded_channel();
    let route = upstream(move |mut wire| {
        let sender = sender.clone();
        async move {
            wire.head().await;
            wire.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
            )
            .await;
            sender.send(wire).unwrap();
        }
    });
    let routes = Routes::new();
    routes.insert(
        None,
        "/",
        Route { upgrades: Upgrades::Also(Arc::new(["x".to_owned()])), ..route.await },
    );
    let run = Run::of(plan(vec![listener("a", routes)]));
    let mut client = run.connect(0).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 101);
    let server = soon("the server's end", servers.recv()).await.unwrap();
    (run, client, server)
}

#[tokio::test]
async fn upgraded_connections_live_on_at_the_old_one() {
    let (old, mut client, mut server) = upgraded().await;
    old.listeners.leave(Duration::from_secs(3600));
    old.stop.cancel();
    for _ in 0..3 {
        client.send("question").await;
        assert_eq!(server.take(8).await, b"question");
        server.send("answer").await;
        assert_eq!(client.take(6).await, b"answer");
    }
    assert!(!old.ended.is_finished());
    drop(client);
    server.is_closed().await;
    drop(server);
    soon("the end", old.ended).await.unwrap();
}

#[tokio::test]
async fn upgraded_connections_do_not_live_on_for_ever() {
    let (old, client, mut server) = upgraded().await;
    old.listeners.leave(Duration::ZERO);
    old.stop.cancel();
    server.rest().await;
    drop((client, server));
    soon("the end", old.ended).await.unwrap();
}
