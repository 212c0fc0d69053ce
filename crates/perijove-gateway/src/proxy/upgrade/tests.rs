use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
    time::Instant,
};

use super::relay::Relay;
use crate::stream::{Socket, Stream};

/// A relay between two pairs of sockets; the ends that are not the relay's.
async fn relay() -> (TcpStream, UnixStream, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (accepted, client) = tokio::join!(listener.accept(), connecting);
    let (upstream, server) = UnixStream::pair().unwrap();
    let mut relay = Relay::new(
        Stream::Plain(Socket::Tcp(accepted.unwrap().0)),
        Stream::Plain(Socket::Unix(upstream)),
        Bytes::new(),
        Bytes::new(),
    );
    let task = tokio::spawn(async move {
        std::future::poll_fn(|context| relay.poll(context)).await;
    });
    (client.unwrap(), server, task)
}

#[tokio::test]
async fn much_passes_both_ways_at_once() {
    let (client, server, task) = relay().await;
    let size = |round: u8| 1 + (usize::from(round) * 7919) % 150_000;
    let flood = async |mut to: Box<dyn tokio::io::AsyncWrite + Send + Unpin>, first: u8| {
        for round in 0..=255_u8 {
            to.write_all(&vec![first ^ round; size(round)]).await.unwrap();
        }
        to.shutdown().await.unwrap();
        to
    };
    let drain = async |mut from: Box<dyn tokio::io::AsyncRead + Send + Unpin>, first: u8| {
        for round in 0..=255_u8 {
            let mut bytes = vec![0; size(round)];
            from.read_exact(&mut bytes).await.unwrap();
            assert!(bytes.iter().all(|byte| *byte == first ^ round), "round {round}");
        }
        assert_eq!(from.read(&mut [0]).await.unwrap(), 0);
    };
    let (client_from, client_to) = client.into_split();
    let (server_from, server_to) = server.into_split();
    let _ends = tokio::join!(
        flood(Box::new(client_to), 1),
        flood(Box::new(server_to), 2),
        drain(Box::new(server_from), 1),
        drain(Box::new(client_from), 2),
    );
    task.await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_holds_the_writer() {
    let (mut client, mut server, task) = relay().await;
    // Until the sockets on the way are full; the relay holds no more than a pipe.
    let mut written = 0;
    loop {
        let piece = vec![1; 65_536];
        match tokio::time::timeout(Duration::from_millis(300), client.write(&piece)).await {
            Ok(count) => written += count.unwrap(),
            Err(_) => break,
        }
        assert!(written < 64 << 20);
    }
    client.shutdown().await.unwrap();
    let mut read = 0;
    let mut bytes = vec![0; 1 << 20];
    loop {
        match server.read(&mut bytes).await.unwrap() {
            0 => break,
            count => read += count,
        }
    }
    assert_eq!(read, written);
    drop(server);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_one_end_the_other_may_be_silent_for_so_long() {
    let (mut client, mut server, task) = relay().await;
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    let start = Instant::now();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        server.write_all(b"x").await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 1);
    }
    task.await.unwrap();
    let elapsed = start.elapsed().as_secs();
    assert!((80..100).contains(&elapsed), "{elapsed}");
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert!(server.write_all(b"x").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn silence_is_what_carries_nothing() {
    let carried = AtomicU64::new(0);
    let start = Instant::now();
    let talk = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            carried.fetch_add(1, Ordering::Relaxed);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = talk => {}
        () = super::silent(&carried, Duration::from_secs(8)) => {}
    }
    let elapsed = start.elapsed().as_secs();
    assert!((58..61).contains(&elapsed), "{elapsed}");
    let for_ever = super::silent(&carried, Duration::ZERO);
    assert!(tokio::time::timeout(Duration::from_secs(1 << 20), for_ever).await.is_err());
}

#[tokio::test]
async fn a_side_that_breaks_ends_the_other() {
    let (client, mut server, task) = relay().await;
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    task.await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
}

#[test]
fn what_stands_idle_is_small() {
    assert!(size_of::<Relay>() <= 512, "{}", size_of::<Relay>());
}
