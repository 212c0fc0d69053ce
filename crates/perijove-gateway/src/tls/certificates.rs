//! The certificates, and which of them a client gets.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    client::verify_server_name,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{CertificateFiles, TlsError};

/// Certificates in the order of the configuration.
#[derive(Debug)]
pub(super) struct Certificates {
    first: Arc<CertifiedKey>,
    others: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    pub(super) fn read(
        files: &[CertificateFiles],
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let mut all = files.iter().map(|files| read(files, provider).map(Arc::new));
        let first = all.next().ok_or(TlsError::None)??;
        Ok(Self { first, others: all.collect::<Result<_, _>>()? })
    }
}

impl Certificates {
    /// Whether there is one for a host.
    pub(super) fn are_for(&self, host: &str) -> bool {
        let name = ServerName::try_from(host.to_owned()).ok();
        let mut all = [&self.first].into_iter().chain(&self.others);
        name.is_some_and(|name| all.any(|certificate| is_for(certificate, &name)))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().filter(|_| !self.others.is_empty());
        let name = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
        let found = name.and_then(|name| {
            [&self.first].into_iter().chain(&self.others).find(|found| is_for(found, &name))
        });
        Some(found.unwrap_or(&self.first).clone())
    }
}

fn is_for(certificate: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = certificate.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

fn read(files: &CertificateFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let CertificateFiles { certificate, key } = files;
    let (chain, private) = chain_and_key(files)?;
    let unusable =
        |source| TlsError::Unusable { certificate: certificate.clone(), key: key.clone(), source };
    let private = provider.key_provider.load_private_key(private).map_err(unusable)?;
    let certified = CertifiedKey::new(chain, private);
    match certified.keys_match() {
        // Some keys do not tell their public half; clients will.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(TlsError::Mismatch { certificate: certificate.clone(), key: key.clone() });
        }
        Err(source) => return Err(unusable(source)),
    }
    Ok(certified)
}

/// A certificate with those that signed it, and its key.
pub(super) fn chain_and_key(
    files: &CertificateFiles,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let pem = |path: &Path, what| TlsError::Pem { path: path.to_owned(), what };
    let CertificateFiles { certificate, key } = files;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&file(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|_| pem(certificate, "certificate"))?;
    if chain.is_empty() {
        return Err(pem(certificate, "certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&file(key)?).map_err(|_| pem(key, "private key"))?;
    Ok((chain, key))
}

pub(super) fn file(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
