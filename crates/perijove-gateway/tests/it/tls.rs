//! TLS, its certificates and the way there.

use std::{path::Path, sync::Arc, time::Duration};

use perijove_gateway::{CertificateFiles, ListenAddress, Listener, Route, Routes, Tls, TlsError};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    site::{Running, Site},
    wire::{Wire, soon},
};

/// Writes a certificate for a name, and its key.
pub(crate) fn certify(folder: &Path, name: &str) -> CertificateFiles {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let files = CertificateFiles {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

/// A client that believes these certificates only.
pub(crate) async fn secure(
    site: &Running,
    name: &str,
    trusted: &[&CertificateFiles],
    protocols: &[&str],
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let mut roots = RootCertStore::empty();
    for files in trusted {
        roots.add(CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    soon("a handshake", connector.connect(name, site.socket().await)).await
}

fn start(tls: &Tls, site: Site) -> Running {
    let config = tls.config();
    site.start_with(|listener| {
        listener.tls = Some(config);
        listener.strict_transport = Some("max-age=31536000".into());
    })
}

#[tokio::test]
async fn requests_come_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let files = certify(folder.path(), "site.example");
    let tls = Tls::load(vec![files.clone()]).unwrap();
    let site = start(&tls, Site::new().says("/", "hello"));
    assert!(site.addresses[0].starts_with("https://"));
    let stream = secure(&site, "site.example", &[&files], &["http/1.1"]).await.unwrap();
    let mut client = Wire::new(stream);
    let answer = client.get("/").await;
    answer.shows(200, "hello");
    assert_eq!(answer.get("strict-transport-security"), Some("max-age=31536000"));
    let large = "x".repeat(1 << 20);
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", large.len());
    client.send(request).await;
    client.send(&large).await;
    client.message().await.shows(200, "hello");
}

#[tokio::test]
async fn large_files_go_out_under_tls_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let files = certify(folder.path(), "site.example");
    let public = folder.path().join("public");
    std::fs::create_dir(&public).unwrap();
    let content: Vec<u8> =
        (0..3_000_000_u32).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect();
    std::fs::write(public.join("large.bin"), &content).unwrap();
    let tls = Tls::load(vec![files.clone()]).unwrap();
    let serve = || {
        let files = perijove_gateway::Files::new(
            "/",
            public.clone(),
            perijove_gateway::FileSettings::default(),
        );
        Route::new(perijove_gateway::Target::Files(Arc::new(files)))
    };
    let site = start(&tls, Site::new().route("/", serve()));
    let stream = secure(&site, "site.example", &[&files], &[]).await.unwrap();
    assert!(Wire::new(stream).get("/large.bin").await.body == content);
    let plain = Site::new().route("/", serve()).start();
    let mut client = plain.connect().await;
    for _ in 0..2 {
        assert!(client.get("/large.bin").await.body == content);
    }
}

#[tokio::test]
async fn the_name_decides_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let one = certify(folder.path(), "one.example");
    let two = certify(folder.path(), "two.example");
    let tls = Tls::load(vec![one.clone(), two.clone()]).unwrap();
    let site = start(&tls, Site::new().says("/", "hello"));
    let check = async |name: &str, trusted: &CertificateFiles, expected: bool| {
        let shaken = secure(&site, name, &[trusted], &[]).await;
        assert_eq!(shaken.is_ok(), expected, "{name}");
    };
    check("one.example", &one, true).await;
    check("two.example", &two, true).await;
    check("two.example", &one, false).await;
    check("three.example", &one, false).await;
}

#[tokio::test]
async fn certificates_are_replaced_while_serving() {
    let folder = tempfile::tempdir().unwrap();
    let files = certify(folder.path(), "site.example");
    let tls = Tls::load(vec![files.clone()]).unwrap();
    let site = start(&tls, Site::new().says("/", "hello"));
    let stream = secure(&site, "site.example", &[&files], &[]).await.unwrap();
    let mut before = Wire::new(stream);
    before.get("/").await.shows(200, "hello");
    // A broken pair is refused and the old one stays.
    std::fs::write(&files.key, "no key").unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Pem { .. })));
    assert!(secure(&site, "site.example", &[&files], &[]).await.is_ok());
    let new = certify(folder.path(), "site.example");
    assert!(secure(&site, "site.example", &[&new], &[]).await.is_err());
    tls.reload().unwrap();
    assert!(secure(&site, "site.example", &[&new], &[]).await.is_ok());
    before.get("/").await.shows(200, "hello");
}

#[test]
fn what_is_wrong_with_certificates_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let one = certify(folder.path(), "one.example");
    let two = certify(folder.path(), "two.example");
    let mixed = CertificateFiles { key: two.key.clone(), ..one.clone() };
    let missing = CertificateFiles { key: folder.path().join("none"), ..one.clone() };
    let swapped = CertificateFiles { certificate: one.key.clone(), key: one.key.clone() };
    assert!(matches!(Tls::load(vec![mixed]), Err(TlsError::Mismatch { .. })));
    assert!(matches!(Tls::load(vec![missing]), Err(TlsError::Read { .. })));
    assert!(matches!(Tls::load(vec![swapped]), Err(TlsError::Pem { .. })));
    assert!(matches!(Tls::load(Vec::new()), Err(TlsError::None)));
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::load(vec![certify(folder.path(), "site.example")]).unwrap();
    let site = Site::new().says("/", "x").with(|plan| plan.head_time = Duration::from_millis(200));
    let site = start(&tls, site);
    let mut client = site.connect().await;
    client.send(b"\x16\x03\x01").await;
    client.is_closed().await;
}

#[tokio::test]
async fn plain_http_at_a_tls_port_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::load(vec![certify(folder.path(), "site.example")]).unwrap();
    let site = start(&tls, Site::new().says("/", "x"));
    let mut client = site.connect().await;
    let answer = client.get("/").await;
    assert_eq!((answer.status(), answer.get("connection")), (400, Some("close")));
    assert!(answer.text().contains("HTTPS"));
}

#[tokio::test]
async fn plain_http_is_sent_to_https() {
    let routes = Routes::new();
    routes.insert(None, "/", Route::to_https(8443));
    let address = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    let site = Site::new().with(|plan| plan.listeners.push(Listener::new(address, routes)));
    let mut site = site.start();
    site.addresses.remove(0);
    let mut client = site.connect().await;
    let answer = client.ask("GET /a%20b?c=\"d HTTP/1.1\r\nHost: Site.example:80\r\n\r\n").await;
    assert_eq!(answer.status(), 308);
    assert_eq!(answer.get("location"), Some("https://site.example:8443/a%20b?c=\"d"));
}
