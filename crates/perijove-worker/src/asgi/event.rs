//! The events that an application sends, read with errors that tell what is wrong.

use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    pybacked::PyBackedBytes,
    types::{PyBytes, PyDict, PyList, PyString, PyTuple},
};

use crate::{head::Head, start::kind};

/// An event that an application sends.
#[derive(Debug)]
pub(super) struct Event<'a, 'py>(&'a Bound<'py, PyDict>);

impl<'a, 'py> Event<'a, 'py> {
    pub(super) fn new(event: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        let event = event.cast::<PyDict>().map_err(|_| {
            PyTypeError::new_err(format!("send() takes a dict, not {}", kind(event)))
        })?;
        Ok(Self(event))
    }

    /// Its `type`.
    pub(super) fn kind(&self, key: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyString>> {
        let Some(kind) = self.0.get_item(key)? else {
            return Err(PyValueError::new_err("the event has no 'type'"));
        };
        kind.cast_into().map_err(|_| PyTypeError::new_err("the 'type' of an event is a str"))
    }

    pub(super) fn get(&self, key: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.0.get_item(key)?.filter(|value| !value.is_none()))
    }

    /// A flag that is false when it is not there.
    pub(super) fn flag(&self, key: &Bound<'py, PyString>) -> PyResult<bool> {
        self.0.get_item(key)?.map_or(Ok(false), |value| value.is_truthy())
    }

    /// Bytes; none when they are not there.
    pub(super) fn bytes(&self, key: &Bound<'py, PyString>) -> PyResult<PyBackedBytes> {
        let py = self.0.py();
        let Some(value) = self.get(key)? else { return Ok(PyBytes::new(py, b"").into()) };
        bytes_of(value, || format!("'{key}' is bytes"))
    }

    /// A text; `None` when it is not there.
    pub(super) fn text(
        &self,
        key: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let wrong = format!("'{key}' is a str, not {}", kind(&value));
        value.cast_into().map(Some).map_err(|_| PyTypeError::new_err(wrong))
    }

    /// The head of an answer of this status: fields below `headers`.
    pub(super) fn head(&self, status: u16, key: &Bound<'py, PyString>) -> PyResult<Head> {
        let mut head = if status == 101 {
            Head { status, ..Head::default() }
        } else {
            Head::of_status(status).map_err(refused)?
        };
        let Some(headers) = self.get(key)? else { return Ok(head) };
        if let Ok(list) = headers.cast_exact::<PyList>() {
            for header in list {
                add(&mut head, header)?;
            }
            return Ok(head);
        }
        let others = headers.try_iter().map_err(|_| {
            PyTypeError::new_err(format!("'{key}' is a list of pairs, not {}", kind(&headers)))
        })?;
        for header in others {
            add(&mut head, header?)?;
        }
        Ok(head)
    }

    /// A status, below `status`.
    pub(super) fn status(&self, key: &Bound<'py, PyString>) -> PyResult<u16> {
        let Some(status) = self.get(key)? else {
            return Err(PyValueError::new_err("'http.response.start' has no 'status'"));
        };
        status.extract().map_err(|_| {
            PyTypeError::new_err(format!("'status' is a number from 200 to 599, not {status}"))
        })
    }
}

fn add(head: &mut Head, header: Bound<'_, PyAny>) -> PyResult<()> {
    let wrong = || "a header is a pair of bytes, name and value".to_owned();
    if let Ok(pair) = header.cast_exact::<PyTuple>()
        && pair.len() == 2
    {
        let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
        if let (Ok(name), Ok(value)) = (name.cast::<PyBytes>(), value.cast::<PyBytes>()) {
            return head.add_bytes(name.as_bytes(), value.as_bytes()).map_err(refused);
        }
    }
    let parts: Vec<Bound<'_, PyAny>> =
        header.try_iter().and_then(Iterator::collect).map_err(|_| PyTypeError::new_err(wrong()))?;
    let [name, value] = <[_; 2]>::try_from(parts).map_err(|_| PyTypeError::new_err(wrong()))?;
    let (name, value) = (bytes_of(name, wrong)?, bytes_of(value, wrong)?);
    head.add_bytes(&name, &value).map_err(refused)
}

/// Bytes, or what can be made into bytes without guessing (`bytearray`, `memoryview`).
fn bytes_of(value: Bound<'_, PyAny>, wrong: impl Fn() -> String) -> PyResult<PyBackedBytes> {
    let value = match value.cast_into_exact::<PyBytes>() {
        Ok(bytes) => return Ok(bytes.into()),
        Err(error) => error.into_inner(),
    };
    let py = value.py();
    let wrong = || PyTypeError::new_err(format!("{}, not {}", wrong(), kind(&value)));
    let is_number = value.is_instance_of::<pyo3::types::PyInt>();
    let is_iterable = value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>();
    if value.is_instance_of::<PyString>() || is_number || is_iterable {
        return Err(wrong());
    }
    let made = py.get_type::<PyBytes>().call1((&value,)).map_err(|_| wrong())?;
    Ok(made.cast_into::<PyBytes>().map_err(|_| wrong())?.into())
}

pub(super) fn refused(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}
