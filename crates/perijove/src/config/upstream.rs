//! Settings of programs that run elsewhere.

use std::{fmt, path::PathBuf};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

/// Addresses of programs that are equal to each other: a list, or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<String>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Addresses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address, or a list of some")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Addresses, E> {
        Ok(Addresses(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Addresses, A::Error> {
        let mut all = Vec::new();
        while let Some(address) = items.next_element()? {
            all.push(address);
        }
        Ok(Addresses(all))
    }
}

/// TLS to upstreams at `https://`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct UpstreamTls {
    /// Certificates, in PEM, of the authorities that sign those of the upstreams. Without it the
    /// ones that this system believes (or those in `$SSL_CERT_FILE`).
    pub ca: Option<PathBuf>,
    /// A certificate, in PEM, that is shown to upstreams that ask for one.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// The name that their certificates must be for. Without it the host of the address.
    pub name: Option<String>,
}
