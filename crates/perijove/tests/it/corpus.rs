//! What the fuzzer checks holds for its corpus of configurations.

use std::{fs, path::Path};

#[path = "../../../../fuzz/checks/configuration.rs"]
mod fuzz;

#[test]
fn every_text_gives_a_configuration_or_mistakes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/configuration");
    let seeds = fs::read_dir(folder).unwrap();
    assert!(seeds.map(|seed| fuzz::check(&fs::read(seed.unwrap().path()).unwrap())).count() > 20);
}
