//! `PasteDeploy` files: how Pyramid sites are configured.

use std::{fs, path::Path};

/// Sections that make a file one of an application.
const SECTIONS: [&str; 3] = ["[app:main]", "[pipeline:main]", "[composite:main]"];

/// A file that describes an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ini {
    pub(super) name: String,
    /// The distribution or package that its `use` lines name.
    pub(super) uses: Vec<String>,
}

/// The files of a folder that describe an application, in the order of their names. Where there is
/// a `production.ini`, it is the only one: the others are for developers and tests.
pub(super) fn find(root: &Path) -> Vec<Ini> {
    let mut found: Vec<Ini> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| read(&entry.path()))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    match found.iter().position(|ini| ini.name == "production.ini") {
        Some(at) => vec![found.swap_remove(at)],
        None => found,
    }
}

fn read(path: &Path) -> Option<Ini> {
    let name = path.file_name()?.to_str()?.to_owned();
    if path.extension().is_none_or(|ending| ending != "ini") || name.starts_with('.') {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    if !text.lines().any(|line| SECTIONS.contains(&line.trim())) {
        return None;
    }
    let used = |line: &str| {
        let value = line.trim().strip_prefix("use")?.trim_start().strip_prefix('=')?.trim();
        let value = value.strip_prefix("egg:").or_else(|| value.strip_prefix("call:"))?;
        let name = value.split(['#', ':']).next().unwrap_or_default();
        Some(name.replace('-', "_"))
    };
    Some(Ini { name, uses: text.lines().filter_map(used).collect() })
}
