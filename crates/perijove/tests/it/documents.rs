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
