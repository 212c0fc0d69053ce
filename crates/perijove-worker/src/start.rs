//! `start_response` and the `write` it returns.

use pyo3::{
    exceptions::{PyAssertionError, PyTypeError, PyValueError},
    prelude::*,
    types::{PyBytes, PyList, PyString, PyTuple},
};

use crate::{answer::Answer, head::Head, respond::raise_unfinished};

/// The `start_response` of one request.
#[pyclass(frozen, module = "perijove._worker")]
#[derive(Debug)]
pub(crate) struct StartResponse {
    answer: Answer,
}

/// The `write` of one request.
#[pyclass(frozen, module = "perijove._worker")]
#[derive(Debug)]
pub(crate) struct Write {
    start: Py<StartResponse>,
}

impl StartResponse {
    pub(crate) fn new(answer: Answer) -> Self {
        Self { answer }
    }

    pub(crate) fn answer(&self) -> &Answer {
        &self.answer
    }
}

#[pymethods]
impl StartResponse {
    #[pyo3(signature = (status, headers, exc_info=None, /))]
    fn __call__(
        slf: &Bound<'_, Self>,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Write> {
        let answer = &slf.get().answer;
        if let Some(exc_info) = exc_info
            && answer.is_sent()
        {
            return Err(reraised(exc_info)?);
        }
        let head = read_head(status, headers)?;
        if !answer.start(head, exc_info.is_some()) {
            return Err(PyAssertionError::new_err(
                "start_response was called twice; a second call must pass exc_info",
            ));
        }
        Ok(Write { start: slf.clone().unbind() })
    }
}

#[pymethods]
impl Write {
    fn __call__(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = data.cast::<PyBytes>().map_err(|_| {
            PyTypeError::new_err(format!("write() takes bytes, not {}", kind(data)))
        })?;
        let answer = &self.start.get().answer;
        if !data.as_bytes().is_empty() {
            answer.send(py, data.as_bytes(), false).map_err(raise_unfinished)?;
        }
        Ok(())
    }
}

/// The exception of an `exc_info`, to be raised again: the head is out already.
fn reraised(exc_info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let (_, value, traceback): (Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>) =
        exc_info.extract()?;
    let value = value.call_method1("with_traceback", (traceback,))?;
    Ok(PyErr::from_value(value))
}

fn read_head(status: &Bound<'_, PyAny>, headers: &Bound<'_, PyAny>) -> PyResult<Head> {
    let status = status.cast::<PyString>().map_err(|_| {
        PyTypeError::new_err(format!("the status must be a str, not {}", kind(status)))
    })?;
    let mut head = Head::new(status.to_str()?).map_err(refused)?;
    if let Ok(list) = headers.cast_exact::<PyList>() {
        for header in list {
            add_header(&mut head, &header)?;
        }
        return Ok(head);
    }
    let others = headers.try_iter().map_err(|_| {
        PyTypeError::new_err(format!("the headers must be a list, not {}", kind(headers)))
    })?;
    for header in others {
        add_header(&mut head, &header?)?;
    }
    Ok(head)
}

fn add_header(head: &mut Head, header: &Bound<'_, PyAny>) -> PyResult<()> {
    let wrong = |_| {
        PyTypeError::new_err(format!("a header must be a tuple of two str, not {}", kind(header)))
    };
    let pair = header.cast::<PyTuple>().map_err(|error| wrong(error.to_string()))?;
    if pair.len() != 2 {
        return Err(wrong(String::new()));
    }
    let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
    let text = |part: &Bound<'_, PyAny>| {
        PyTypeError::new_err(format!(
            "name and value of a header must be str, not {}: {header}",
            kind(part)
        ))
    };
    let name = name.cast::<PyString>().map_err(|_| text(&name))?;
    let value = value.cast::<PyString>().map_err(|_| text(&value))?;
    head.add(name.to_str()?, value.to_str()?).map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// The name of an object's type, for messages.
pub(crate) fn kind(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "something else".to_owned(), |name| name.to_string())
}
