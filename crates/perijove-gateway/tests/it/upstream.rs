//! A server behind the gateway that does as it is told.

use std::sync::Arc;

use perijove_gateway::{
    Protocol, Route, Target, Upstream, UpstreamAddress, UpstreamSettings, Upstreams,
};
use tokio::net::TcpListener;

use crate::wire::Wire;

/// A route to a server that treats each of its connections so.
pub(crate) async fn upstream<F>(serve: impl Fn(Wire) -> F + Send + 'static) -> Route
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(Wire::new(stream)));
        }
    });
    let upstreams = Upstreams::new(UpstreamSettings::default());
    upstreams.add(Upstream {
        address: UpstreamAddress::Tcp(address),
        protocol: Protocol::Http1,
        capacity: None,
        account: None,
        is_replaced: false,
    });
    Route::new(Target::Proxy { files: Arc::from([]), upstreams })
}

/// A route to a server that answers every request with the bytes it sent as a body.
pub(crate) async fn echo() -> Route {
    upstream(async |mut wire| {
        loop {
            let request = wire.message().await;
            let length = request.body.len();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
            wire.send(&request.body).await;
        }
    })
    .await
}
