//! Where records are kept, so that a restart finds its notebooks again.

use std::{fmt, sync::Arc};

use thiserror::Error;

use crate::record::Record;

mod folder;
mod saver;
mod sqlite;

pub(crate) use saver::Saver;
pub(crate) use sqlite::Sqlite;

/// Keeps records. Its calls block: they belong on a thread that may wait.
pub(crate) trait Store: Send + Sync + fmt::Debug {
    /// Every record.
    fn all(&self) -> Result<Vec<Record>, StoreError>;

    /// Adds a record or replaces the one of the same notebook; on return it is on the disk.
    fn put(&self, record: &Record) -> Result<(), StoreError>;
}

/// Why records could not be kept.
#[derive(Clone, Debug, Error)]
pub(crate) enum StoreError {
    #[error("the disk of the state folder {folder} is full")]
    Full { folder: String },
    #[error("the state database {path} was made by a newer perijove (version {version})")]
    Newer { path: String, version: i64 },
    #[error("the state folder {folder} could not be used: {what}")]
    Broken { folder: String, what: Arc<str> },
}
