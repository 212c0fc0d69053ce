//! Upstreams under TLS: who is believed, and what the log is told when nobody is.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{OK, Stage, request, text};
use crate::{
    Body, CertificateFiles, Protocol, Response, Upstream, UpstreamAddress, UpstreamTls,
    UpstreamTlsSettings, error::Fault,
};

/// Who signs certificates.
struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        Self::named("one")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    /// A certificate for a name or an address, and its key, in files.
    fn certify(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateFiles {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let at = |end: &str| self.folder.path().join(format!("{name}.{end}"));
        std::fs::write(at("pem"), certificate.pem()).unwrap();
        std::fs::write(at("key"), key.serialize_pem()).unwrap();
        CertificateFiles { certificate: at("pem"), key: at("key") }
    }

    /// Upstreams of this authority are believed.
    fn settings(&self) -> UpstreamTlsSettings {
        let authority = Some(self.folder.path().join("ca.pem"));
        UpstreamTlsSettings { authority, ..UpstreamTlsSettings::default() }
    }
}

/// What a server shows, and of whom it wants to see a certificate.
fn server(shown: &CertificateFiles, wants: Option<&Authority>) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_file(&shown.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&shown.key).unwrap();
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match wants {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

/// A server that answers all requests; counts its connections.
async fn serve(config: Arc<ServerConfig>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let shaking = TlsAcceptor::from(config.clone()).accept(stream).into_fallible();
            tokio::spawn(async move {
                let mut stream = match shaking.await {
                    Ok(stream) => stream,
                    // Reads on, so that the alert is not lost with the connection.
                    Err((_, mut plain)) => {
                        let mut rest = Vec::new();
                        return drop(plain.read_to_end(&mut rest).await);
                    }
                };
                let mut piece = [0; 4096];
                while stream.read(&mut piece).await.is_ok_and(|count| count > 0) {
                    stream.write_all(OK.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        }
    });
    (address, connections)
}

/// A stage with one upstream under TLS.
fn stage(address: String, settings: UpstreamTlsSettings) -> Stage {
    let stage = Stage::new();
    let tls = Arc::new(UpstreamTls::load(settings).unwrap());
    stage.upstreams.add_weighed(
        Upstream {
            address: UpstreamAddress::Tcp(address),
            protocol: Protocol::Https(tls),
            capacity: None,
            account: None,
            is_replaced: false,
        },
        1,
    );
    stage
}

/// All that the log is told of a request that failed.
fn causes(answer: Result<Response, Fault>) -> String {
    let fault = answer.unwrap_err();
    assert_eq!(fault.status, 502);
    let mut text = fault.to_string();
    let mut source = std::error::Error::source(&fault);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn a_connection_under_tls_is_kept_and_used_again() {
    let authority = Authority::new();
    let (address, connections) = serve(server(&authority.certify("127.0.0.1", |_| {}), None)).await;
    let stage = stage(address, authority.settings());
    for _ in 0..5 {
        assert_eq!(text(stage.get("/").await.unwrap().body).await, "ok");
    }
    let post = stage.send(request("POST", "/", &[], Body::Full("abc".into())));
    assert_eq!(post.await.unwrap().status, 200);
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_certificate_may_be_for_a_name_that_is_said() {
    let authority = Authority::new();
    let (address, _) = serve(server(&authority.certify("app.internal", |_| {}), None)).await;
    let name = Some("app.internal".to_owned());
    let stage = stage(address, UpstreamTlsSettings { name, ..authority.settings() });
    assert_eq!(stage.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn who_cannot_prove_who_it_is_is_not_asked() {
    let authority = Authority::new();
    let check = async |shown: CertificateFiles, settings: UpstreamTlsSettings, words: &[&str]| {
        let (address, _) = serve(server(&shown, None)).await;
        let told = causes(stage(address.clone(), settings).get("/").await);
        assert!(
            told.contains(&format!("could not connect to the upstream at {address}")),
            "{told}"
        );
        for words in words {
            assert!(told.contains(words), "{words} in {told}");
        }
    };
    let own = authority.settings();
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    check(authority.certify("127.0.0.1", expired), own.clone(), &["has expired", "renew"]).await;
    let coming = |params: &mut CertificateParams| params.not_before = date_time_ymd(2090, 1, 1);
    let coming = authority.certify("127.0.0.1", coming);
    check(coming, own.clone(), &["is not valid yet", "clocks"]).await;
    let other = authority.certify("other.example", |_| {});
    let words = ["is not for 127.0.0.1, but for", "other.example", "upstream-tls.name"];
    check(other, own.clone(), &words).await;
    let strangers = Authority::named("two");
    let words = ["nobody who is believed has signed", "upstream-tls.ca"];
    check(authority.certify("127.0.0.1", |_| {}), strangers.settings(), &words).await;
    let words = ["somebody else of the same name", "upstream-tls.ca"];
    let others = Authority::new();
    check(authority.certify("127.0.0.1", |_| {}), others.settings(), &words).await;
    let sovereign = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let words = ["is that of an authority", "CA:FALSE"];
    check(authority.certify("127.0.0.1", sovereign), own, &words).await;
}

#[tokio::test]
async fn plain_http_is_no_tls() {
    let stage_of = |address| stage(address, Authority::new().settings());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let plain = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut piece = [0; 4096];
        assert_ne!(stream.read(&mut piece).await.unwrap(), 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    };
    let stage = stage_of(address);
    let (answer, ()) = tokio::join!(stage.get("/"), plain);
    let told = causes(answer);
    assert!(told.contains("does not speak TLS") && told.contains("`http://`"), "{told}");
}

#[tokio::test]
async fn an_upstream_that_wants_a_certificate_is_shown_one() {
    let authority = Authority::new();
    let own = authority.certify("127.0.0.1", |_| {});
    let (address, _) = serve(server(&own, Some(&authority))).await;
    let shown = Some(authority.certify("gateway.internal", |_| {}));
    let certificate = UpstreamTlsSettings { certificate: shown, ..authority.settings() };
    let answer = stage(address.clone(), certificate).get("/").await;
    assert_eq!(answer.unwrap().status, 200);
    let told = causes(stage(address.clone(), authority.settings()).get("/").await);
    assert!(told.contains("CertificateRequired"), "{told}");
    assert!(told.contains("upstream-tls.certificate"), "{told}");
    let strangers = Authority::named("two");
    let strange = strangers.certify("gateway.internal", |_| {});
    let settings = UpstreamTlsSettings { certificate: Some(strange), ..authority.settings() };
    let told = causes(stage(address, settings).get("/").await);
    assert!(told.contains("does not believe the certificate"), "{told}");
}
