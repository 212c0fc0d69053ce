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

/// A hash of all that a yes depends on; no secret can be read from it.
pub(super) type Key = [u8; 32];

/// The fields with which the site's answers were seen to vary.
#[derive(Debug, Default)]
pub(super) struct Varying {
    /// Held for the length of one look or one change.
    names: Mutex<BTreeSet<String>>,
}

impl Varying {
    /// Scheme, host, owner, method, cookies, authorization, address, and what `Vary` names.
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

/// All fields of that name, each with its length, after their number.
fn part_of_fields(head: &Head, name: &str, part: &mut impl FnMut(&[u8])) {
    let values =
        || head.fields().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v);
    part(&values().count().to_le_bytes());
    for value in values() {
        part(value);
    }
}
