//! What is shown instead of errors.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Mutex,
};

use bytes::Bytes;

use crate::{clock, error::read_page};

/// A file is read again after this many milliseconds.
const FRESH: u64 = 1000;

/// What is shown instead of errors, by status.
#[derive(Debug, Default)]
pub struct ErrorDocuments {
    documents: BTreeMap<u16, ErrorDocument>,
    /// Whether they also stand for the errors that the target itself answers.
    pub(crate) overrides: bool,
    /// Files, and when they were read. Held while one of at most 1 MiB is read, once a second.
    kept: Mutex<HashMap<PathBuf, (u64, Option<Bytes>)>>,
}

/// Where the document of a status is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorDocument {
    File(PathBuf),
    /// A path of the site, which is asked for it by GET.
    Path(String),
}

impl ErrorDocuments {
    /// `overrides`: they also stand for the errors that the target itself answers.
    pub fn new(documents: BTreeMap<u16, ErrorDocument>, overrides: bool) -> Self {
        Self { documents, overrides, kept: Mutex::default() }
    }

    pub(crate) fn of(&self, status: u16) -> Option<&ErrorDocument> {
        self.documents.get(&status)
    }

    /// The text of a file, at most a second old.
    pub(crate) fn read(&self, path: &Path) -> Option<Bytes> {
        let now = clock::now();
        let mut kept = self.kept.lock().ok()?;
        if let Some((read, page)) = kept.get(path)
            && now < read + FRESH
        {
            return page.clone();
        }
        let page = read_page(path);
        kept.insert(path.to_owned(), (now, page.clone()));
        page
    }
}
