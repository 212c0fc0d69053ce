//! Clients that are known by their certificates.

use std::{fs, path::Path, sync::Arc};

use perijove_gateway::{
    Access, CertificateFiles, ClientCertificates, Response, Tls, TlsError, TlsSettings,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio_rustls::TlsConnector;

use crate::{
    site::{Running, Site, service},
    tls::certify,
    wire::{Wire, soon},
};

/// Who signs certificates of clients.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn certify(&self, name: &str, serial: u64) -> Shown {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        Shown { chain: vec![certificate.der().clone()], key }
    }

    fn revoke(&self, serial: u64) -> String {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2096, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2026, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

struct World {
    folder: tempfile::TempDir,
    own: CertificateFiles,
    authority: Authority,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = certify(folder.path(), "site.example");
        let authority = Authority::new("clients");
        fs::write(folder.path().join("clients.pem"), &authority.pem).unwrap();
        Self { folder, own, authority }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn settings(&self, is_required: bool) -> TlsSettings {
        TlsSettings {
            certificates: vec![self.own.clone()],
            clients: Some(ClientCertificates {
                authority: self.path().join("clients.pem"),
                revoked: None,
                is_required,
            }),
            is_1_3_only: false,
        }
    }

    fn start(settings: TlsSettings) -> Running {
        let tls = Tls::load(settings).unwrap();
        let told = service(|request| {
            let proven = request.client.proven.as_ref();
            let certificate = proven.and_then(|proven| proven.certificate.as_ref());
            let subject = certificate.map_or("nobody", |certificate| &certificate.subject);
            Response::new(200, "text/plain", subject.to_owned())
        });
        let mut inside = told.clone();
        let access = Access { needs_certificate: true, ..Access::default() };
        inside.guard = Some(Arc::new(access));
        let config = tls.config();
        Site::new()
            .route("/", told)
            .route("/inside/", inside)
            .start_with(|listener| listener.tls = Some(config))
    }

    /// What a client is told that shows this certificate; nothing when it is not served.
    async fn ask(
        &self,
        site: &Running,
        shown: Option<&Shown>,
        path: &str,
    ) -> Option<(u16, String)> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.own.certificate).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(Shown { chain, key }) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap()
            }
        };
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("site.example").unwrap();
        let connecting = connector.connect(name, site.socket().await);
        let mut wire = Wire::new(soon("a handshake", connecting).await.ok()?);
        // With TLS 1.3 a client learns only now that its certificate was refused.
        let request = format!("GET {path} HTTP/1.1\r\nHost: site.example\r\n\r\n");
        if !wire.try_send(request.as_bytes()).await || !wire.goes_on().await {
            return None;
        }
        let answer = wire.message().await;
        Some((answer.status(), answer.text().to_owned()))
    }
}

fn told(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[tokio::test]
async fn a_certificate_says_who_a_client_is() {
    let world = World::new();
    let ada = world.authority.certify("Ada", 7);
    let stranger = Authority::new("clients").certify("Eve", 7);
    let optional = World::start(world.settings(false));
    assert_eq!(world.ask(&optional, Some(&ada), "/").await, Some(told(200, "CN=Ada")));
    assert_eq!(world.ask(&optional, None, "/").await, Some(told(200, "nobody")));
    assert_eq!(world.ask(&optional, Some(&stranger), "/").await, None);
    assert_eq!(world.ask(&optional, Some(&ada), "/inside/").await, Some(told(200, "CN=Ada")));
    let (status, text) = world.ask(&optional, None, "/inside/").await.unwrap();
    assert!(status == 403 && text.contains("certificate"), "{status} {text}");
    let required = World::start(world.settings(true));
    assert_eq!(world.ask(&required, Some(&ada), "/").await, Some(told(200, "CN=Ada")));
    assert_eq!(world.ask(&required, None, "/").await, None);
    assert_eq!(world.ask(&required, Some(&stranger), "/").await, None);
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let world = World::new();
    let revoked = world.path().join("revoked.pem");
    fs::write(&revoked, world.authority.revoke(7)).unwrap();
    let mut settings = world.settings(false);
    settings.clients.as_mut().unwrap().revoked = Some(revoked);
    let site = World::start(settings);
    let (ada, bob) = (world.authority.certify("Ada", 7), world.authority.certify("Bob", 8));
    assert_eq!(world.ask(&site, Some(&ada), "/").await, None);
    assert_eq!(world.ask(&site, Some(&bob), "/").await, Some(told(200, "CN=Bob")));
}

#[test]
fn what_is_wrong_with_authorities_is_said() {
    let world = World::new();
    let check = |name: &str, content: Option<&str>| {
        let mut settings = world.settings(true);
        let clients = settings.clients.as_mut().unwrap();
        let path = world.path().join(name);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        clients.authority = path.clone();
        clients.revoked = None;
        let error = Tls::load(settings).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        error
    };
    assert!(matches!(check("absent.pem", None), TlsError::Read { .. }));
    assert!(matches!(check("empty.pem", Some("")), TlsError::Pem { .. }));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(check("garbage.pem", Some(garbage)), TlsError::Pem { .. }));
    let mut settings = world.settings(true);
    settings.clients.as_mut().unwrap().revoked = Some(world.path().join("clients.pem"));
    assert!(matches!(Tls::load(settings), Err(TlsError::Pem { .. })));
}
