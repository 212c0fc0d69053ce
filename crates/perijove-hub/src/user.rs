//! Users: their names, and what a name looks like in addresses and as a folder.

use std::{fmt, fmt::Write as _, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Words that mean something of their own below the path of notebooks: pages of the hub, and the
/// addresses that Jupyter has below its root, which lead to the asker's own notebook.
const WORDS: [&str; 12] = [
    "-",
    "api",
    "consoles",
    "doc",
    "edit",
    "files",
    "lab",
    "notebooks",
    "static",
    "terminals",
    "tree",
    "view",
];

/// Longest name of a folder; file systems end at 255 bytes.
const FOLDER_BYTES: usize = 200;

/// A user's name, checked: 1 to 128 characters, none of them a control character, neither `.` nor
/// `..`, which browsers take for steps in a path however they are escaped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct User(Arc<str>);

/// Why a text is no user's name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    #[error("a user's name must not be empty")]
    Empty,
    #[error("a user's name has at most 128 characters, this one has {characters}")]
    Long { characters: usize },
    #[error("a user's name must not hold control characters")]
    Control,
    #[error("a user's name must not be `.` or `..`")]
    Dots,
    #[error("a user's name must be percent-encoded UTF-8")]
    Encoding,
}

impl User {
    pub fn new(name: &str) -> Result<Self, NameError> {
        let characters = name.chars().count();
        match name {
            "" => Err(NameError::Empty),
            "." | ".." => Err(NameError::Dots),
            _ if characters > 128 => Err(NameError::Long { characters }),
            _ if name.chars().any(char::is_control) => Err(NameError::Control),
            _ => Ok(Self(name.into())),
        }
    }

    /// The user that a segment of a path means, in whatever spelling.
    pub fn from_segment(segment: &[u8]) -> Result<Self, NameError> {
        let bytes = percent_decode(segment).ok_or(NameError::Encoding)?;
        Self::new(std::str::from_utf8(&bytes).map_err(|_| NameError::Encoding)?)
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// The one spelling in addresses: all but `A–Z a–z 0–9 - _ ~` is percent-encoded, and a name
    /// that equals a word with a meaning of its own, in any case, is escaped too.
    pub fn canonical(&self, site_paths: &[String]) -> String {
        let equals = |word: &str| word.eq_ignore_ascii_case(&self.0);
        let is_word = WORDS.iter().any(|word| equals(word)) || site_paths.iter().any(|p| equals(p));
        let mut canonical = String::with_capacity(self.0.len());
        for (place, byte) in self.0.bytes().enumerate() {
            let is_plain = byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
            push_byte(&mut canonical, byte, is_plain && !(is_word && place == 0));
        }
        canonical
    }

    /// The name of the user's folder: the plain name where that is harmless, else the canonical
    /// form; one that is too long for a file system is cut and ends with a hash. Different users
    /// have different folders, since `%` and `=` occur in no plain name, and `=` in no canonical
    /// form.
    pub fn folder_name(&self) -> String {
        let is_harmless = |b: u8| b.is_ascii_alphanumeric() || b"_.@+-".contains(&b);
        let begins_well = self.0.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if begins_well && self.0.bytes().all(is_harmless) {
            return self.0.as_ref().to_owned();
        }
        let mut folder = self.canonical(&[]);
        if folder.len() > FOLDER_BYTES {
            folder.truncate(FOLDER_BYTES - 33);
            folder.push('=');
            folder.extend(hex(&Sha256::digest(self.0.as_bytes())).chars().take(32));
        }
        folder
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for User {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(&name)
    }
}

impl From<User> for String {
    fn from(user: User) -> Self {
        user.0.as_ref().to_owned()
    }
}

/// A path below a folder as it stands in an address: slashes stay, what is special is encoded.
pub(crate) fn encode_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        push_byte(&mut encoded, byte, byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte));
    }
    encoded
}

/// Undoes percent-encoding; `None` when a `%` is not followed by two hexadecimal digits.
pub(crate) fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(*rest.next()?).to_digit(16)?;
            let low = char::from(*rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn push_byte(text: &mut String, byte: u8, is_plain: bool) {
    if is_plain {
        text.push(char::from(byte));
    } else {
        // Writing to a string cannot fail.
        let _ = write!(text, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests;
