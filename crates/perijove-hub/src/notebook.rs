//! Which notebook: whose it is, and which of theirs.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{
    config::Plan,
    user::{User, hex},
};

/// Longest name of a further notebook.
const LONGEST: usize = 30;

/// What a user calls a notebook beside their first one, which has the empty name: 1 to 30 lower
/// case letters, digits and `-`, the first no `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// A text that is no name of a notebook.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a notebook's name has 1 to 30 letters a–z, digits and `-`, and does not begin with `-`")]
pub struct WrongName;

impl Name {
    /// The name of the first notebook: none.
    pub fn first() -> Self {
        Self("".into())
    }

    /// A name; the empty one is that of the first notebook.
    pub fn new(name: &str) -> Result<Self, WrongName> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_name = name.len() <= LONGEST && !name.starts_with('-') && name.bytes().all(is_plain);
        if is_name { Ok(Self(name.into())) } else { Err(WrongName) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_first(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Name {
    fn default() -> Self {
        Self::first()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for Name {
    type Error = WrongName;

    fn try_from(name: String) -> Result<Self, WrongName> {
        Self::new(&name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// One of a user's notebooks. For people it is `ada`, or `ada/analysis`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Notebook {
    pub user: User,
    #[serde(default, skip_serializing_if = "Name::is_first")]
    pub name: Name,
}

impl Notebook {
    pub fn new(user: User, name: Name) -> Self {
        Self { user, name }
    }

    /// The one that has no name.
    pub fn first(user: User) -> Self {
        Self::new(user, Name::first())
    }

    /// Where its address begins: `/notebook/ada/`, `/notebook/ada/~analysis/`.
    pub(crate) fn address(&self, plan: &Plan) -> String {
        let of_user = format!("{}{}/", plan.path, self.user.canonical(&plan.site_paths));
        if self.name.is_first() { of_user } else { format!("{of_user}~{}/", self.name.as_str()) }
    }

    /// The name of folders of ours that belong to it: short, whatever the user is called.
    pub(crate) fn short_name(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.user.name().as_bytes());
        hash.update(b"/");
        hash.update(self.name.as_str().as_bytes());
        hex(&hash.finalize()).chars().take(16).collect()
    }
}

impl fmt::Display for Notebook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.user.name())?;
        if self.name.is_first() { Ok(()) } else { write!(f, "/{}", self.name.as_str()) }
    }
}

#[cfg(test)]
impl Notebook {
    /// `ada`, or `ada/analysis`.
    pub(crate) fn called(text: &str) -> Self {
        let (user, name) = text.split_once('/').unwrap_or((text, ""));
        Self::new(User::new(user).unwrap(), Name::new(name).unwrap())
    }
}

/// Splits what follows a user's address into the name of the notebook that is meant and the rest:
/// `~analysis/lab` is `lab` of `analysis`. What is no name belongs to the first notebook.
pub(crate) fn split_name(below: &str) -> (Name, &str) {
    let named = below.strip_prefix('~').map(|rest| rest.split_once('/').unwrap_or((rest, "")));
    match named.map(|(name, rest)| (Name::new(name), rest)) {
        Some((Ok(name), rest)) if !name.is_first() => (name, rest),
        _ => (Name::first(), below),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["", "a", "2", "my-data", "a-", &"x".repeat(30)] {
            assert_eq!(Name::new(name).map(|name| name.as_str().to_owned()).as_deref(), Ok(name));
        }
        for name in ["-a", "A", "a b", "a/b", "ä", "..", "~a", &"x".repeat(31)] {
            assert_eq!(Name::new(name), Err(WrongName), "{name}");
        }
    }

    #[test]
    fn a_name_in_an_address_is_found() {
        let check = |below: &str, name: &str, rest: &str| {
            let (found, left) = split_name(below);
            assert_eq!((found.as_str(), left), (name, rest), "{below}");
        };
        check("", "", "");
        check("lab/tree/x", "", "lab/tree/x");
        check("~b/lab/tree/x", "b", "lab/tree/x");
        check("~b", "b", "");
        check("~/lab", "", "~/lab");
        check("~B/lab", "", "~B/lab");
        check("lab/~b", "", "lab/~b");
    }

    #[test]
    fn folders_of_ours_are_told_apart() {
        let [first, named] = ["ada", "ada/b"].map(Notebook::called);
        assert_ne!(first.short_name(), named.short_name());
        assert_eq!((first.to_string(), named.to_string()), ("ada".into(), "ada/b".into()));
    }
}
