//! The files that services write to, exchanged and opened again as the other logs are.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use perijove_gateway::{LogFile, Rotation};

/// The files that are in use. A service that is exchanged writes to the file of the one before.
#[derive(Debug, Default)]
pub(super) struct Logs {
    rotation: Option<Rotation>,
    files: Mutex<BTreeMap<PathBuf, Weak<Mutex<LogFile>>>>,
}

impl Logs {
    pub(super) fn new(rotation: Option<Rotation>) -> Self {
        Self { rotation, ..Self::default() }
    }

    /// Takes the lines of one process.
    pub(super) fn writer(&self, path: &Path) -> io::Result<impl FnMut(&str) + Send + use<>> {
        let file = self.file(path)?;
        Ok(move |line: &str| {
            // A full disk must not end the service.
            lock(&file).append(format!("{line}\n").as_bytes()).ok();
        })
    }

    fn file(&self, path: &Path) -> io::Result<Arc<Mutex<LogFile>>> {
        let mut files = lock(&self.files);
        if let Some(known) = files.get(path).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let file = Arc::new(Mutex::new(LogFile::open(path, self.rotation)?));
        files.retain(|_, file| file.strong_count() > 0);
        files.insert(path.to_owned(), Arc::downgrade(&file));
        Ok(file)
    }

    /// Opens the files again, after somebody moved them away.
    pub(super) fn reopen(&self) {
        for file in lock(&self.files).values().filter_map(Weak::upgrade) {
            let mut file = lock(&file);
            if let Err(error) = file.reopen() {
                let path = file.path().display();
                tracing::warn!(%error, %path, "could not open a log again, writing to the old file");
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
