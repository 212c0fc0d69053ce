//! Connections to upstreams.

use std::{io, net::SocketAddr, path::Path, time::Duration};

use tokio::{
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};

use super::{Protocol, conduit::Conduit, secure::shake_hands};
use crate::{Upstream, UpstreamAddress, stream::Socket};

/// Connects to an upstream of HTTP/1.1; under TLS, where that is spoken to it.
///
/// # Errors
/// As [`dial`], and when the handshake of TLS fails.
pub(super) async fn dial_http(upstream: &Upstream, within: Duration) -> io::Result<Conduit> {
    let (Protocol::Https(tls), UpstreamAddress::Tcp(address)) =
        (&upstream.protocol, &upstream.address)
    else {
        return dial(upstream, within).await.map(Conduit::Plain);
    };
    let connecting = Box::pin(async {
        let socket = dial(upstream, within).await?;
        shake_hands(tls, address, socket).await
    });
    let connected = timeout(within, connecting).await;
    connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(Conduit::secure)
}

/// Connects to an upstream and checks who answers.
///
/// # Errors
/// `TimedOut` when that took longer than `within`; `PermissionDenied` when another account than
/// the upstream's has the socket.
pub(super) async fn dial(upstream: &Upstream, within: Duration) -> io::Result<Socket> {
    let connecting = async {
        match &upstream.address {
            UpstreamAddress::Tcp(address) => tcp(address).await.map(Socket::Tcp),
            UpstreamAddress::Unix(path) => unix(path, upstream.account).await.map(Socket::Unix),
        }
    };
    timeout(within, connecting).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn tcp(address: &str) -> io::Result<TcpStream> {
    let stream = match address.parse::<SocketAddr>() {
        Ok(address) => TcpStream::connect(address).await,
        Err(_) => TcpStream::connect(address).await,
    }?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn unix(path: &Path, account: Option<u32>) -> io::Result<UnixStream> {
    let mut pause = Duration::from_millis(1);
    let stream = loop {
        match UnixStream::connect(path).await {
            // The backlog is full; there is no event for its being emptied.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(pause).await,
            result => break result?,
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    };
    match account {
        Some(account) if stream.peer_cred()?.uid() != account => {
            let what = "another account than the upstream's has the socket";
            Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
        }
        _ => Ok(stream),
    }
}
