//! Settings of HTTPS.

use std::path::PathBuf;

use serde::Deserialize;

/// A certificate makes every TCP listener one of HTTPS.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tls {
    /// The certificate and what it is signed by, in PEM. Read again when it changes.
    pub certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key: Option<PathBuf>,
    /// Further certificates. A client gets the first that is for the name it asks for, else the one
    /// above.
    pub further: Vec<CertificatePair>,
    /// Addresses on which plain HTTP is redirected to HTTPS.
    pub redirect_from: Vec<String>,
    /// The Strict-Transport-Security of answers, such as `"max-age=31536000; includeSubDomains"`;
    /// `"off"` for none. Without it a year, if there is `redirect-from`.
    pub strict_transport: Option<String>,
    /// The oldest version that is spoken: `"1.2"` or `"1.3"`.
    pub min_version: String,
    /// Certificates of the authorities, in PEM, whose clients are known by their certificates.
    pub client_ca: Option<PathBuf>,
    /// Certificates of clients that were revoked, as lists of these authorities in PEM.
    pub client_crl: Option<PathBuf>,
    /// Whether clients must show a certificate of `client-ca`: `required` for every connection,
    /// `optional` where only some paths need one (`site.client-certificate-paths`), `off`.
    pub client_verify: ClientVerify,
    /// Applications are told version, cipher and server name of a connection: `SSL_PROTOCOL`,
    /// `SSL_CIPHER` and `SSL_TLS_SNI` in the environ.
    pub environment: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            further: Vec::new(),
            redirect_from: Vec::new(),
            strict_transport: None,
            min_version: "1.2".to_owned(),
            client_ca: None,
            client_crl: None,
            client_verify: ClientVerify::Required,
            environment: false,
        }
    }
}

/// A certificate and its key, both in PEM.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CertificatePair {
    /// The certificate and what it is signed by.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum ClientVerify {
    #[default]
    Required,
    Optional,
    Off,
}
