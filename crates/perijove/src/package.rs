//! Where the Python package lies that belongs to this program.
//!
//! It is found by its file location only: no site needs perijove in its environment, and one that
//! has it there gets ours.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::config::layers::{Environment, PACKAGE};

/// The folder `perijove` with the worker and the launcher of notebooks in it.
pub(crate) fn find(environment: &Environment) -> Option<PathBuf> {
    let named = environment.get(PACKAGE).map(PathBuf::from);
    if named.is_some() {
        return named.filter(|folder| is_package(folder));
    }
    let executable = environment.executable()?;
    let installed = executable.parent().and_then(Path::parent).map(installed_below);
    let in_source = executable.ancestors().skip(1).map(|above| above.join("python/perijove"));
    installed.into_iter().flatten().chain(in_source).find(|folder| is_package(folder))
}

/// `lib/python3.*/site-packages/perijove` below a prefix; the latest first.
fn installed_below(prefix: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(prefix.join("lib"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("python3"))
        .map(|name| prefix.join("lib").join(name).join("site-packages/perijove"))
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(path.clone()));
    found
}

fn is_package(folder: &Path) -> bool {
    folder.join("worker/__main__.py").is_file()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{Environment, find};

    fn check(executable: &str, package: &str, variable: Option<&str>, is_found: bool) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let worker = root.join(package).join("worker");
        fs::create_dir_all(&worker).unwrap();
        fs::write(worker.join("__main__.py"), "").unwrap();
        let variable = variable.map(|path| root.join(path).to_str().unwrap().to_owned());
        let environment = match &variable {
            Some(path) => Environment::from([("PERIJOVE_PACKAGE", path.as_str())]),
            None => Environment::default(),
        };
        let environment = environment.with_executable(&root.join(executable));
        let expected = is_found.then(|| root.join(Path::new(package)));
        assert_eq!(find(&environment), expected, "{executable} {package} {variable:?}");
    }

    #[test]
    fn the_package_is_found_by_its_place() {
        let installed = "venv/lib/python3.12/site-packages/perijove";
        check("venv/bin/perijove", installed, None, true);
        check("other/bin/perijove", installed, None, false);
        check("target/debug/perijove", "python/perijove", None, true);
        check("target/debug/deps/perijove", "python/perijove", None, true);
        check("bin/perijove", "elsewhere", Some("elsewhere"), true);
        check("venv/bin/perijove", installed, Some("elsewhere"), false);
    }
}
