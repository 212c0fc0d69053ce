//! Bytes as the `str` of PEP 3333 (each byte one character), kept where they come again.

use pyo3::{
    prelude::*,
    types::{PyDict, PyString},
};

use crate::frames::Request;

/// Bytes as text, each byte one character.
pub(super) fn text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(ascii) if ascii.is_ascii() => PyString::new(py, ascii),
        _ => PyString::new(py, &bytes.iter().map(|byte| char::from(*byte)).collect::<String>()),
    }
}

/// The last value of something that is mostly the same.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    text: Option<Py<PyString>>,
}

impl Kept {
    pub(super) fn text<'py>(&mut self, py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
        if let Some(text) = &self.text
            && self.bytes == bytes
        {
            return text.bind(py).clone();
        }
        let made = text(py, bytes);
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.text = Some(made.clone().unbind());
        made
    }

    /// A number as text.
    pub(super) fn number<'py>(&mut self, py: Python<'py>, number: u16) -> Bound<'py, PyString> {
        let bytes = number.to_be_bytes();
        if let Some(text) = &self.text
            && self.bytes == bytes
        {
            return text.bind(py).clone();
        }
        let made = PyString::new(py, &number.to_string());
        self.bytes.clear();
        self.bytes.extend_from_slice(&bytes);
        self.text = Some(made.clone().unbind());
        made
    }
}

/// Fields whose value is worth keeping: the same for many requests, and no secret.
const STEADY: [&[u8]; 10] = [
    b"accept",
    b"accept-encoding",
    b"accept-language",
    b"cache-control",
    b"content-type",
    b"host",
    b"origin",
    b"user-agent",
    b"x-forwarded-host",
    b"x-forwarded-proto",
];

/// Fields that mean nothing to an application, or that lie: `Proxy` becomes `HTTP_PROXY`.
const DROPPED: [&[u8]; 2] = [b"proxy", b"transfer-encoding"];

const SLOTS: usize = 64;

/// The environ's keys for names of fields, and steady values. A table of fixed size, in which a
/// newcomer takes the place of whoever has it, so that nobody can fill it.
#[derive(Debug)]
pub(super) struct FieldTexts {
    slots: Vec<Option<Slot>>,
}

#[derive(Debug)]
struct Slot {
    name: Box<[u8]>,
    key: Py<PyString>,
    value: Option<Kept>,
}

impl FieldTexts {
    pub(super) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| None).collect() }
    }

    /// Puts the fields of a request into its environ. A name that comes again is joined to the
    /// first; a name with an underscore, which could pass for another, is left out.
    pub(super) fn add_to(
        &mut self,
        environ: &Bound<'_, PyDict>,
        request: &Request,
    ) -> PyResult<()> {
        let py = environ.py();
        let before = environ.len();
        let mut added = 0;
        for (name, value) in request.fields() {
            if name.contains(&b'_') || DROPPED.contains(&name) {
                continue;
            }
            let Some(slot) = self.slot(py, name) else { continue };
            let made = match &mut slot.value {
                Some(kept) => kept.text(py, value),
                None => text(py, value),
            };
            environ.set_item(slot.key.bind(py), made)?;
            added += 1;
        }
        if environ.len() == before + added { Ok(()) } else { join_repeated(environ, request) }
    }

    fn slot(&mut self, py: Python<'_>, name: &[u8]) -> Option<&mut Slot> {
        let place = self.slots.get_mut(place_of(name))?;
        if place.as_ref().is_none_or(|slot| *slot.name != *name) {
            let value = STEADY.contains(&name).then(Kept::default);
            let key = PyString::intern(py, &key_of(name)).unbind();
            *place = Some(Slot { name: name.into(), key, value });
        }
        place.as_mut()
    }
}

fn place_of(name: &[u8]) -> usize {
    let hash =
        name.iter().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    (hash ^ (hash >> 7)) as usize % SLOTS
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
