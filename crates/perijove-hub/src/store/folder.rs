//! A copy of each record in a file of its own, for the day on which the database is unreadable.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use crate::record::Record;

const FILE: &str = "record.json";

/// Writes the copy of a record; it is never seen half-written. It need not outlive a crash of the
/// machine, which ends the server too.
pub(super) fn write(notebooks: &Path, record: &Record) -> io::Result<()> {
    let folder = notebooks.join(record.notebook.short_name());
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let fresh = folder.join("record.json.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    if let Err(error) = file.write_all(&serde_json::to_vec(record)?) {
        // Half a file must not take up what little room there is.
        fs::remove_file(&fresh).ok();
        return Err(error);
    }
    fs::rename(&fresh, folder.join(FILE))
}

/// All copies that can be read; what cannot is told in the log and left where it is.
pub(super) fn read_all(notebooks: &Path) -> Vec<Record> {
    let Ok(folders) = fs::read_dir(notebooks) else { return Vec::new() };
    let mut records = Vec::new();
    for folder in folders.flatten() {
        let path = folder.path().join(FILE);
        match read(&path) {
            Ok(record) => records.push(record),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a notebook's record is unreadable");
            }
        }
    }
    records
}

fn read(path: &Path) -> io::Result<Record> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}
