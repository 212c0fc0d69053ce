//! The fields of a request as variables of its environ (PEP 3333).

use pyo3::{
    prelude::*,
    types::{PyDict, PyString},
};

use crate::{
    frames::Request,
    kept::{DROPPED, Fields, text},
};

/// Puts the fields of a request into its environ. A name that comes again is joined to the
/// first; a name with an underscore, which could pass for another, is left out.
pub(super) fn add_to(
    environ: &Bound<'_, PyDict>,
    request: &Request,
    known: &mut Fields<PyString, PyString>,
) -> PyResult<()> {
    let py = environ.py();
    let before = environ.len();
    let mut added = 0;
    for (name, value) in request.fields() {
        if name.contains(&b'_') || DROPPED.contains(&name) {
            continue;
        }
        let make = |name: &[u8]| PyString::intern(py, &key_of(name)).unbind();
        let Some(slot) = known.slot(name, make) else { continue };
        let made = match &mut slot.value {
            Some(last) => last.text(py, value)?,
            None => text(py, value),
        };
        environ.set_item(slot.made.bind(py), made)?;
        added += 1;
    }
    if environ.len() == before + added { Ok(()) } else { join_repeated(environ, request) }
}

/// Fields in which the gateway alone tells what it knows of a client, and the keys that applications
/// know for them: those of CGI (RFC 3875) and of Apache's `mod_ssl`.
const TOLD: [(&[u8], &str); 12] = [
    (b"x-forwarded-user", "REMOTE_USER"),
    (b"x-forwarded-auth-type", "AUTH_TYPE"),
    (b"x-forwarded-client-verify", "SSL_CLIENT_VERIFY"),
    (b"x-forwarded-client-subject", "SSL_CLIENT_S_DN"),
    (b"x-forwarded-client-issuer", "SSL_CLIENT_I_DN"),
    (b"x-forwarded-client-name", "SSL_CLIENT_S_DN_CN"),
    (b"x-forwarded-client-serial", "SSL_CLIENT_M_SERIAL"),
    (b"x-forwarded-client-fingerprint", "SSL_CLIENT_FINGERPRINT"),
    (b"x-forwarded-client-names", "SSL_CLIENT_SAN"),
    (b"x-forwarded-tls-version", "SSL_PROTOCOL"),
    (b"x-forwarded-tls-cipher", "SSL_CIPHER"),
    (b"x-forwarded-tls-server-name", "SSL_TLS_SNI"),
];

/// The environ's key for a field.
fn key_of(name: &[u8]) -> String {
    if let Some((_, key)) = TOLD.iter().find(|(told, _)| *told == name) {
        return (*key).to_owned();
    }
    let upper = name.iter().map(|byte| match byte {
        b'-' => '_',
        other => char::from(other.to_ascii_uppercase()),
    });
    match name {
        b"content-type" | b"content-length" => upper.collect(),
        _ => "HTTP_".chars().chain(upper).collect(),
    }
}

/// Joins the values of names that came more than once: rare, hence apart.
fn join_repeated(environ: &Bound<'_, PyDict>, request: &Request) -> PyResult<()> {
    let mut seen: Vec<&[u8]> = Vec::new();
    for (name, _) in request.fields() {
        if seen.contains(&name) || name.contains(&b'_') || DROPPED.contains(&name) {
            continue;
        }
        seen.push(name);
        let values = request.fields().filter(|(other, _)| *other == name).map(|(_, value)| value);
        let values: Vec<&[u8]> = values.collect();
        if values.len() > 1 {
            let joint: &[u8] = if name == b"cookie" { b"; " } else { b", " };
            environ.set_item(key_of(name), text(environ.py(), &values.join(joint)))?;
        }
    }
    Ok(())
}
