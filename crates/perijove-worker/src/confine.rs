//! A process that was forked ready takes upon itself what one that is started takes before its exec.

use perijove_confine::{Confinement, is_alone};
use pyo3::{
    PyResult,
    exceptions::{PyOSError, PyRuntimeError, PyValueError},
    pyfunction,
};

/// Takes an account, limits and a sandbox for good; `confinement` is JSON, as the guardian reads it.
/// Whatever it raises, the process must end: what came before is taken, and nothing is given back.
#[pyfunction]
#[pyo3(signature = (confinement, /))]
pub(crate) fn confine(confinement: &str) -> PyResult<()> {
    let confinement: Confinement = serde_json::from_str(confinement)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    let changes_account = confinement.account.is_some();
    let prepared = confinement.prepare()?;
    // Threads that run already would stay outside.
    if !is_alone() {
        return Err(PyRuntimeError::new_err("a process with threads cannot be confined"));
    }
    prepared.take().map_err(|failed| {
        let number = failed.source.raw_os_error().unwrap_or_default();
        PyOSError::new_err((number, format!("{failed}: {}", failed.source)))
    })?;
    if changes_account {
        // Without an exec to come, what `/proc` says of it would stay root's.
        perijove_confine::show_in_proc()?;
    }
    Ok(())
}
