//! Upstreams under TLS, seen from a client: bodies in all sizes and websockets.

use std::sync::Arc;

use perijove_gateway::{
    CertificateFiles, Protocol, Route, Target, Upstream, UpstreamAddress, UpstreamSettings,
    UpstreamTls, UpstreamTlsSettings, Upstreams,
};
use rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{site::Site, tls::certify, wire::Wire};

/// A route to a server under TLS that treats each of its connections so.
async fn secure_upstream<F>(
    files: &CertificateFiles,
    serve: impl Fn(Wire) -> F + Send + Sync + Clone + 'static,
) -> Route
where
    F: Future<Output = ()> + Send + 'static,
{
    let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (shaking, serve) = (acceptor.accept(stream), serve.clone());
            tokio::spawn(async move { serve(Wire::new(shaking.await.unwrap())).await });
        }
    });
    let settings = UpstreamTlsSettings {
        authority: Some(files.certificate.clone()),
        certificate: None,
        name: Some("app.internal".to_owned()),
    };
    let upstreams = Upstreams::new(UpstreamSettings::default());
    let upstream = Upstream {
        address: UpstreamAddress::Tcp(address),
        protocol: Protocol::Https(Arc::new(UpstreamTls::load(settings).unwrap())),
        capacity: None,
        account: None,
        is_replaced: false,
    };
    upstreams.add_weighed(upstream, 1);
    Route::new(Target::Proxy { files: Arc::from([]), upstreams })
}

#[tokio::test]
async fn bodies_pass_both_ways_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let files = certify(folder.path(), "app.internal");
    // The answer begins before the request has ended.
    let echo = secure_upstream(&files, async |mut wire| {
        loop {
            let request = wire.head().await;
            let length: usize = request.get("content-length").unwrap().parse().unwrap();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
            let mut left = length;
            while left > 0 {
                let piece = wire.take(left.min(20_000)).await;
                left -= piece.len();
                wire.send(&piece).await;
            }
        }
    });
    let site = Site::new().route("/", echo.await).start();
    let mut client = site.connect().await;
    for size in [1, 16_384, 16_385, 100_000, 3_000_000, 5] {
        let body: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        client.send(head).await;
        client.send(&body).await;
        let answer = client.message().await;
        assert_eq!(answer.status(), 200);
        assert!(answer.body == body, "{size}");
    }
}

#[tokio::test]
async fn a_body_that_ends_without_a_farewell_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let files = certify(folder.path(), "app.internal");
    let route = secure_upstream(&files, async |mut wire| {
        let head = wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\n\r\nsome").await;
        if head.start.contains("/whole") {
            wire.finish().await;
        }
    });
    let site = Site::new().route("/", route.await).start();
    let get = async |path: &str| {
        let mut client = site.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        client.rest().await
    };
    assert!(get("/whole").await.ends_with("some\r\n0\r\n\r\n"));
    assert!(get("/cut").await.ends_with("some\r\n"));
}

#[tokio::test]
async fn websockets_pass_to_upstreams_under_tls() {
    let folder = tempfile::tempdir().unwrap();
    let files = certify(folder.path(), "app.internal");
    let route = secure_upstream(&files, async |mut wire| {
        assert_eq!(wire.head().await.get("upgrade"), Some("websocket"));
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nearly",
        )
        .await;
        for size in [1, 16_384, 65_537, 1_000_000] {
            let bytes = wire.take(size).await;
            wire.send(&bytes).await;
        }
        wire.is_closed().await;
    });
    let site = Site::new().route("/", route.await).start();
    let mut client = site.connect().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.take(5).await, b"early");
    for size in [1, 16_384, 65_537, 1_000_000] {
        let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        client.send(&bytes).await;
        assert!(client.take(size).await == bytes, "{size}");
    }
    client.finish().await;
    client.is_closed().await;
}
