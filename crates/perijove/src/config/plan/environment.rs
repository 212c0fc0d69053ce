//! Variables that the site's processes get beside those of this program.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

use super::Check;
use crate::config::Site;

/// A larger file is no list of variables.
const FILE_LIMIT: u64 = 1 << 20;

/// The file first, what stands in the configuration above it.
pub(super) fn decide(site: &Site, root: &Path, check: &mut Check<'_>) -> BTreeMap<String, String> {
    let mut found = site.environment_file.as_ref().map_or_else(BTreeMap::new, |file| {
        let path = root.join(file);
        read(&path, check)
    });
    found.extend(site.environment.clone());
    for name in found.keys().filter(|name| !is_name(name)) {
        let what = format!("{name:?} is no name of a variable");
        check.wrong("site.environment", what, "letters, digits and `_`");
    }
    found
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn read(path: &Path, check: &mut Check<'_>) -> BTreeMap<String, String> {
    let key = "site.environment-file";
    let found = fs::metadata(path);
    if found.as_ref().is_ok_and(|found| found.len() > FILE_LIMIT) {
        check.wrong(key, "is too large to be a list of variables", "");
        return BTreeMap::new();
    }
    if found.is_ok_and(|found| found.mode() & 0o004 != 0) {
        let path = path.display();
        tracing::warn!("{path} can be read by everybody on this machine; hint: chmod 0600 {path}");
    }
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            check.absent(key, format!("{} cannot be read ({error})", path.display()), "");
            return BTreeMap::new();
        }
    };
    let (variables, wrong) = parse(&text);
    for line in wrong {
        let what = format!("line {line} of {} is not NAME=VALUE", path.display());
        check.wrong(key, what, "for example DATABASE_URL=\"postgresql:///shop\"");
    }
    variables
}

/// `NAME=VALUE` lines, with `export`, comments and quotes as shells have them; nothing is expanded.
/// The numbers of the lines that are none come too.
fn parse(text: &str) -> (BTreeMap<String, String>, Vec<usize>) {
    let (mut variables, mut wrong) = (BTreeMap::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.split_once('=').map(|(name, value)| (name.trim(), unquoted(value.trim())));
        match pair {
            Some((name, Some(value))) if is_name(name) => {
                variables.insert(name.to_owned(), value);
            }
            _ => wrong.push(at + 1),
        }
    }
    (variables, wrong)
}

fn unquoted(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.split_once('\'').map(|(inside, _)| inside.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        // What follows a number sign after a space is a comment.
        return Some(value.split_once(" #").map_or(value, |(value, _)| value).trim().to_owned());
    };
    let mut inside = String::new();
    let mut letters = rest.chars();
    loop {
        match letters.next()? {
            '"' => return Some(inside),
            '\\' => match letters.next()? {
                'n' => inside.push('\n'),
                letter => inside.push(letter),
            },
            letter => inside.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn variables_are_read_as_shells_do() {
        let check = |line: &str, expected: Option<(&str, &str)>| {
            let (variables, wrong) = parse(line);
            let found = variables.iter().next().map(|(name, value)| (&**name, &**value));
            assert_eq!(found, expected, "{line}");
            assert_eq!(wrong.is_empty(), expected.is_some() || line.is_empty(), "{line}");
        };
        check("A=b", Some(("A", "b")));
        check("export A = b c ", Some(("A", "b c")));
        check("A=", Some(("A", "")));
        check("A=b # why", Some(("A", "b")));
        check("A=b#c", Some(("A", "b#c")));
        check("A='b # \"c\"' # d", Some(("A", "b # \"c\"")));
        check("A=\"b\\\"c\\nd\"", Some(("A", "b\"c\nd")));
        check("A=$B", Some(("A", "$B")));
        check("", None);
        check("A=\"b", None);
        check("nonsense", None);
        check("1A=b", None);
    }
}
