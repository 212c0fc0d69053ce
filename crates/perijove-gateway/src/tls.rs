//! TLS: certificates from files, read again when they change.

mod certificates;
pub(crate) mod clients;
mod outward;
mod subject;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    DEFAULT_VERSIONS, ServerConfig,
    crypto::ring::{Ticketer, default_provider},
    version::TLS13,
};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use certificates::Certificates;
pub use clients::ClientCertificates;
pub use outward::{UpstreamTls, UpstreamTlsSettings};
pub use subject::Certificate;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// A certificate with what it is signed by, and its private key, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What TLS is to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Which of them a client gets is decided by the name it asks for; the first is for those who ask
    /// for none that is known.
    pub certificates: Vec<CertificateFiles>,
    /// Certificates that clients may show.
    pub clients: Option<ClientCertificates>,
    /// Nothing older than TLS 1.3 is spoken.
    pub is_1_3_only: bool,
}

impl From<Vec<CertificateFiles>> for TlsSettings {
    fn from(certificates: Vec<CertificateFiles>) -> Self {
        Self { certificates, ..Self::default() }
    }
}

/// Why certificates cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("could not read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} holds no {what} in PEM")]
    Pem { path: PathBuf, what: &'static str },
    #[error("the key in {key} does not belong to the certificate in {certificate}")]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("the certificate in {certificate} or the key in {key} cannot be used")]
    Unusable { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("the certificates of clients cannot be verified by {authority}")]
    Clients { authority: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{name:?} is no name that a certificate can be for")]
    Name { name: String },
    #[error("this system has no certificates of authorities that are believed")]
    NobodyBelieved,
    #[error("no certificate was named")]
    None,
    #[error("could not set TLS up")]
    SetUp(#[source] rustls::Error),
}

/// The certificates of a site.
#[derive(Debug)]
pub struct Tls {
    settings: TlsSettings,
    config: Arc<ArcSwap<ServerConfig>>,
    /// What the files looked like when they were last read. Never held over an await.
    seen: Mutex<Vec<Look>>,
}

/// What tells that a file has changed.
type Look = Option<(SystemTime, u64)>;

impl Tls {
    /// Reads the certificates.
    ///
    /// # Errors
    /// When a file cannot be read or used. Nothing is looked up about validity: a certificate that
    /// has run out is served, as the clients will tell.
    pub fn load(settings: impl Into<TlsSettings>) -> Result<Self, TlsError> {
        let settings = settings.into();
        let seen = Mutex::new(settings.look());
        let config = Arc::new(ArcSwap::from_pointee(settings.configure()?));
        Ok(Self { settings, config, seen })
    }

    /// Whether one of the certificates is for a host.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn is_for(&self, host: &str) -> Result<bool, TlsError> {
        let certificates = Certificates::read(&self.settings.certificates, &default_provider())?;
        Ok(certificates.are_for(host))
    }

    /// For listeners; it changes with every reload.
    pub fn config(&self) -> Arc<ArcSwap<ServerConfig>> {
        self.config.clone()
    }

    /// Reads the certificates again. New connections get the new ones.
    ///
    /// # Errors
    /// As [`Tls::load`]; the old ones stay then.
    pub fn reload(&self) -> Result<(), TlsError> {
        let seen = self.settings.look();
        let configured = self.settings.configure();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        self.config.store(Arc::new(configured?));
        Ok(())
    }

    /// Reads the certificates again whenever their files have changed, and have then been left
    /// alone for a moment, until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        let mut before = self.settings.look();
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let now = self.settings.look();
            let is_steady = now == before;
            before.clone_from(&now);
            let is_new = now != *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if !is_new || !is_steady {
                continue;
            }
            match self.reload() {
                Ok(()) => tracing::info!("read the changed certificates"),
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "the changed certificates are not used");
                }
            }
        }
    }
}

fn look(path: &Path) -> Look {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl TlsSettings {
    fn look(&self) -> Vec<Look> {
        let own = self.certificates.iter().flat_map(|files| [&files.certificate, &files.key]);
        let clients = self.clients.iter().flat_map(ClientCertificates::paths);
        own.chain(clients).map(|path| look(path)).collect()
    }

    fn configure(&self) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(default_provider());
        let certificates = Certificates::read(&self.certificates, &provider)?;
        let versions: &[_] = if self.is_1_3_only { &[&TLS13] } else { DEFAULT_VERSIONS };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(TlsError::SetUp)?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(&provider)?),
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = Ticketer::new().map_err(TlsError::SetUp)?;
        Ok(config)
    }
}
