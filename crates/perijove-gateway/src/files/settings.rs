//! How files of a folder are served.

use super::{CacheRule, FileMemory, MediaTypes};

/// How files of a folder are served.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// Names of files that a folder is when it is asked for itself; the first that is there.
    pub index: Vec<String>,
    /// Whether a folder without such a file is answered with a list of what is in it.
    pub is_listed: bool,
    /// The file, below the folder, that answers GET and HEAD of those who accept HTML where there is
    /// no file: the page of an application that runs in the browser.
    pub fallback: Option<String>,
    /// How long clients may keep a file; the first that fits counts. Where none does, nothing is
    /// said, and clients judge by the file's age.
    pub cache_rules: Vec<CacheRule>,
    /// Whether a file whose name holds a hash of its content may be kept for ever where no rule
    /// fits.
    pub knows_fingerprints: bool,
    /// Types of files that count before those that are built in.
    pub types: MediaTypes,
    /// Whether small texts are compressed when they are read, and kept so.
    pub compresses: bool,
    /// Where small files are kept.
    pub memory: FileMemory,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self {
            index: vec!["index.html".to_owned()],
            is_listed: false,
            fallback: None,
            cache_rules: Vec::new(),
            knows_fingerprints: true,
            types: MediaTypes::default(),
            compresses: true,
            memory: FileMemory::new(64 << 20),
        }
    }
}

impl FileSettings {
    /// For files that are named one by one: no folder has a page.
    pub fn plain() -> Self {
        Self { index: Vec::new(), knows_fingerprints: false, ..Self::default() }
    }
}
