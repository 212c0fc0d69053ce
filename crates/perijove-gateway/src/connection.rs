//! One connection: TLS, then HTTP/1 by our own loop or HTTP/2 by hyper.

mod answer;
mod closing;
mod http1;
mod http2;
mod outgoing;
mod pace;
mod sending;
mod tunnel;
mod upload;

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use arc_swap::ArcSwap;
use rustls::{ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;

use crate::{
    Client, Head, Plan, Proven, Response, Routes, Scheme,
    error::{Fault, Pages},
    forwarded::{self, Peer},
    listen,
    meter::{Open, Spoken},
    note::Note,
    stream::{Socket, Stream},
    thread::Place,
    tls::clients,
    watch::Watch,
};
use http1::{Connection, Ended};

/// A listener, as connections see it.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) routes: Routes,
    pub(crate) tls: Option<Arc<ArcSwap<ServerConfig>>>,
    pub(crate) strict_transport: Option<Arc<str>>,
    pub(crate) is_logged: bool,
    pub(crate) is_traced: bool,
    /// 0 for a Unix socket.
    pub(crate) port: u16,
    pub(crate) pages: Arc<Pages>,
    /// Of the whole gateway.
    pub(crate) rules: Arc<Plan>,
    /// Its place was taken: connections that came by it end with their next answer.
    pub(crate) is_left: AtomicBool,
}

impl Door {
    /// The answer for a fault, and a word to the log.
    pub(crate) fn refuse(&self, fault: &Fault, head: Option<&Head>, request_id: &str) -> Response {
        fault.log(request_id);
        if let Some(meter) = self.rules.meter.as_ref().filter(|_| self.is_logged) {
            meter.fault(fault);
        }
        self.pages.answer(fault, head, request_id)
    }

    pub(crate) fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }

    /// What is noted of a request from here on.
    fn note(&self, head: &Head, client: &mut Client, is_trusted: bool) -> Note {
        Note::begin(self, head, client, is_trusted)
    }

    /// Counts a connection for as long as this is spoken on it.
    fn open(&self, spoken: Spoken) -> Option<Open> {
        self.rules.meter.as_ref().filter(|_| self.is_logged).map(|meter| meter.open(spoken))
    }
}

/// Serves an accepted connection to its end, and gives its place back then. `address` is that of a
/// TCP client.
pub(crate) fn serve(
    socket: Socket,
    address: Option<SocketAddr>,
    door: Arc<Door>,
    place: Place,
) -> impl Future<Output = ()> + Send {
    let credentials = match &socket {
        Socket::Unix(stream) => listen::peer_of(stream),
        Socket::Tcp(_) => None,
    };
    // On a socket for both families, IPv4 comes in the form of IPv6.
    let address = address.map(|from| SocketAddr::new(from.ip().to_canonical(), from.port()));
    let rules = &door.rules;
    let peer = Peer {
        address,
        credentials,
        scheme: if door.tls.is_some() { Scheme::Https } else { Scheme::Http },
        port: door.port,
        is_trusted: match address {
            Some(address) => forwarded::contains(&rules.trusted_proxies, address.ip()),
            None => rules.trusts_unix_peers,
        },
        last_host: Arc::from(""),
        proven: None,
    };
    let tls = door.tls.as_ref().map(|config| config.load_full());
    let connection = Connection::new(Stream::Plain(socket), door, peer);
    // The large and rare parts are boxed, so that a connection that waits is small.
    async move {
        match tls {
            None => speak(connection).await,
            Some(config) => Box::pin(secure(connection, config)).await,
        }
        drop(place);
    }
}

async fn speak(mut connection: Connection) {
    let open = connection.door.open(Spoken::Http1);
    // Boxed, so that it is gone when the connection has become another's.
    let ended = Box::pin(connection.serve()).await;
    drop(open);
    match ended {
        Ended::Closed => {}
        Ended::Http2 => Box::pin(http2::serve(connection)).await,
        Ended::Upgrade(upgrade, note) => {
            Box::pin(tunnel::join(connection, *upgrade, *note)).await;
        }
    }
}

/// What is spoken under TLS, once the handshake is done.
async fn secure(connection: Connection, config: Arc<ServerConfig>) {
    let Connection { stream, door, mut peer, watch, .. } = connection;
    let Stream::Plain(socket) = stream else { return };
    if speaks_plainly(&socket, &watch).await {
        let mut connection = Connection::with_watch(Stream::Plain(socket), watch, door, peer);
        return connection.refuse(&Fault::client(400, "this port is for HTTPS only")).await;
    }
    let Some((stream, is_http2)) = shake_hands(socket, config, &watch).await else { return };
    if let Stream::Tls(stream) = &stream {
        peer.proven = known_of(stream.get_ref().1, &door);
    }
    let connection = Connection::with_watch(stream, watch, door, peer);
    if is_http2 { http2::serve(connection).await } else { speak(connection).await }
}

/// What TLS tells of a client, if anybody wants to know.
fn known_of(session: &ServerConnection, door: &Door) -> Option<Arc<Proven>> {
    let mut proven = clients::proven(session);
    if door.rules.tells_of_tls {
        proven.get_or_insert_default().fields.extend(clients::told(session));
    }
    proven.map(Arc::new)
}

/// Whether a client of a TLS port begins with a word rather than a handshake.
async fn speaks_plainly(socket: &Socket, watch: &Watch) -> bool {
    let mut first = [0];
    poll_fn(|context| {
        let peeked = socket.poll_peek(context, &mut first);
        if peeked.is_ready() { Poll::Ready(()) } else { watch.poll_late(context) }
    })
    .await;
    first.iter().all(u8::is_ascii_uppercase)
}

/// The TLS handshake, within the time for a head; the stream, and whether HTTP/2 was agreed on.
async fn shake_hands(
    socket: Socket,
    config: Arc<ServerConfig>,
    watch: &Watch,
) -> Option<(Stream, bool)> {
    let mut handshake = pin!(TlsAcceptor::from(config).accept(socket));
    let shaken = poll_fn(|context| match handshake.as_mut().poll(context) {
        Poll::Ready(shaken) => Poll::Ready(Some(shaken)),
        Poll::Pending => watch.poll_late(context).map(|()| None),
    });
    match shaken.await? {
        Ok(stream) => {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Some((Stream::Tls(Box::new(stream)), is_http2))
        }
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
    }
}
