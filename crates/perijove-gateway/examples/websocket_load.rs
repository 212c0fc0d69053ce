//! A websocket load for measurements: every connection sends a frame and waits for its echo.
//!
//! `websocket_load ADDRESS PATH CONNECTIONS BYTES SECONDS` prints the round trips of all
//! connections together, and how many seconds they took. With 0 bytes the connections are opened
//! and held silent instead, and it prints `open N` when all stand.

use std::{
    env::args,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = args().skip(1).collect();
    let [address, path, connections, bytes, seconds] = arguments.as_slice() else {
        return Err(io::Error::other(
            "usage: websocket_load ADDRESS PATH CONNECTIONS BYTES SECONDS",
        ));
    };
    let number = |text: &String| text.parse::<usize>().map_err(io::Error::other);
    let load = Load {
        address: address.clone(),
        path: path.clone(),
        connections: number(connections)?,
        bytes: number(bytes)?,
        time: Duration::from_secs_f64(seconds.parse().map_err(io::Error::other)?),
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(load.run())
}

struct Load {
    address: String,
    path: String,
    connections: usize,
    bytes: usize,
    time: Duration,
}

impl Load {
    #[expect(clippy::print_stdout, reason = "the result is what this program is for")]
    async fn run(self) -> io::Result<()> {
        let load = Arc::new(self);
        let mut streams = Vec::new();
        for _ in 0..load.connections {
            streams.push(load.open().await?);
        }
        if load.bytes == 0 {
            println!("open {}", streams.len());
            tokio::time::sleep(load.time).await;
            return Ok(());
        }
        let round_trips = Arc::new(AtomicU64::new(0));
        let begin = Instant::now();
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|stream| tokio::spawn(load.clone().ping(stream, begin, round_trips.clone())))
            .collect();
        for task in tasks {
            task.await.map_err(io::Error::other)??;
        }
        println!("{} {:.6}", round_trips.load(Ordering::Relaxed), begin.elapsed().as_secs_f64());
        Ok(())
    }

    async fn open(&self) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            self.path, self.address
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).await?;
            answer.push(byte[0]);
        }
        if !answer.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
        Ok(stream)
    }

    async fn ping(
        self: Arc<Self>,
        mut stream: TcpStream,
        begin: Instant,
        round_trips: Arc<AtomicU64>,
    ) -> io::Result<()> {
        let mut frame = vec![0x82];
        match (u8::try_from(self.bytes), u16::try_from(self.bytes)) {
            (Ok(short @ 0..=125), _) => frame.push(0x80 | short),
            (_, Ok(medium)) => {
                frame.push(0x80 | 0x7e);
                frame.extend(medium.to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 0x7f);
                frame.extend((self.bytes as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.resize(frame.len() + self.bytes, b'x');
        let mut echo = vec![0; frame.len() - 4];
        while begin.elapsed() < self.time {
            stream.write_all(&frame).await?;
            stream.read_exact(&mut echo).await?;
            round_trips.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
