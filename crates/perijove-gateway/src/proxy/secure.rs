//! TLS to upstreams: the handshake, and what its failures mean for whoever runs the site.

use std::{error::Error, fmt, io};

use rustls::{AlertDescription, CertificateError, OtherError};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{UpstreamTls, stream::Socket};

/// Shakes hands on a connection to `address`, a host and a port.
///
/// # Errors
/// When the upstream is not who it should be, or does not speak TLS as we do; the text of the error
/// says which, and what to do.
pub(super) async fn shake_hands(
    tls: &UpstreamTls,
    address: &str,
    socket: Socket,
) -> io::Result<TlsStream<Socket>> {
    let name = tls.name_of(address).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "certificates cannot be for this host's name")
    })?;
    TlsConnector::from(tls.config()).connect(name, socket).await.map_err(explained)
}

/// The same error, with what TLS says of it in words for people.
pub(super) fn explained(error: io::Error) -> io::Error {
    let kind = error.kind();
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause.map(Explained::of) {
        Some(explained) => io::Error::new(kind, explained),
        None if kind == io::ErrorKind::UnexpectedEof => io::Error::new(
            kind,
            "the upstream ended the connection without the farewell of TLS, so that what it sent \
             may not be all",
        ),
        None => error,
    }
}

/// What is wrong, and what helps.
#[derive(Debug)]
struct Explained {
    what: String,
    hint: &'static str,
}

impl Explained {
    fn of(error: &rustls::Error) -> Self {
        let (what, hint) = match error {
            rustls::Error::InvalidCertificate(error) => return Self::of_certificate(error),
            rustls::Error::InvalidMessage(_) => {
                ("it does not speak TLS".to_owned(), "is it an address of plain HTTP (`http://`)?")
            }
            rustls::Error::AlertReceived(alert) => return Self::of_alert(*alert),
            rustls::Error::PeerIncompatible(_) => {
                (error.to_string(), "it must speak TLS 1.2 or 1.3")
            }
            other => (other.to_string(), ""),
        };
        Self { what, hint }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError::{
            BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext,
            NotValidYet, NotValidYetContext, Other, UnknownIssuer,
        };
        let (what, hint) = match error {
            Expired | ExpiredContext { .. } => {
                ("its certificate has expired".to_owned(), "renew the certificate of the upstream")
            }
            NotValidYet | NotValidYetContext { .. } => (
                "its certificate is not valid yet".to_owned(),
                "compare the clocks of both machines",
            ),
            NotValidForName | NotValidForNameContext { .. } => (
                for_other_names(error),
                "write the address with a name that the certificate is for, or say which name it \
                 is for (`upstream-tls.name`)",
            ),
            UnknownIssuer => (
                "nobody who is believed has signed its certificate".to_owned(),
                "name the file with the certificate of the authority that did \
                 (`upstream-tls.ca`); the upstream must send the certificates in between",
            ),
            BadSignature => (
                "somebody else of the same name as who is believed has signed its certificate"
                    .to_owned(),
                "name the file with the certificate that the authority has now (`upstream-tls.ca`)",
            ),
            Other(OtherError(cause)) if cause.to_string().contains("CaUsedAsEndEntity") => (
                "its certificate is that of an authority, which may only sign others".to_owned(),
                "have it make one for its name (openssl: `basicConstraints=CA:FALSE`), signed by \
                 itself or by an authority",
            ),
            other => (format!("its certificate is no good: {other}"), ""),
        };
        Self { what, hint }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        let what = format!("it refused the connection ({alert:?})");
        let hint = match alert {
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure => {
                "does it want a certificate of ours (`upstream-tls.certificate`)?"
            }
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired => {
                "it does not believe the certificate in `upstream-tls.certificate`"
            }
            AlertDescription::UnrecognisedName => "it serves no such name",
            AlertDescription::NoApplicationProtocol => "it must speak HTTP/1.1",
            _ => "",
        };
        Self { what, hint }
    }
}

fn for_other_names(error: &CertificateError) -> String {
    let CertificateError::NotValidForNameContext { expected, presented } = error else {
        return "its certificate is for another name".to_owned();
    };
    let expected = expected.to_str();
    if presented.is_empty() {
        return format!("its certificate is not for {expected}: it names none");
    }
    format!("its certificate is not for {expected}, but for {}", presented.join(", "))
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; hint: {}", self.hint) }
    }
}

impl Error for Explained {}
