//! The reference as a page.

use super::types::{Kind, Setting, Table};

/// The page about the whole configuration.
pub(super) fn configuration(top: &Table) -> String {
    let mut text =
        "# The configuration\n\nMade from the sources by `make docs`: do not edit.\n".to_owned();
    text.push_str(&format!("\n{}\n", top.docs));
    text.push_str(LAYERS);
    add_settings(&mut text, top, "");
    add_tables(&mut text, top, "");
    text
}

/// The tables below one, each with a heading.
fn add_tables(text: &mut String, above: &Table, prefix: &str) {
    for table in &above.tables {
        let name = format!("{prefix}{}", table.name);
        let heading = if table.is_list { format!("[[{name}]]") } else { format!("[{name}]") };
        text.push_str(&format!("\n## `{heading}`\n\n{}\n", table.docs));
        let prefix = format!("{name}.");
        add_settings(text, table, &prefix);
        add_tables(text, table, &prefix);
    }
}

/// What no type says.
const LAYERS: &str = "
Each setting is looked for on the command line, then in the environment, then in the file. In the
environment, `site.workers` is `PERIJOVE_SITE__WORKERS`; lists may be written with commas. Below
those, and above the file, stand the names that platforms use: `PORT` (listens on all addresses),
`APP_MODULE` (`site.app`), `WEB_CONCURRENCY` and `OPENSHIFT_PYTHON_WORKERS` (`site.workers`),
`OPENSHIFT_PYTHON_SERVER` (`site.server`). `PERIJOVE_PACKAGE` names the folder of the Python package
when it is not beside the program.

Times are written `\"30s\"`, `\"1h 30m\"` or as a number of seconds; sizes `\"64K\"`, `\"100M\"` or as a
number of bytes. `perijove check --explain` tells what a configuration means and where each setting
was written. `perijove.schema.json` beside this page lets editors complete and check the file.
";

fn add_settings(text: &mut String, table: &Table, prefix: &str) {
    for setting in &table.settings {
        text.push_str(&format!("\n### `{prefix}{}`\n\n", setting.key));
        text.push_str(&format!("{}{}\n", kind(&setting.kind), default(setting)));
        text.push_str(&format!("\n{}\n", setting.docs));
        if let Kind::List(inner) = &setting.kind
            && let Kind::Inline(settings) = &**inner
        {
            text.push('\n');
            for inner in settings {
                add_inner(text, inner);
            }
        }
    }
}

/// What may stand in a table that has no heading of its own.
fn add_inner(text: &mut String, setting: &Setting) {
    let docs: Vec<&str> = setting.docs.lines().collect();
    let line = format!("- `{}` ({}): {}", setting.key, kind(&setting.kind), docs.join("\n  "));
    text.push_str(&format!("{line}\n"));
}

fn default(setting: &Setting) -> String {
    setting.default.as_ref().map_or_else(String::new, |value| format!(", by default `{value}`"))
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Text => "Text".to_owned(),
        Kind::Path => "A path".to_owned(),
        Kind::Number => "A whole number".to_owned(),
        Kind::Fraction => "A number".to_owned(),
        Kind::Truth => "`true` or `false`".to_owned(),
        Kind::Time => "A length of time".to_owned(),
        Kind::Size => "A number of bytes".to_owned(),
        Kind::Words => "A list of texts, or one text".to_owned(),
        Kind::TruthOrList => "`true`, `false`, or a list of texts".to_owned(),
        Kind::Pairs => "A table of texts".to_owned(),
        Kind::OneOf(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            format!("One of {}", words.join(", "))
        }
        Kind::List(inner) => match &**inner {
            Kind::Text => "A list of texts".to_owned(),
            Kind::Inline(settings) => {
                let keys: Vec<String> =
                    settings.iter().map(|setting| format!("`{}`", setting.key)).collect();
                format!("A list of tables with {}", keys.join(", "))
            }
            other => format!("A list: {}", self::kind(other)),
        },
        Kind::Inline(_) => "A table".to_owned(),
    }
}
