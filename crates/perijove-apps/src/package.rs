//! Where our own Python package lies: found by file location, never through a site's environment.

use std::{
    fs,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// The worker's extension module inside the package.
const EXTENSION: &str = "_worker.abi3.so";

/// Why the package was not found.
#[derive(Debug, Error)]
pub enum PackageError {
    #[error("there is no Python package of perijove in {}", folder.display())]
    Named { folder: PathBuf },
    #[error("the Python package of perijove is not installed beside {}", executable.display())]
    Missing { executable: PathBuf },
    #[error("the worker extension {EXTENSION} is missing in {}", folder.display())]
    Unbuilt { folder: PathBuf },
}

impl PackageError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Named { .. } => {
                "let PERIJOVE_PACKAGE name the folder `perijove` of an installation"
            }
            Self::Missing { .. } => {
                "`pip install perijove` brings command and package together; the bare command \
                 serves a site that runs elsewhere with `site.upstream`"
            }
            Self::Unbuilt { .. } => {
                "`make build` makes it in a source tree; else reinstall perijove"
            }
        }
    }
}

/// The package that is named (`PERIJOVE_PACKAGE`), else the one installed together with the
/// executable, else the one of the source tree in whose `target` the executable was built.
pub fn find(named: Option<&Path>, executable: &Path) -> Result<PathBuf, PackageError> {
    let folder = match named {
        Some(folder) if is_package(folder) => folder.to_owned(),
        Some(folder) => return Err(PackageError::Named { folder: folder.to_owned() }),
        None => near(executable)
            .ok_or_else(|| PackageError::Missing { executable: executable.to_owned() })?,
    };
    if folder.join(EXTENSION).is_file() {
        Ok(folder)
    } else {
        Err(PackageError::Unbuilt { folder })
    }
}

fn near(executable: &Path) -> Option<PathBuf> {
    // The executable as it was called, and as it is behind links (`~/.local/bin`).
    let real = executable.canonicalize().ok();
    let places: Vec<&Path> = [Some(executable), real.as_deref()].into_iter().flatten().collect();
    let installed = places.iter().filter_map(|place| installed_beside(place));
    let is_target = |folder: &&Path| folder.file_name().is_some_and(|name| name == "target");
    let targets = places.iter().flat_map(|place| place.ancestors()).filter(is_target);
    let source = targets.filter_map(Path::parent);
    installed
        .chain(source.map(|folder| folder.join("python/perijove")).filter(|path| is_package(path)))
        .next()
}

/// `../lib/python3*/site-packages/perijove`, of the newest Python if there are several.
fn installed_beside(executable: &Path) -> Option<PathBuf> {
    let library = executable.parent()?.parent()?.join("lib");
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(library)
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let minor = path.file_name()?.to_str()?.strip_prefix("python3.")?.parse().ok()?;
            Some((minor, path.join("site-packages/perijove")))
        })
        .filter(|(_, path)| is_package(path))
        .collect();
    found.sort();
    found.pop().map(|(_, path)| path)
}

fn is_package(folder: &Path) -> bool {
    folder.join("worker/__main__.py").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "worker/__main__.py";

    /// With these files in a folder, the package of `bin/perijove` (or `target/debug/perijove`).
    fn check(files: &[&str], named: Option<&str>, executable: &str, expected: Result<&str, &str>) {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        for file in files.iter().copied().chain([executable]) {
            let file = top.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let got = find(named.map(|path| top.join(path)).as_deref(), &top.join(executable));
        let got = got.map_err(|error| error.to_string());
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, top.join(expected)),
            (Err(got), Err(expected)) => assert!(got.starts_with(expected), "{got}"),
            (got, expected) => panic!("{got:?} is not {expected:?}"),
        }
    }

    fn package(folder: &str) -> Vec<String> {
        vec![format!("{folder}/{MARK}"), format!("{folder}/{EXTENSION}")]
    }

    fn check_packages(folders: &[&str], named: Option<&str>, executable: &str, expected: &str) {
        let files: Vec<String> = folders.iter().flat_map(|folder| package(folder)).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        check(&files, named, executable, Ok(expected));
    }

    #[test]
    fn the_package_is_found_by_location() {
        let ten = "venv/lib/python3.10/site-packages/perijove";
        let nine = "venv/lib/python3.9/site-packages/perijove";
        check_packages(&[ten, nine], None, "venv/bin/perijove", ten);
        check_packages(&["python/perijove"], None, "target/debug/perijove", "python/perijove");
        check_packages(&["python/perijove"], None, "target/debug/deps/it-1", "python/perijove");
        check_packages(&["a", ten], Some("a"), "venv/bin/perijove", "a");
    }

    #[test]
    fn what_is_missing_is_said() {
        check(&[], None, "bin/perijove", Err("the Python package of perijove is not installed"));
        // `/home/python` may be somebody's: only what was built in a tree belongs to it.
        let stray = package("home/python/perijove");
        let stray: Vec<&str> = stray.iter().map(String::as_str).collect();
        let installed = "home/ada/.cargo/bin/perijove";
        check(&stray, None, installed, Err("the Python package of perijove is not installed"));
        check(
            &["a/x"],
            Some("a"),
            "bin/perijove",
            Err("there is no Python package of perijove in"),
        );
        let bare = format!("python/perijove/{MARK}");
        check(
            &[&bare],
            None,
            "target/debug/perijove",
            Err("the worker extension _worker.abi3.so is"),
        );
    }
}
