//! Static files.

use std::path::PathBuf;

use crate::{Request, Response};

/// A folder of static files, below a path prefix.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Serves what lies below `folder`; `prefix` is cut off a request's path first.
    pub fn new(prefix: &str, folder: PathBuf) -> Self {
        let _ = prefix;
        Self { folder }
    }

    /// The answer for a file that is there; `None` when there is none and the next target is to
    /// be asked. A file that is there and asked for by another method than GET and HEAD is 405.
    pub fn serve(&self, request: &Request) -> Option<Response> {
        todo!("{:?}{request:?}", self.folder)
    }
}
