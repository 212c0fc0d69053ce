//! HTTPS, by HTTP/1.1 and HTTP/2, with certificates that change.

use std::{path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedKey, DnType, IsCa, Issuer, KeyPair,
    generate_simple_self_signed,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
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

/// A site that asks clients for certificates below `/tell`, and one of such a client.
fn with_clients() -> (Plan, CertificateDer<'static>, PrivateKeyDer<'static>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Ada");
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let plan = plan()
        .file("clients.pem", authority)
        .set("tls.client-ca = 'clients.pem'")
        .set("tls.client-verify = 'optional'")
        .set("tls.environment = true")
        .set("tls.strict-transport = 'max-age=60; includeSubDomains'")
        .set("site.client-certificate-paths = ['/tell']");
    (plan, certificate, key)
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate() {
    let (plan, certificate, key) = with_clients();
    let site = plan.start().await;
    let name = ServerName::try_from(NAME).unwrap();
    let trusting = || {
        let pem = std::fs::read(site.folder().join("certificate.pem")).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
    };
    let known = trusting().with_client_auth_cert(vec![certificate], key).unwrap();
    let stream = TcpStream::connect(site.address()).await.unwrap();
    let stream = TlsConnector::from(Arc::new(known)).connect(name, stream).await.unwrap();
    let mut connection = Connection::over(stream, NAME);
    let lies = [
        "X-Forwarded-Client-Subject: CN=Eve",
        "X_Forwarded_Client_Name: Eve",
        "X-Forwarded-User: eve",
    ];
    let told = connection.ask_with("GET", "/tell", &lies, b"").await;
    let told: serde_json::Value = serde_json::from_str(&told.text()).unwrap();
    assert_eq!(told["SSL_CLIENT_VERIFY"], "SUCCESS");
    assert_eq!(told["SSL_CLIENT_S_DN_CN"], "Ada");
    assert!(told["SSL_CLIENT_S_DN"].as_str().unwrap().contains("CN=Ada"), "{told}");
    assert_eq!(told["SSL_PROTOCOL"], "TLSv1.3");
    assert_eq!(told["SSL_TLS_SNI"], NAME);
    assert!(told.get("REMOTE_USER").is_none() && !told.to_string().contains("Eve"), "{told}");
    let stream = connect(&site, &[b"http/1.1"]).await.unwrap();
    let mut stranger = Connection::over(stream, NAME);
    let answer = stranger.ask("GET", "/", b"").await;
    assert_eq!(answer.field("strict-transport-security"), Some("max-age=60; includeSubDomains"));
    answer.shows("over TLS");
    stranger.ask_with("GET", "/tell", &lies, b"").await.is(403);
}

#[tokio::test]
async fn a_name_has_a_certificate_of_its_own() {
    let other = generate_simple_self_signed(["other.example.com".to_owned()]).unwrap();
    let site = plan()
        .file("other.pem", other.cert.pem())
        .file("other-key.pem", other.signing_key.serialize_pem())
        .set("tls.further = [{ certificate = 'other.pem', key = 'other-key.pem' }]")
        .set("tls.min-version = '1.3'")
        .start()
        .await;
    drop(connect(&site, &[]).await.unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(other.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth()
    };
    for (version, expected) in [(&rustls::version::TLS13, true), (&rustls::version::TLS12, false)] {
        let stream = TcpStream::connect(site.address()).await.unwrap();
        let name = ServerName::try_from("other.example.com").unwrap();
        let connector = TlsConnector::from(Arc::new(config(&[version])));
        assert_eq!(connector.connect(name, stream).await.is_ok(), expected);
    }
}

#[tokio::test]
async fn addresses_may_be_kept_out() {
    let check = async |line: &str, expected: u16| {
        let site = Plan::new().file("public/index.html", "x").set(line).start().await;
        site.get("/").await.is(expected);
    };
    check("site.allow-from = ['127.0.0.0/8']", 200).await;
    check("site.allow-from = ['10.0.0.0/8']", 403).await;
    check("site.deny-from = ['127.0.0.1']", 403).await;
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
