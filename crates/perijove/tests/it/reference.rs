//! The reference in `docs/reference`, made from the types and the command line. A stale file fails
//! here; `make docs` writes them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

mod defaults;
mod markdown;
mod schema;
mod types;

#[test]
fn the_reference_of_the_configuration_is_fresh() {
    check("configuration.md", &markdown::configuration(&types::read()));
}

#[test]
fn the_schema_of_the_configuration_is_fresh() {
    check("perijove.schema.json", &schema::schema(&types::read()));
}

#[test]
fn the_reference_of_the_command_line_is_fresh() {
    let mut text =
        "# The command line\n\nMade from the program by `make docs`: do not edit.\n".to_owned();
    add_command(&mut text, &[]);
    check("cli.md", &text);
}

/// Help of a command, then of the commands below it.
fn add_command(text: &mut String, path: &[String]) {
    let output = Command::new(env!("CARGO_BIN_EXE_perijove"))
        .args(path)
        .arg("--help")
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let name = [&["perijove".to_owned()], path].concat().join(" ");
    let level = "#".repeat(path.len() + 2);
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    text.push_str(&format!("\n{level} {name}\n\n```text\n{}\n```\n", lines.join("\n")));
    let below = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in below.take_while(|line| !line.is_empty()) {
        // What a name is explained with may go on in further lines.
        let Some(name) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) else {
            continue;
        };
        let name = name.split_whitespace().next().unwrap().to_owned();
        add_command(text, &[path, &[name]].concat());
    }
}

fn check(name: &str, wanted: &str) {
    let path = root().join("docs/reference").join(name);
    #[expect(clippy::disallowed_methods, reason = "the same switch as for snapshots")]
    let is_updated = std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always");
    if is_updated {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{} is stale: `make docs` writes it", path.display());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
