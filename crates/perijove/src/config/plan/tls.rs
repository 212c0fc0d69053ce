//! HTTPS: which certificates are shown, and which are asked for.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};

use perijove_gateway::{CertificateFiles, ClientCertificates, TlsSettings};

use super::{Check, ListenAt};
use crate::config::{ClientVerify, Tls};

/// Browsers that were redirected once come by HTTPS for a year.
const STRICT_TRANSPORT: &str = "max-age=31536000";

/// HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsPlan {
    pub(crate) settings: TlsSettings,
    /// Where plain HTTP is redirected from.
    pub(crate) redirect_from: Vec<ListenAt>,
    pub(crate) strict_transport: Option<Arc<str>>,
    /// Whether applications are told about it.
    pub(crate) has_environment: bool,
}

pub(super) fn decide(tls: Option<&Tls>, check: &mut Check<'_>) -> Option<TlsPlan> {
    let tls = tls?;
    let redirect_from = check.listen(&tls.redirect_from, "tls.redirect-from");
    let folder = check.layers.folder.clone();
    let mut file = |path: Option<&PathBuf>, key: &str, what: &str| {
        let Some(path) = path else {
            check.wrong("tls", format!("`{key}` is missing"), &format!("name the {what}, in PEM"));
            return None;
        };
        Some(folder.join(path))
    };
    let certificate = file(tls.certificate.as_ref(), "certificate", "file with the certificate");
    let key = file(tls.key.as_ref(), "key", "file with its private key");
    let mut certificates = vec![CertificateFiles { certificate: certificate?, key: key? }];
    certificates.extend(tls.further.iter().map(|pair| CertificateFiles {
        certificate: folder.join(&pair.certificate),
        key: folder.join(&pair.key),
    }));
    let is_1_3_only = match tls.min_version.as_str() {
        "1.2" => false,
        "1.3" => true,
        other => {
            let what = format!("{other:?} is no version that is spoken");
            check.wrong("tls.min-version", what, "write \"1.2\" or \"1.3\"");
            false
        }
    };
    let settings = TlsSettings { certificates, clients: clients(tls, &folder, check), is_1_3_only };
    if let Err(error) = perijove_gateway::Tls::load(settings.clone()) {
        let cause = error.source().map_or_else(String::new, |cause| format!(" ({cause})"));
        check.wrong("tls", format!("{error}{cause}"), "");
    }
    Some(TlsPlan {
        settings,
        strict_transport: strict_transport(tls, check),
        redirect_from,
        has_environment: tls.environment,
    })
}

fn clients(tls: &Tls, folder: &Path, check: &mut Check<'_>) -> Option<ClientCertificates> {
    let Some(authority) = &tls.client_ca else {
        if tls.client_crl.is_some() || check.is_written("tls.client-verify") {
            let hint = "name the file with the authority's certificate";
            check.wrong("tls", "`client-ca` is missing", hint);
        }
        return None;
    };
    (tls.client_verify != ClientVerify::Off).then(|| ClientCertificates {
        authority: folder.join(authority),
        revoked: tls.client_crl.as_ref().map(|path| folder.join(path)),
        is_required: tls.client_verify == ClientVerify::Required,
    })
}

fn strict_transport(tls: &Tls, check: &mut Check<'_>) -> Option<Arc<str>> {
    let Some(policy) = &tls.strict_transport else {
        return (!tls.redirect_from.is_empty()).then(|| STRICT_TRANSPORT.into());
    };
    if policy == "off" {
        return None;
    }
    let is_printable = policy.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !policy.starts_with("max-age=") || !is_printable {
        let what = format!("{policy:?} is no policy");
        let hint = "for example \"max-age=31536000; includeSubDomains\", or \"off\"";
        check.wrong("tls.strict-transport", what, hint);
    }
    Some(policy.as_str().into())
}
