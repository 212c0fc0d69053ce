//! `wsgi.file_wrapper`: a file as an answer, sent through its descriptor where it has one.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use pyo3::{intern, prelude::*, types::PyBytes};
use rustix::fs::{FileType, fstat};

/// Wraps a file-like object; iterating reads it in blocks.
#[pyclass(frozen, module = "perijove._worker")]
#[derive(Debug)]
pub(crate) struct FileWrapper {
    file: Py<PyAny>,
    block: usize,
}

impl FileWrapper {
    /// A descriptor of the file, and what of the file is meant: from where it stands to its end.
    /// `None` when it is no plain file.
    pub(crate) fn descriptor(&self, py: Python<'_>) -> Option<(OwnedFd, u64, u64)> {
        let file = self.file.bind(py);
        let number: RawFd = file.call_method0(intern!(py, "fileno")).ok()?.extract().ok()?;
        let offset: u64 = file.call_method0(intern!(py, "tell")).ok()?.extract().ok()?;
        if number < 0 {
            return None;
        }
        #[expect(unsafe_code, reason = "Python gives descriptors as numbers")]
        // SAFETY: the file object owns it and lives until this function returns.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        let status = fstat(borrowed).ok()?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return None;
        }
        let own = rustix::io::fcntl_dupfd_cloexec(borrowed, 3).ok()?;
        let length = u64::try_from(status.st_size).unwrap_or_default().saturating_sub(offset);
        Some((own, offset, length))
    }
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize=8192, /))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> Self {
        Self { file: filelike, block: blksize.max(1) }
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = self.file.bind(py).call_method1(intern!(py, "read"), (self.block,))?;
        let is_end = block.cast::<PyBytes>().is_ok_and(|bytes| bytes.as_bytes().is_empty());
        Ok(if is_end { None } else { Some(block) })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.file.bind(py).getattr_opt(intern!(py, "close"))? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }
}
