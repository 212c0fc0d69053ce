//! The extension module inside a Python worker of perijove.
//!
//! It reads requests as frames, calls the WSGI application, and writes its answers as frames. Bytes
//! are read, parsed and written without the interpreter lock. It shares no code with the gateway:
//! what both must agree on is golden data.

mod answer;
mod asgi;
mod claims;
mod confine;
mod connection;
mod environ;
mod exchange;
mod forked;
pub mod frames;
pub mod head;
mod input;
mod kept;
mod respond;
mod serve;
mod shelf;
mod start;
mod turn;
mod worker;
mod wrapper;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
#[path = "portable.rs"]
mod platform;

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::pymodule;

/// Takes a lock. Nothing here leaves what it guards half done, so that a panic poisons nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The module `perijove._worker`.
#[pymodule]
#[pyo3(name = "_worker")]
mod module {
    #[pymodule_export]
    use crate::{
        asgi::AsgiWorker,
        confine::confine,
        worker::{Worker, request_id},
        wrapper::FileWrapper,
    };
}
