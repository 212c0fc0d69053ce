//! Questions of our own over HTTP/1.1: is the application loaded, is the site well?

use std::{io, net::Ipv4Addr, str::FromStr};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

use super::Address;

/// Bytes of an answer's head.
const LONGEST_HEAD: u64 = 64 << 10;

/// What an instance said when it was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Whether the application could be loaded. Servers that go on without it say so.
    pub(crate) is_loaded: bool,
    /// How many requests it takes at once, if it knows.
    pub(crate) capacity: Option<usize>,
    /// Whether websockets go to it in frames.
    pub(crate) takes_websockets: bool,
}

/// Asks whether the application is loaded, then the health address, if there is one.
pub(super) async fn ready(address: &Address, health: Option<&str>) -> io::Result<Ready> {
    let answer = ask(address, "/", "Perijove-Question: ready\r\n").await?;
    // Whoever does not know the question is ready when it answers at all.
    let failure: Option<String> = answer.field("perijove-failure");
    let ready = Ready {
        is_loaded: failure.is_none(),
        capacity: answer.field("perijove-capacity"),
        takes_websockets: false,
    };
    if let Some(path) = health.filter(|_| ready.is_loaded) {
        let status = ask(address, path, "").await?.status;
        if !(200..300).contains(&status) {
            return Err(io::Error::other(format!("{path} answered {status}")));
        }
    }
    Ok(ready)
}

async fn ask(address: &Address, path: &str, fields: &str) -> io::Result<Answer> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: perijove (health)\r\n{fields}\
         Connection: close\r\n\r\n"
    );
    match address {
        Address::Unix { socket, .. } => {
            talk(UnixStream::connect(socket.path()).await?, &head).await
        }
        Address::Loopback(port) => {
            talk(TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?, &head).await
        }
    }
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> io::Result<Answer> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_HEAD).read_to_end(&mut answer).await?;
    Answer::read(&answer).ok_or_else(|| io::Error::other("it does not answer in HTTP"))
}

/// What is looked at of an answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, _) = text.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head: head.to_owned() })
    }

    /// The value of a field, if it is of that kind.
    fn field<T: FromStr>(&self, wanted: &str) -> Option<T> {
        self.head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim().parse().ok())?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expected: Option<(u16, Option<usize>)>) {
        let read = Answer::read(answer.as_bytes());
        let got = read.map(|answer| (answer.status, answer.field("perijove-capacity")));
        assert_eq!(got, expected, "{answer:?}");
    }

    #[test]
    fn answers_are_read() {
        check("HTTP/1.1 200 OK\r\nServer: x\r\n\r\nready", Some((200, None)));
        check("HTTP/1.0 503 No\r\nPERIJOVE-Capacity: 12\r\n\r\n", Some((503, Some(12))));
        check("HTTP/1.1 200 OK\r\nPerijove-Capacity: many\r\n\r\n", Some((200, None)));
        check("HTTP/1.1 200\r\n\r\n", Some((200, None)));
        check("HTTP/1.1 200 OK\r\n", None);
        check("SSH-2.0-x\r\n\r\n", None);
        check("", None);
    }
}
