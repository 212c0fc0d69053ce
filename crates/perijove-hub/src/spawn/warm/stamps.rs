//! Whether packages on disk have changed since a zygote has imported them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// When each folder that modules come from last changed, each package's description in them, and
/// the interpreter itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamps(Vec<(PathBuf, Duration)>);

impl Stamps {
    /// Looks at the disk.
    pub(super) fn of(python: &Path, paths: &[PathBuf]) -> Self {
        let mut found = Vec::new();
        let environment = python.ancestors().nth(2).map(|prefix| prefix.join("pyvenv.cfg"));
        for path in [python.to_owned()].into_iter().chain(environment) {
            found.extend(stamp(path));
        }
        for path in paths {
            found.extend(stamp(path.clone()));
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            let described = entries.map(|entry| entry.path()).filter(|path| {
                path.extension().is_some_and(|ending| ending == "dist-info" || ending == "pth")
            });
            let mut described: Vec<_> = described.filter_map(stamp).collect();
            described.sort();
            found.extend(described);
        }
        Self(found)
    }

    /// The last change of all, since the Unix epoch.
    pub(super) fn newest(&self) -> Duration {
        self.0.iter().map(|(_, changed)| *changed).max().unwrap_or_default()
    }
}

/// `None` when there is nothing.
fn stamp(path: PathBuf) -> Option<(PathBuf, Duration)> {
    let found = fs::metadata(&path).ok()?;
    let seconds = Duration::from_secs(found.mtime().try_into().unwrap_or_default());
    let rest = Duration::from_nanos(found.mtime_nsec().try_into().unwrap_or_default());
    Some((path, seconds + rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_or_removed_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let look = || Stamps::of(Path::new("/nonexistent/bin/python"), std::slice::from_ref(&path));
        let before = look();
        assert_eq!(before, look());
        fs::create_dir(path.join("some-1.0.dist-info")).unwrap();
        let installed = look();
        assert_ne!(before, installed);
        assert!(installed.newest() >= before.newest());
        // The same version, installed once more.
        let folder_changed = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(path.join("some-1.0.dist-info/RECORD"), "").unwrap();
        fs::File::open(&path).unwrap().set_modified(folder_changed).unwrap();
        assert_ne!(installed, look());
    }
}
