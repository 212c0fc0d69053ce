//! Header fields of an answer, kept as the bytes that go on the wire.

use bytes::BytesMut;

/// Header fields as the block `Name: value\r\n…` that HTTP/1 sends, without the final empty line.
///
/// Values are bytes; neither names nor values hold CR, LF or NUL: [`FieldBlock::push`] drops a
/// field that does, since such a field could only be an attempt to split the answer.
#[derive(Clone, Debug, Default)]
pub struct FieldBlock {
    block: BytesMut,
}

impl FieldBlock {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over a block in wire form that was checked by whoever parsed it.
    pub(crate) fn from_checked(block: BytesMut) -> Self {
        Self { block }
    }

    /// Appends a field; a name or value that holds CR, LF or NUL is left out.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        let is_split = |b: &u8| matches!(b, b'\r' | b'\n' | 0);
        if name.is_empty() || name.as_bytes().iter().any(is_split) || value.iter().any(is_split) {
            return;
        }
        self.block.reserve(name.len() + value.len() + 4);
        self.block.extend_from_slice(name.as_bytes());
        self.block.extend_from_slice(b": ");
        self.block.extend_from_slice(value);
        self.block.extend_from_slice(b"\r\n");
    }

    /// The fields in order, name as written and value without surrounding white space.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest: &[u8] = &self.block;
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
        if self.iter().all(|(name, value)| keep(name, value)) {
            return;
        }
        let mut kept = BytesMut::with_capacity(self.block.len());
        for (name, value) in self.iter().filter(|(name, value)| keep(name, value)) {
            kept.extend_from_slice(name);
            kept.extend_from_slice(b": ");
            kept.extend_from_slice(value);
            kept.extend_from_slice(b"\r\n");
        }
        self.block = kept;
    }

    /// Removes all fields of that name and appends this one.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.retain(|n, _| !n.eq_ignore_ascii_case(name.as_bytes()));
        self.push(name, value);
    }

    /// Appends every field of another block.
    pub fn extend(&mut self, other: &Self) {
        self.block.extend_from_slice(&other.block);
    }

    /// The block in wire form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.block
    }

    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }
}
