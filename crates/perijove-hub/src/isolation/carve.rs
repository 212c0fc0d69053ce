//! Folders without what is hidden in them: rules can only allow.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The path itself, or, where something hidden lies below it, all that lies beside that. Links are
/// left out there: where they lead to was not allowed.
pub(super) fn carve(path: &Path, hidden: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    carve_into(&real(path), path, hidden, &mut found);
    found
}

fn carve_into(real: &Path, path: &Path, hidden: &[PathBuf], found: &mut Vec<PathBuf>) {
    if hidden.iter().any(|hidden| hidden == real) {
        return;
    }
    if !hidden.iter().any(|hidden| hidden.starts_with(real)) {
        found.push(path.to_owned());
        return;
    }
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            let name = entry.file_name();
            carve_into(&real.join(&name), &path.join(&name), hidden, found);
        }
    }
}

/// The path without links, as far as it is there.
pub(super) fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_left_out_and_its_neighbours_stay() {
        let folder = tempfile::tempdir().unwrap();
        let root = real(folder.path());
        for below in ["site/code", "site/var/state", "site/var/data", "other"] {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        fs::write(root.join("site/file"), "").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("site/link")).unwrap();
        let check = |path: &str, hidden: &[&str], expected: &[&str]| {
            let hidden: Vec<PathBuf> = hidden.iter().map(|below| root.join(below)).collect();
            let mut found = carve(&root.join(path), &hidden);
            found.sort();
            let expected: Vec<PathBuf> = expected.iter().map(|below| root.join(below)).collect();
            assert_eq!(found, expected, "{path} without {hidden:?}");
        };
        check("site", &[], &["site"]);
        check("site", &["other"], &["site"]);
        check("site", &["site"], &[]);
        check("site", &["site/var/state"], &["site/code", "site/file", "site/var/data"]);
        check("site", &["site/is-not-there"], &["site/code", "site/file", "site/var"]);
        check("site/is-not-there", &["other"], &["site/is-not-there"]);
        // By whatever way it is named.
        std::os::unix::fs::symlink(root.join("site"), root.join("alias")).unwrap();
        let found = carve(&root.join("alias"), &[root.join("site/var/state")]);
        assert!(found.contains(&root.join("alias/code")) && found.len() == 3, "{found:?}");
    }
}
