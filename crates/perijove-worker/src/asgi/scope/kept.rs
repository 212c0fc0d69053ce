//! Objects that are made once and used again: names of fields, values that are mostly the same.

use std::fmt;

use pyo3::{
    prelude::*,
    types::{PyBytes, PyList, PyString},
};

use crate::frames::{BodyLength, Request};

/// Bytes as text, each byte one character.
pub(super) fn text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(ascii) if ascii.is_ascii() => PyString::new(py, ascii),
        _ => PyString::new(py, &bytes.iter().map(|byte| char::from(*byte)).collect::<String>()),
    }
}

/// The last value of something that is mostly the same.
pub(super) struct Last<T> {
    bytes: Vec<u8>,
    made: Option<Py<T>>,
}

impl<T> fmt::Debug for Last<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Last").finish_non_exhaustive()
    }
}

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self { bytes: Vec::new(), made: None }
    }
}

impl<T> Last<T> {
    /// What was made of the same bytes the last time, else what `make` makes.
    pub(super) fn get<'py>(
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

/// Fields that lie to applications that read them as a variable of the environment, or that are
/// about a connection which is not theirs.
const DROPPED: [&[u8]; 2] = [b"proxy", b"transfer-encoding"];

const SLOTS: usize = 64;

/// Names of fields, and steady values. A table of fixed size, in which a newcomer takes the place
/// of whoever has it, so that nobody can fill it.
#[derive(Debug)]
pub(super) struct FieldBytes {
    slots: Vec<Option<Slot>>,
}

#[derive(Debug)]
struct Slot {
    name: Box<[u8]>,
    made: Py<PyBytes>,
    value: Option<Last<PyBytes>>,
}

impl FieldBytes {
    pub(super) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| None).collect() }
    }

    /// The fields of a request as ASGI has them: pairs of bytes, names in lower case.
    pub(super) fn list<'py>(
        &mut self,
        py: Python<'py>,
        request: &Request,
    ) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for (name, value) in request.fields() {
            if DROPPED.contains(&name) {
                continue;
            }
            let Some(slot) = self.slot(py, name) else { continue };
            let value = match &mut slot.value {
                Some(last) => last.get(py, value, |bytes| Ok(PyBytes::new(py, bytes)))?,
                None => PyBytes::new(py, value),
            };
            list.append((slot.made.bind(py), value))?;
        }
        // The gateway says it in the frame, not in a field; frameworks look for it in the fields.
        if let BodyLength::Known(length) = request.body
            && request.field(b"content-length").is_none()
        {
            let value = PyBytes::new(py, length.to_string().as_bytes());
            list.append((PyBytes::new(py, b"content-length"), value))?;
        }
        Ok(list)
    }

    fn slot(&mut self, py: Python<'_>, name: &[u8]) -> Option<&mut Slot> {
        let place = self.slots.get_mut(place_of(name))?;
        if place.as_ref().is_none_or(|slot| *slot.name != *name) {
            let value = STEADY.contains(&name).then(Last::default);
            let made = PyBytes::new(py, name).unbind();
            *place = Some(Slot { name: name.into(), made, value });
        }
        place.as_mut()
    }
}

fn place_of(name: &[u8]) -> usize {
    let hash =
        name.iter().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    (hash ^ (hash >> 7)) as usize % SLOTS
}
