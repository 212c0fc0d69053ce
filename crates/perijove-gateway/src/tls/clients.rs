//! Certificates of clients: who may sign them, and what is told of them.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    RootCertStore, ServerConnection,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{Certificate, TlsError, certificates::file};
use crate::Proven;

/// Which certificates of clients are believed, and whether there must be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Certificates, in PEM, that sign those of clients.
    pub authority: PathBuf,
    /// Certificates that were revoked, in PEM.
    pub revoked: Option<PathBuf>,
    /// Who has none, is not served at all. Otherwise routes decide.
    pub is_required: bool,
}

impl ClientCertificates {
    pub(super) fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let mut roots = RootCertStore::empty();
        let pem = |what| TlsError::Pem { path: self.authority.clone(), what };
        for certificate in CertificateDer::pem_slice_iter(&file(&self.authority)?) {
            let certificate = certificate.map_err(|_| pem("certificate"))?;
            roots.add(certificate).map_err(|_| pem("certificate of an authority"))?;
        }
        if roots.is_empty() {
            return Err(pem("certificate"));
        }
        let provider = provider.clone();
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if let Some(path) = &self.revoked {
            let pem = || TlsError::Pem { path: path.clone(), what: "list of what was revoked" };
            let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&file(path)?)
                .collect::<Result<_, _>>()
                .map_err(|_| pem())?;
            if lists.is_empty() {
                return Err(pem());
            }
            // A list is of one authority; certificates of others are not in it.
            builder = builder.with_crls(lists).allow_unknown_revocation_status();
        }
        if !self.is_required {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(|error| TlsError::Clients {
            authority: self.authority.clone(),
            source: Box::new(error),
        })
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.authority].into_iter().chain(&self.revoked)
    }
}

/// What is known of the client of a connection whose handshake is done. `None` when nothing is to be
/// told.
pub(crate) fn proven(session: &ServerConnection) -> Option<Proven> {
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let certificate = Certificate::read(certificate?)?;
    let fields = [
        ("X-Forwarded-Client-Verify", "SUCCESS"),
        ("X-Forwarded-Client-Subject", &certificate.subject),
        ("X-Forwarded-Client-Issuer", &certificate.issuer),
        ("X-Forwarded-Client-Name", &certificate.name),
        ("X-Forwarded-Client-Serial", &certificate.serial),
        ("X-Forwarded-Client-Fingerprint", &certificate.fingerprint),
        ("X-Forwarded-Client-Names", &certificate.names),
    ];
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    let fields = fields.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Some(Proven { certificate: Some(certificate), fields })
}

/// What upstreams are told of the connection itself.
pub(crate) fn told(session: &ServerConnection) -> Vec<(String, String)> {
    let version = session.protocol_version().map(|version| match version {
        rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => "TLSv1.3",
    });
    let suite = session.negotiated_cipher_suite();
    let suite = suite.and_then(|suite| suite.suite().as_str());
    let name = session.server_name();
    let fields = [
        ("X-Forwarded-Tls-Version", version),
        ("X-Forwarded-Tls-Cipher", suite),
        ("X-Forwarded-Tls-Server-Name", name),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
