//! HTTPS, by HTTP/1.1 and HTTP/2, with certificates that change.

use std::{path::Path, sync::Arc};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::site::{Connection, Plan, Site};

const NAME: &str = "site.example.com";

/// Makes a certificate in a folder, signed by itself.
fn certify(folder: &Path) -> CertifiedKey<KeyPair> {
    let certified = generate_simple_self_signed([NAME.to_owned()]).unwrap();
    std::fs::write(folder.join("certificate.pem"), certified.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    certified
}

pub(crate) fn plan() -> Plan {
    let plan = Plan::new().file("public/index.html", "over TLS").wsgi("hello");
    certify(plan.folder());
    plan.set("tls.certificate = 'certificate.pem'").set("tls.key = 'key.pem'")
}

/// Trusts the certificate that lies in the site's folder now, and nothing else.
pub(crate) async fn connect(
    site: &Site,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let pem = std::fs::read(site.folder().join("certificate.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(site.address()).await?;
    let name = ServerName::try_from(NAME).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn https_is_served() {
    let site = plan().start().await;
    assert!(site.addresses[0].starts_with("https://"), "{:?}", site.addresses);
    let stream = connect(&site, &[b"http/1.1"]).await.unwrap();
    let mut connection = Connection::over(stream, NAME);
    connection.ask("GET", "/", b"").await.shows("over TLS");
    let told = connection.ask("GET", "/tell", b"").await;
    told.shows("\"wsgi.url_scheme\": \"https\"");
}

#[tokio::test]
async fn http_2_is_served() {
    let site = plan().start().await;
    let stream = connect(&site, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for (path, expected) in [("/", "over TLS"), ("/version", "one")] {
        let request = http::Request::get(format!("https://{NAME}{path}")).body(()).unwrap();
        client = client.ready().await.unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        let mut text = Vec::new();
        while let Some(piece) = body.data().await {
            text.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(text, expected.as_bytes());
    }
}

#[tokio::test]
async fn a_changed_certificate_is_taken_over_by_reload() {
    let site = plan().start().await;
    drop(connect(&site, &[]).await.unwrap());
    certify(site.folder());
    assert!(connect(&site, &[]).await.is_err(), "the old one is served still");
    site.tell(&["reload"]);
    let mut connection = Connection::over(connect(&site, &[]).await.unwrap(), NAME);
    connection.ask("GET", "/", b"").await.shows("over TLS");
}

#[tokio::test]
async fn a_broken_certificate_changes_nothing() {
    let site = plan().start().await;
    let before = std::fs::read(site.folder().join("certificate.pem")).unwrap();
    site.write("certificate.pem", "not a certificate");
    let output = site.command(&["reload"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    site.write("certificate.pem", before);
    drop(connect(&site, &[]).await.unwrap());
}

#[tokio::test]
async fn plain_http_is_sent_to_https() {
    let site = plan().set("tls.redirect-from = ['127.0.0.1:0']").start().await;
    let status = site.status();
    let mut addresses = status["addresses"].as_array().unwrap().iter();
    let plain = addresses.find_map(|address| address.as_str().unwrap().strip_prefix("http://"));
    let mut connection = Connection::to(plain.unwrap()).await;
    let answer = connection.ask("GET", "/a?b", b"").await;
    assert_eq!(answer.status, 308);
    let location = answer.field("location").unwrap();
    assert!(location.starts_with("https://127.0.0.1") && location.ends_with("/a?b"), "{location}");
    let stream = connect(&site, &[b"http/1.1"]).await.unwrap();
    let answer = Connection::over(stream, NAME).ask("GET", "/", b"").await;
    assert!(answer.field("strict-transport-security").is_some(), "{answer:?}");
}

#[test]
fn a_key_of_another_certificate_is_told() {
    let plan = plan();
    let other = generate_simple_self_signed([NAME.to_owned()]).unwrap();
    std::fs::write(plan.folder().join("key.pem"), other.signing_key.serialize_pem()).unwrap();
    let ended = plan.run();
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    ended.shows("does not belong to the certificate");
}
