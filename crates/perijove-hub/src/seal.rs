//! Texts that only this hub can have written: session cookies, tickets.
//!
//! What is sealed can be read by whoever holds it, but not changed: it ends with an HMAC-SHA256
//! under a key that lies in the state folder for this account alone.

use std::{fmt, fs, io, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

use crate::{spawn::replace, user::hex};

const FILE: &str = "session.key";
const KEY_BYTES: usize = 32;
/// Longer texts are none of ours.
const LONGEST: usize = 4096;

/// What a text is for: one sealed for one purpose is worth nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A session that began with a password.
    Login,
    /// A session that began with a ticket.
    Visit,
    Ticket,
}

/// The key, and what is done with it.
#[derive(Clone)]
pub(crate) struct Seal {
    key: [u8; KEY_BYTES],
}

impl Seal {
    /// The key of the state folder, which is made when there is none. It blocks.
    ///
    /// # Errors
    /// The folder cannot be used, or what lies there is no key.
    pub(crate) fn open(state_folder: &Path) -> io::Result<Self> {
        let path = state_folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Self::read(text.trim())
                .ok_or_else(|| io::Error::other(format!("{} holds no key", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let seal = Self::random()?;
                replace(&path, format!("{}\n", hex(&seal.key)).as_bytes())?;
                Ok(seal)
            }
            Err(error) => Err(error),
        }
    }

    /// A key that nobody keeps.
    pub(crate) fn random() -> io::Result<Self> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        Ok(Self { key })
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = text.as_bytes().chunks(2).map(|pair| {
            let digits = std::str::from_utf8(pair).ok().filter(|digits| digits.len() == 2)?;
            u8::from_str_radix(digits, 16).ok()
        });
        let key: Vec<u8> = bytes.collect::<Option<_>>()?;
        Some(Self { key: key.try_into().ok()? })
    }

    /// What can stand in a cookie and in an address; `None` when it would be too long for that.
    pub(crate) fn seal(&self, purpose: Purpose, content: &impl Serialize) -> Option<String> {
        let content = URL_SAFE_NO_PAD.encode(serde_json::to_vec(content).ok()?);
        let mac = self.mac(purpose, &content)?.finalize().into_bytes();
        let sealed = format!("{content}.{}", URL_SAFE_NO_PAD.encode(mac));
        (sealed.len() <= LONGEST).then_some(sealed)
    }

    /// What was sealed for this purpose; `None` for everything else.
    pub(crate) fn unseal<T: DeserializeOwned>(&self, purpose: Purpose, sealed: &[u8]) -> Option<T> {
        let sealed = std::str::from_utf8(sealed).ok().filter(|text| text.len() <= LONGEST)?;
        let (content, mac) = sealed.split_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        // In constant time.
        self.mac(purpose, content)?.verify_slice(&mac).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(content).ok()?).ok()
    }

    fn mac(&self, purpose: Purpose, content: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(format!("perijove {purpose:?}\n").as_bytes());
        mac.update(content.as_bytes());
        Some(mac)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

/// A name that nobody guesses: 128 random bits.
///
/// # Errors
/// The system gives no random numbers.
pub(crate) fn random_name() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_what_was_sealed_for_the_purpose_is_unsealed() {
        let folder = tempfile::tempdir().unwrap();
        let seal = Seal::open(folder.path()).unwrap();
        let sealed = seal.seal(Purpose::Login, &"ada").unwrap();
        let unseal =
            |seal: &Seal, purpose, text: &str| seal.unseal::<String>(purpose, text.as_bytes());
        assert_eq!(unseal(&seal, Purpose::Login, &sealed).as_deref(), Some("ada"));
        assert_eq!(unseal(&seal, Purpose::Ticket, &sealed), None);
        assert_eq!(unseal(&Seal::random().unwrap(), Purpose::Login, &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(unseal(&seal, Purpose::Login, &changed), None, "{changed}");
        }
        for text in ["", ".", "a.b", &"a".repeat(5000)] {
            assert_eq!(unseal(&seal, Purpose::Login, text), None, "{text}");
        }
    }

    #[test]
    fn the_key_outlives_the_program_and_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = Seal::open(folder.path()).unwrap().seal(Purpose::Login, &1).unwrap();
        let again = Seal::open(folder.path()).unwrap();
        assert_eq!(again.unseal::<u8>(Purpose::Login, sealed.as_bytes()), Some(1));
        let file = fs::metadata(folder.path().join(FILE)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        fs::write(folder.path().join(FILE), "short").unwrap();
        assert!(Seal::open(folder.path()).is_err());
    }
}
