//! What makes two questions the same.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use perijove_gateway::Head;
use sha2::{Digest, Sha256};

use super::{Asked, question};

/// Names of fields with which answers may vary; more than any site needs.
const MOST: usize = 32;

/// What the names of fields hold by which proxies and programs say who somebody is: `X-Api-Key`,
/// `X-Remote-User`, `Cf-Access-Jwt-Assertion`, `X-SSL-Client-S-DN`. Of each it is enough to be seen
/// once too often: that costs a question.
const NAMING: [&[u8]; 15] = [
    b"account",
    b"auth",
    b"cert",
    b"email",
    b"identity",
    b"jwt",
    b"key",
    b"login",
    b"oidc",
    b"principal",
    b"session",
    b"ssl",
    b"tls",
    b"token",
    b"user",
];
/// Of browsers, and says nothing of who somebody is.
const NOT_NAMING: [&[u8]; 2] = [b"sec-", b"user-agent"];

/// A hash of all that a yes depends on; no secret can be read from it.
pub(super) type Key = [u8; 32];

/// The fields with which the site's answers were seen to vary.
#[derive(Debug, Default)]
pub(super) struct Varying {
    /// Held for the length of one look or one change.
    names: Mutex<BTreeSet<String>>,
}

impl Varying {
    /// Scheme, host, owner, method, cookies, authorization, address, whatever else may say who
    /// somebody is, and what `Vary` names.
    pub(super) fn key(&self, asked: &Asked<'_>) -> Key {
        let Asked { head, client, owner, .. } = *asked;
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(client.scheme.as_str().as_bytes());
        part(client.host.as_bytes());
        part(owner.as_bytes());
        part(head.method().as_bytes());
        let address = client.address.map(|address| address.ip().to_canonical().to_string());
        part(address.unwrap_or_default().as_bytes());
        for name in ["cookie", "authorization"] {
            part_of_fields(head, name, &mut part);
        }
        for (name, value) in head.fields().filter(|(name, _)| names_somebody(name)) {
            part(name);
            part(value);
        }
        // Behind the fields, whose number is not known.
        part(b"");
        for name in self.names().iter() {
            part_of_fields(head, name, &mut part);
        }
        hash.finalize().into()
    }

    /// Takes note of what an answer varies with; says whether it can be kept at all.
    pub(super) fn learn(&self, names: Vec<String>) -> bool {
        let mut known = self.names();
        for name in names {
            let is_in_the_key = name == "cookie" || name == "authorization";
            // What the site never sees cannot change its mind.
            if is_in_the_key || !question::is_shown(name.as_bytes()) || known.contains(&name) {
                continue;
            }
            if name == "*" || known.len() >= MOST {
                return false;
            }
            known.insert(name);
        }
        true
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a field may say who somebody is. A site that decides by such a field should say so by
/// `Vary`; one that does not must not have a yes for one person hold for the next.
pub(crate) fn names_somebody(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let holds = |part: &&[u8]| name.windows(part.len()).any(|window| window == *part);
    NAMING.iter().any(holds) && !NOT_NAMING.iter().any(|out| name.starts_with(out))
}

/// All fields of that name, each with its length, after their number.
fn part_of_fields(head: &Head, name: &str, part: &mut impl FnMut(&[u8])) {
    let values =
        || head.fields().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v);
    part(&values().count().to_le_bytes());
    for value in values() {
        part(value);
    }
}
