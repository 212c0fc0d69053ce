//! What the documents show is what the program takes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::site::root;

#[test]
fn every_configuration_in_the_documents_can_be_read() {
    let mut tried = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in blocks(&text, "toml") {
            let read = perijove::config::parse_text(&block);
            assert!(read.is_ok(), "{}: {}\n{block}", page.display(), read.unwrap_err());
        }
    }
    for example in fs::read_dir(root().join("examples")).unwrap() {
        let file = example.unwrap().path().join("perijove.toml");
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let read = perijove::config::parse_text(&text);
        assert!(read.is_ok(), "{}: {}", file.display(), read.unwrap_err());
        tried += 1;
    }
    assert!(tried > 1, "only {tried} examples have a configuration");
}

/// A guide that names a setting nobody can write is worse than none.
#[test]
fn every_setting_that_the_guides_name_is_one() {
    let reference = fs::read_to_string(root().join("docs/reference/configuration.md")).unwrap();
    let known: Vec<&str> = reference
        .lines()
        .filter_map(|line| line.trim_start_matches('#').trim().strip_prefix('`')?.strip_suffix('`'))
        .map(|name| name.trim_matches(['[', ']']))
        .collect();
    let tables: Vec<String> =
        known.iter().filter_map(|name| Some(format!("{}.", name.split_once('.')?.0))).collect();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for word in text.split('`').skip(1).step_by(2) {
            let name = word.split([' ', '=']).next().unwrap_or_default();
            let is_setting = tables.iter().any(|table| name.starts_with(table.as_str()))
                && name.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '.'));
            assert!(!is_setting || known.contains(&name), "{}: `{name}`", page.display());
        }
    }
}

/// Pages for those who use the program.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    pages.extend(below(&root().join("docs/guides")));
    pages.retain(|page| page.exists());
    pages
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect()
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while lines.any(|line| line == format!("```{language}")) {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block.join("\n"));
    }
    blocks
}
