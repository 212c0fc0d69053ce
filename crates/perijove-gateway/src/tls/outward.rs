//! TLS towards upstreams: whom to believe, and what to show them.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, DEFAULT_VERSIONS, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{
    CertificateFiles, Look, TlsError,
    certificates::{chain_and_key, file},
    look,
};

/// How TLS is spoken to upstreams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTlsSettings {
    /// Certificates, in PEM, of those who sign the upstreams'; without it, those that the system
    /// believes.
    pub authority: Option<PathBuf>,
    /// What is shown to upstreams that ask for a certificate.
    pub certificate: Option<CertificateFiles>,
    /// The name that their certificates must be for; without it the host of the address.
    pub name: Option<String>,
}

/// Speaks TLS to upstreams. Two are equal when they were made of the same settings and files.
#[derive(Debug)]
pub struct UpstreamTls {
    settings: UpstreamTlsSettings,
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    /// What the files looked like when they were read.
    seen: Vec<Look>,
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings && self.seen == other.seen
    }
}

impl Eq for UpstreamTls {}

impl UpstreamTls {
    /// Reads the certificates.
    ///
    /// # Errors
    /// When a file cannot be read or used, the system believes nobody, or a name is none that a
    /// certificate can be for.
    pub fn load(settings: UpstreamTlsSettings) -> Result<Self, TlsError> {
        let seen = settings.look();
        let name = settings
            .name
            .clone()
            .map(|name| ServerName::try_from(name.clone()).map_err(|_| TlsError::Name { name }));
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(DEFAULT_VERSIONS)
            .map_err(TlsError::SetUp)?
            .with_root_certificates(settings.roots()?);
        let mut config = match &settings.certificate {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let (chain, private) = chain_and_key(files)?;
                builder.with_client_auth_cert(chain, private).map_err(|source| {
                    let CertificateFiles { certificate, key } = files.clone();
                    TlsError::Unusable { certificate, key, source }
                })?
            }
        };
        // HTTP/2 is not spoken to upstreams.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), name: name.transpose()?, settings, seen })
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// The name that the certificate of an upstream must be for, which is also asked for (SNI).
    /// `None` when certificates cannot be for it.
    pub(crate) fn name_of(&self, address: &str) -> Option<ServerName<'static>> {
        if let Some(name) = &self.name {
            return Some(name.clone());
        }
        let (host, _port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(host.to_owned()).ok()
    }
}

impl UpstreamTlsSettings {
    fn look(&self) -> Vec<Look> {
        let own = self.certificate.iter().flat_map(|files| [&files.certificate, &files.key]);
        self.authority.iter().chain(own).map(|path| look(path)).collect()
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.authority else {
            // What of them cannot be read is left out: others may do.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return if roots.is_empty() { Err(TlsError::NobodyBelieved) } else { Ok(roots) };
        };
        let pem = |what| TlsError::Pem { path: path.clone(), what };
        for certificate in CertificateDer::pem_slice_iter(&file(path)?) {
            let certificate = certificate.map_err(|_| pem("certificate"))?;
            roots.add(certificate).map_err(|_| pem("certificate of an authority"))?;
        }
        if roots.is_empty() { Err(pem("certificate")) } else { Ok(roots) }
    }
}
