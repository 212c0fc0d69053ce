//! Objects that are made once and used again: names of fields, values that are mostly the same.

use std::fmt;

use pyo3::{prelude::*, types::PyString};

/// Fields that lie to applications that read them as a variable of the environment (`Proxy` becomes
/// `HTTP_PROXY`), or that are about a connection which is not theirs.
pub(crate) const DROPPED: [&[u8]; 2] = [b"proxy", b"transfer-encoding"];

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

const SLOTS: usize = 64;

/// Bytes as text, each byte one character, as PEP 3333 has them.
pub(crate) fn text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(ascii) if ascii.is_ascii() => PyString::new(py, ascii),
        _ => PyString::new(py, &bytes.iter().map(|byte| char::from(*byte)).collect::<String>()),
    }
}

/// The last value of something that is mostly the same.
pub(crate) struct Last<T> {
    bytes: Vec<u8>,
    made: Option<Py<T>>,
}

impl<T> Last<T> {
    /// What was made of the same bytes the last time, else what `make` makes.
    pub(crate) fn get<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        make: impl FnOnce(&[u8]) -> PyResult<Bound<'py, T>>,
    ) -> PyResult<Bound<'py, T>> {
        if let Some(made) = &self.made
            && self.bytes == bytes
        {
            return Ok(made.bind(py).clone());
        }
        let made = make(bytes)?;
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.made = Some(made.clone().unbind());
        Ok(made)
    }
}

impl Last<PyString> {
    pub(crate) fn text<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
    ) -> PyResult<Bound<'py, PyString>> {
        self.get(py, bytes, |bytes| Ok(text(py, bytes)))
    }
}

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self { bytes: Vec::new(), made: None }
    }
}

impl<T> fmt::Debug for Last<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Last").finish_non_exhaustive()
    }
}

/// What was made of names of fields, and steady values. A table of fixed size, in which a newcomer
/// takes the place of whoever has it, so that nobody can fill it.
pub(crate) struct Fields<N, V> {
    slots: Vec<Option<Slot<N, V>>>,
}

/// What is known of one name.
pub(crate) struct Slot<N, V> {
    name: Box<[u8]>,
    /// Of the name.
    pub(crate) made: Py<N>,
    /// Where values are worth keeping.
    pub(crate) value: Option<Last<V>>,
}

impl<N, V> Fields<N, V> {
    pub(crate) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| None).collect() }
    }

    /// What is known of a name, of which `make` makes something when it is new.
    pub(crate) fn slot(
        &mut self,
        name: &[u8],
        make: impl FnOnce(&[u8]) -> Py<N>,
    ) -> Option<&mut Slot<N, V>> {
        let place = self.slots.get_mut(place_of(name))?;
        if place.as_ref().is_none_or(|slot| *slot.name != *name) {
            let value = STEADY.contains(&name).then(Last::default);
            *place = Some(Slot { name: name.into(), made: make(name), value });
        }
        place.as_mut()
    }
}

impl<N, V> fmt::Debug for Fields<N, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields").finish_non_exhaustive()
    }
}

fn place_of(name: &[u8]) -> usize {
    let hash =
        name.iter().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    (hash ^ (hash >> 7)) as usize % SLOTS
}
