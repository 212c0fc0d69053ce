//! Passwords: which are taken, and what is kept of them.

use std::{fmt, sync::LazyLock};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::user::User;

/// Characters that a password has at least: a notebook is a shell, and nothing else is asked for.
pub const LEAST: usize = 12;
/// Bytes that are hashed at most.
const MOST: usize = 1024;

/// A password as somebody typed it. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PasswordError {
    #[error("the password is too short: it has {0} characters, and {LEAST} are needed")]
    Short(usize),
    #[error("the password is too long: {MOST} bytes are the most")]
    Long,
    #[error("the password has nothing in it but the user's name")]
    Name,
    #[error("the password is one letter over and over")]
    Same,
    #[error("the password could not be hashed")]
    Hash,
}

/// What is kept of a password: a PHC string.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hash(String);

impl Password {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Checks it, and hashes it: that takes tens of milliseconds and 19 MiB.
    pub(super) fn hash(&self, user: &User) -> Result<Hash, PasswordError> {
        self.check(user)?;
        self.hash_unchecked().ok_or(PasswordError::Hash)
    }

    fn hash_unchecked(&self) -> Option<Hash> {
        hasher().hash_password(self.0.as_bytes()).ok().map(|hash| Hash(hash.to_string()))
    }

    fn check(&self, user: &User) -> Result<(), PasswordError> {
        let (characters, name) = (self.0.chars().count(), user.name().to_lowercase());
        let lower = self.0.to_lowercase();
        if characters < LEAST {
            return Err(PasswordError::Short(characters));
        }
        if self.0.len() > MOST {
            return Err(PasswordError::Long);
        }
        if lower.replace(&name, "").trim().is_empty() {
            return Err(PasswordError::Name);
        }
        let first = lower.chars().next();
        if lower.chars().all(|letter| Some(letter) == first) {
            return Err(PasswordError::Same);
        }
        Ok(())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Hash {
    /// Whether this is what was hashed. Takes as long as hashing.
    pub(crate) fn is_of(&self, password: &Password) -> bool {
        // Hashing what is longer than any password would only cost time.
        let bytes = password.0.as_bytes().get(..MOST).unwrap_or(password.0.as_bytes());
        PasswordHash::new(&self.0).is_ok_and(|hash| hasher().verify_password(bytes, &hash).is_ok())
    }

    /// Of nobody's password: whoever names a user that there is not waits as long as the others.
    pub(crate) fn of_nobody() -> Option<&'static Self> {
        static NOBODY: LazyLock<Option<Hash>> =
            LazyLock::new(|| Password(crate::seal::random_name().ok()?).hash_unchecked());
        NOBODY.as_ref()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash")
    }
}

/// Argon2id with 19 MiB, two passes and one lane: what OWASP's Password Storage Cheat Sheet asks for
/// at least. The 64 MiB of RFC 9106's second recommendation would let a handful of strangers who
/// guess take the memory of a small machine.
fn hasher() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_plain_passwords_are_refused() {
        let user = User::new("ada@example.com").unwrap();
        let check = |text: &str, expected| {
            assert_eq!(Password::new(text).check(&user), expected, "{text}");
        };
        check("", Err(PasswordError::Short(0)));
        check("short enough", Ok(()));
        check("eleven char", Err(PasswordError::Short(11)));
        check("éééééééééééà", Ok(()));
        check("ADA@example.com", Err(PasswordError::Name));
        check("ada@example.com ada@example.com", Err(PasswordError::Name));
        check("aaaaaaaaaaaaAAAA", Err(PasswordError::Same));
        check(&"ab".repeat(600), Err(PasswordError::Long));
    }

    #[test]
    fn hashes_are_argon2id_with_a_salt() {
        let (user, password) = (User::new("ada").unwrap(), Password::new("correct horse"));
        let [one, other] = [(); 2].map(|()| password.hash(&user).unwrap());
        assert!(one.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.0);
        assert_ne!(one.0, other.0);
        assert!(one.is_of(&password) && other.is_of(&password));
        assert!(!one.is_of(&Password::new("correct horsf")));
        assert!(!Hash("nothing".into()).is_of(&password));
        assert!(!Hash::of_nobody().unwrap().is_of(&password));
    }
}
