//! TLS: certificates from files, read again when they change.

mod certificates;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring::{Ticketer, default_provider},
};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use certificates::Certificates;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// A certificate with what it is signed by, and its private key, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
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
    #[error("no certificate was named")]
    None,
    #[error("could not set TLS up")]
    SetUp(#[source] rustls::Error),
}

/// The certificates of a site. Which of them a client gets is decided by the name it asks for; the
/// first is for those who ask for none that is known.
#[derive(Debug)]
pub struct Tls {
    files: Vec<CertificateFiles>,
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
    pub fn load(files: Vec<CertificateFiles>) -> Result<Self, TlsError> {
        let seen = Mutex::new(look(&files));
        let config = Arc::new(ArcSwap::from_pointee(configure(&files)?));
        Ok(Self { files, config, seen })
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
        let seen = look(&self.files);
        let configured = configure(&self.files);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        self.config.store(Arc::new(configured?));
        Ok(())
    }

    /// Reads the certificates again whenever their files have changed, and have then been left
    /// alone for a moment, until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        let mut before = look(&self.files);
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let now = look(&self.files);
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

fn look(files: &[CertificateFiles]) -> Vec<Look> {
    let paths = files.iter().flat_map(|files| [&files.certificate, &files.key]);
    let seen = paths.map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    });
    seen.collect()
}

fn configure(files: &[CertificateFiles]) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(default_provider());
    let certificates = Certificates::read(files, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::SetUp)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = Ticketer::new().map_err(TlsError::SetUp)?;
    Ok(config)
}
