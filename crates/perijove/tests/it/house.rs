//! Rules of the house that no compiler keeps.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Which crate may use which. A tenth edge, or an eighth crate, needs a decision record first.
const EDGES: [(&str, &[&str]); 7] = [
    ("perijove", &["perijove-apps", "perijove-gateway", "perijove-hub", "perijove-process"]),
    ("perijove-apps", &["perijove-gateway", "perijove-process"]),
    ("perijove-confine", &[]),
    ("perijove-gateway", &[]),
    ("perijove-hub", &["perijove-gateway", "perijove-process"]),
    ("perijove-process", &["perijove-confine"]),
    ("perijove-worker", &["perijove-confine"]),
];

/// Packages in Cargo.lock. A dependency that brings many others is seen here; raise it on purpose.
const PACKAGES: usize = 230;

/// Lines of a file, and of one that holds tests alone.
const LINES: usize = 600;
const LINES_OF_TESTS: usize = 900;

/// Words of other parts: the gateway is to work for any site and any program behind it.
const FOREIGN_TO_THE_GATEWAY: [&str; 8] =
    ["python", "user", "users", "notebook", "notebooks", "kernel", "kernels", "jupyter"];

/// What looks like such a word in the gateway and is something else.
const INNOCENT: [&str; 11] = [
    // the operating system's
    "the kernel",
    "by_kernel",
    // a header field of HTTP, and its name in the log
    "user-agent",
    "user_agent",
    // a field that is taken out by its prefix, in tests
    "perijove-user",
    "perijove_user",
    // what upstreams are told, in comments and tests
    "x-forwarded-user",
    // part of an address
    "user names",
    // an account of the system
    "user: peer",
    "pub user: u32",
    // a media type
    "text/x-python",
];

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 8] =
    ["mod", "utils", "util", "helper", "helpers", "manager", "common", "misc"];

#[test]
fn crates_use_only_what_they_may() {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(&manifest).unwrap().parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        let uses: Vec<String> = manifest
            .get("dependencies")
            .and_then(toml::Value::as_table)
            .into_iter()
            .flat_map(toml::Table::keys)
            .filter(|name| name.starts_with("perijove"))
            .cloned()
            .collect();
        found.insert(name, uses);
    }
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let allowed: BTreeMap<String, Vec<String>> =
        EDGES.iter().map(|(name, uses)| ((*name).to_owned(), owned(uses))).collect();
    assert_eq!(found, allowed);
}

#[test]
fn the_gateway_knows_no_words_of_others() {
    let wrong = lines_of(&rust("crates/perijove-gateway/src"), |_, line| {
        // Where it is said that they must not occur, they do.
        !line.contains("those")
            && !line.starts_with("//! It must not know")
            && has_foreign_word(line)
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn has_foreign_word(line: &str) -> bool {
    let mut line = line.to_lowercase();
    for phrase in INNOCENT {
        line = line.replace(phrase, "");
    }
    line.split(|c: char| !c.is_ascii_alphabetic())
        .any(|word| FOREIGN_TO_THE_GATEWAY.contains(&word))
}

#[test]
fn foreign_words_are_seen() {
    let check = |line, expected| assert_eq!(has_foreign_word(line), expected, "{line}");
    check("let python = 1;", true);
    check("/// The user's own", true);
    check("head.get(\"User-Agent\")", false);
    check("/// as the kernel tells", false);
    check("/// a kernel of Jupyter", true);
}

#[test]
fn files_are_short_enough_to_be_read() {
    let long: Vec<String> = all_sources()
        .into_iter()
        .map(|path| (fs::read_to_string(&path).unwrap().lines().count(), path))
        .filter(|(lines, path)| {
            let has_tests_alone = path.components().any(|part| part.as_os_str() == "tests")
                || path.ends_with("tests.rs");
            *lines > if has_tests_alone { LINES_OF_TESTS } else { LINES }
        })
        .map(|(lines, path)| format!("{} has {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn files_begin_by_saying_what_they_are_for() {
    let silent: Vec<String> = all_sources()
        .into_iter()
        // What tests are of is said by the file above them.
        .filter(|path| !path.ends_with("tests.rs"))
        .filter(|path| !begins_with_a_sentence(path, &fs::read_to_string(path).unwrap()))
        .map(|path| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

fn begins_with_a_sentence(path: &Path, text: &str) -> bool {
    if path.extension().is_some_and(|extension| extension == "rs") {
        let paragraph: Vec<&str> =
            text.lines().map_while(|line| line.strip_prefix("//! ")).collect();
        return paragraph.join(" ").contains(['.', ':', '?']);
    }
    let mut lines = text.lines().skip_while(|line| line.starts_with("#!"));
    lines.next().is_none_or(|line| {
        line.starts_with("\"\"\"") || line.starts_with("# ") || line.starts_with("r\"\"\"")
    })
}

#[test]
fn files_have_names_that_say_something() {
    let empty: Vec<String> = all_sources()
        .into_iter()
        // The drop-in has the names of what it replaces.
        .filter(|path| !path.starts_with(root().join("python/pyramid_notebook")))
        .filter(|path| {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            stem.split('_').any(|word| EMPTY_NAMES.contains(&word))
        })
        .map(|path| path.display().to_string())
        .collect();
    assert!(empty.is_empty(), "{}", empty.join("\n"));
}

#[test]
fn the_tree_of_dependencies_stays_lean() {
    let lock: toml::Table = fs::read_to_string(root().join("Cargo.lock")).unwrap().parse().unwrap();
    let packages = lock["package"].as_array().unwrap().len();
    assert!(packages <= PACKAGES, "{packages} packages, {PACKAGES} are allowed");
}

/// Lines for which something holds, with their places.
fn lines_of(files: &[PathBuf], holds: impl Fn(&Path, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for path in files {
        for (number, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
            if holds(path, line) {
                found.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    found
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = rust("crates");
    found.extend(below(&root().join("python"), "py"));
    found
}

fn rust(folder: &str) -> Vec<PathBuf> {
    below(&root().join(folder), "rs")
}

/// Files with an extension below a folder; generated and installed ones aside.
fn below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir()
            && !matches!(name.as_str(), "target" | "__pycache__" | "perijove.data")
            && !name.starts_with('.')
        {
            found.extend(below(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
