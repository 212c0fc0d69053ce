//! `wsgi.input`: the body of a request, as a file that is read while it comes.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, TryLockError},
};

use pyo3::{
    exceptions::{PyConnectionResetError, PyRuntimeError, PyTimeoutError},
    prelude::*,
    types::{PyBytes, PyList},
};

use crate::{
    exchange::{Arrived, Exchange, Piece},
    forked,
    serve::Unmet,
    worker::Shared,
};

/// The body of a request.
#[pyclass(frozen, module = "perijove._worker")]
#[derive(Debug)]
pub(crate) struct Input {
    shared: Arc<Shared>,
    exchange: Option<Arc<Exchange>>,
    /// What has come and was not read. Never held while waiting.
    pieces: Mutex<VecDeque<Piece>>,
}

/// Where a read ends, beside the end of the body.
#[derive(Clone, Copy)]
struct Until {
    bytes: usize,
    line: bool,
}

impl Input {
    /// The body of requests that have none.
    pub(crate) fn empty(shared: Arc<Shared>) -> Self {
        Self { shared, exchange: None, pieces: Mutex::default() }
    }

    /// The body of a request, of which `first` came with it.
    pub(crate) fn new(shared: Arc<Shared>, exchange: Arc<Exchange>, first: Piece) -> Self {
        let pieces = if first.rest().is_empty() { VecDeque::new() } else { [first].into() };
        Self { shared, exchange: Some(exchange), pieces: Mutex::new(pieces) }
    }

    fn take<'py>(&self, py: Python<'py>, until: Until) -> PyResult<Bound<'py, PyBytes>> {
        let mut taken = Taken::default();
        loop {
            match self.pieces.try_lock() {
                Ok(mut pieces) => {
                    if taken.take_from(&mut pieces, until) {
                        break;
                    }
                }
                Err(TryLockError::Poisoned(poisoned)) => drop(poisoned),
                Err(TryLockError::WouldBlock) => {
                    return Err(PyRuntimeError::new_err(
                        "wsgi.input is read by two threads at once",
                    ));
                }
            }
            if !self.fill(py)? {
                break;
            }
        }
        taken.into_bytes(py)
    }

    /// Waits until more of the body has come; false when there is no more.
    fn fill(&self, py: Python<'_>) -> PyResult<bool> {
        let Some(exchange) = &self.exchange else { return Ok(false) };
        let mut arrived = if forked::is_child() { Arrived::CutOff } else { exchange.take() };
        if matches!(arrived, Arrived::Nothing) {
            exchange.ask();
            let waited = py.detach(|| {
                self.shared.server.wait(exchange, || match exchange.take() {
                    Arrived::Nothing => None,
                    other => Some(other),
                })
            });
            arrived = match waited {
                Ok(arrived) => arrived,
                Err(Unmet::Cancelled) => Arrived::CutOff,
                Err(Unmet::Late) => {
                    return Err(PyTimeoutError::new_err(
                        "the rest of the body did not come in time",
                    ));
                }
            };
        }
        match arrived {
            Arrived::Pieces(new) => {
                match self.pieces.lock() {
                    Ok(mut pieces) => pieces.extend(new),
                    Err(poisoned) => poisoned.into_inner().extend(new),
                }
                Ok(true)
            }
            Arrived::End => Ok(false),
            Arrived::Nothing | Arrived::CutOff => Err(PyConnectionResetError::new_err(
                "the body of the request was cut off: the client went away",
            )),
        }
    }
}

#[pymethods]
impl Input {
    /// Reads up to `size` bytes, or all; waits for them, and is short only at the end.
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.take(py, Until { bytes: limit(size), line: false })
    }

    /// Reads one line, or up to `size` bytes of it.
    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.take(py, Until { bytes: limit(size), line: true })
    }

    /// Reads lines: all, or until they have `hint` bytes together.
    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        let enough = match hint {
            Some(0) | None => usize::MAX,
            Some(hint) => usize::try_from(hint).unwrap_or(usize::MAX),
        };
        let lines = PyList::empty(py);
        let mut length = 0;
        while length < enough {
            let line = self.readline(py, None)?;
            if line.as_bytes().is_empty() {
                break;
            }
            length += line.as_bytes().len();
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.readline(py, None)?;
        Ok(if line.as_bytes().is_empty() { None } else { Some(line) })
    }
}

fn limit(size: Option<isize>) -> usize {
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX)
}

/// What a read has put together.
#[derive(Default)]
struct Taken {
    pieces: Vec<Piece>,
    length: usize,
}

impl Taken {
    /// Takes from what has come; true when the read is done.
    fn take_from(&mut self, pieces: &mut VecDeque<Piece>, until: Until) -> bool {
        while self.length < until.bytes {
            let Some(first) = pieces.front_mut() else { return false };
            let rest = first.rest();
            let most = rest.get(..until.bytes - self.length).unwrap_or(rest);
            let line_end = if until.line { memchr::memchr(b'\n', most) } else { None };
            let count = line_end.map_or(most.len(), |at| at + 1);
            self.length += count;
            if count == rest.len() {
                self.pieces.extend(pieces.pop_front());
            } else {
                let bytes = most.get(..count).unwrap_or_default().to_vec();
                self.pieces.push(Piece::new(bytes));
                first.advance(count);
            }
            if line_end.is_some() {
                return true;
            }
        }
        true
    }

    fn into_bytes(self, py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
        match self.pieces.as_slice() {
            [] => Ok(PyBytes::new(py, b"")),
            [only] => Ok(PyBytes::new(py, only.rest())),
            many => PyBytes::new_with(py, self.length, |mut target| {
                for piece in many {
                    let (place, rest) = target.split_at_mut(piece.rest().len());
                    place.copy_from_slice(piece.rest());
                    target = rest;
                }
                Ok(())
            }),
        }
    }
}
