//! Header fields of an answer, kept as the bytes that go on the wire.

use bytes::{Bytes, BytesMut};

/// Header fields as the block `Name: value\r\n…` that HTTP/1 sends, without the final empty line.
///
/// Values are bytes; neither names nor values hold CR, LF or NUL: [`FieldBlock::push`] drops a
/// field that does, since such a field could only be an attempt to split the answer.
#[derive(Clone, Debug, Default)]
pub struct FieldBlock {
    block: BytesMut,
    /// Stands instead of `block`, which is empty then: a block that is made once and sent often is
    /// shared until somebody changes it.
    shared: Option<Bytes>,
}

impl FieldBlock {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over a block in wire form that was checked by whoever parsed it.
    pub(crate) fn from_checked(block: BytesMut) -> Self {
        Self { block, shared: None }
    }

    /// The same fields, cheap to clone: the clones share the bytes until one is changed.
    #[must_use]
    pub fn shared(self) -> Self {
        let shared = self.shared.unwrap_or_else(|| self.block.freeze());
        Self { block: BytesMut::new(), shared: Some(shared) }
    }

    /// Appends a field; a name or value that holds CR, LF or NUL is left out.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        let is_split = |b: &u8| matches!(b, b'\r' | b'\n' | 0);
        if name.is_empty() || name.as_bytes().iter().any(is_split) || value.iter().any(is_split) {
            return;
        }
        let block = self.own(name.len() + value.len() + 4);
        block.extend_from_slice(name.as_bytes());
        block.extend_from_slice(b": ");
        block.extend_from_slice(value);
        block.extend_from_slice(b"\r\n");
    }

    /// The block to write to, with room for so many more bytes.
    fn own(&mut self, room: usize) -> &mut BytesMut {
        if let Some(shared) = self.shared.take() {
            self.block.reserve(shared.len() + room.max(128));
            self.block.extend_from_slice(&shared);
        }
        self.block.reserve(room);
        &mut self.block
    }

    /// The fields in order, name as written and value without surrounding white space.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.as_bytes();
        std::iter::from_fn(move || {
            let end = memchr::memchr(b'\n', rest)?;
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            let colon = memchr::memchr(b':', line)?;
            let (name, value) = line.split_at(colon);
            Some((name, value.get(1..)?.trim_ascii()))
        })
    }

    /// The value of the first field of that name, case ignored.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Keeps the fields for which `keep(name, value)` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let mut kept = None;
        let mut before = 0;
        for (name, value) in self.iter() {
            let is_kept = keep(name, value);
            match &mut kept {
                None if is_kept => before += 1,
                // The first that goes: what stood before it stays.
                None => kept = Some(self.front(before)),
                Some(kept) if is_kept => {
                    for part in [name, b": ".as_slice(), value, b"\r\n"] {
                        kept.extend_from_slice(part);
                    }
                }
                Some(_) => {}
            }
        }
        if let Some(kept) = kept {
            (self.block, self.shared) = (kept, None);
        }
    }

    /// A copy of the first so many fields.
    fn front(&self, count: usize) -> BytesMut {
        let block = self.as_bytes();
        let end = match count.checked_sub(1) {
            None => 0,
            Some(last) => memchr::memchr_iter(b'\n', block).nth(last).map_or(0, |at| at + 1),
        };
        BytesMut::from(block.get(..end).unwrap_or_default())
    }

    /// Removes all fields of that name and appends this one.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.retain(|n, _| !n.eq_ignore_ascii_case(name.as_bytes()));
        self.push(name, value);
    }

    /// Appends every field of another block.
    pub fn extend(&mut self, other: &Self) {
        if self.is_empty() {
            *self = other.clone();
        } else if !other.is_empty() {
            let block = other.as_bytes();
            self.own(block.len()).extend_from_slice(block);
        }
    }

    /// The block in wire form.
    pub fn as_bytes(&self) -> &[u8] {
        self.shared.as_deref().unwrap_or(&self.block)
    }

    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut FieldBlock), expected: &str) {
        let mut own = FieldBlock::new();
        own.push("A", "1");
        own.push("B", "2");
        own.push("a", "3");
        let shared = own.clone().shared();
        let mut changed = shared.clone();
        change(&mut own);
        change(&mut changed);
        assert_eq!(own.as_bytes(), expected.as_bytes());
        assert_eq!(changed.as_bytes(), expected.as_bytes());
        assert_eq!(shared.as_bytes(), b"A: 1\r\nB: 2\r\na: 3\r\n");
    }

    #[test]
    fn a_shared_block_changes_like_one_of_its_own_and_leaves_the_others_alone() {
        check(|fields| fields.push("C", "4"), "A: 1\r\nB: 2\r\na: 3\r\nC: 4\r\n");
        check(|fields| fields.push("C", "4\r\nD: 5"), "A: 1\r\nB: 2\r\na: 3\r\n");
        check(|fields| fields.push("C\0", "4"), "A: 1\r\nB: 2\r\na: 3\r\n");
        check(|fields| fields.set("a", "9"), "B: 2\r\na: 9\r\n");
        check(|fields| fields.set("b", "9"), "A: 1\r\na: 3\r\nb: 9\r\n");
        check(|fields| fields.retain(|_, value| value != b"3"), "A: 1\r\nB: 2\r\n");
        check(|fields| fields.retain(|_, _| true), "A: 1\r\nB: 2\r\na: 3\r\n");
        check(|fields| fields.extend(&FieldBlock::new()), "A: 1\r\nB: 2\r\na: 3\r\n");
    }

    #[test]
    fn fields_are_found_whatever_their_case() {
        let mut fields = FieldBlock::new();
        fields.push("Content-Type", " text/html ");
        assert_eq!(fields.get("content-type"), Some(b"text/html".as_slice()));
        assert!(!fields.contains("Content"));
    }
}
