//! TOML text → a tree of entries with their lines.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::{
    entry::{Entry, Origin, Table, Value},
    mistakes::Mistake,
};

/// Reads a whole file. What is not TOML is left out and told, the rest is kept, so that mistakes
/// of both kinds are seen at once.
pub(crate) fn parse(file: &str, text: &str) -> (Entry, Vec<Mistake>) {
    let lines = Lines::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let root = Entry::new(Value::Table(lines.table(table.get_ref())), Origin::Default);
    let mut mistakes = Vec::new();
    for error in errors {
        let origin = lines.origin(error.span().map_or(0, |span| span.start));
        // The first error of a line is the cause of those after it.
        if mistakes.iter().any(|known: &Mistake| known.origin == origin) {
            continue;
        }
        mistakes.push(Mistake::new(origin, format!("not TOML: {}", in_our_words(error.message()))));
    }
    (root, mistakes)
}

/// Reads one value, as it would stand behind `key =`.
pub(crate) fn parse_value(text: &str, origin: &Origin) -> Option<Value> {
    let line = format!("value = {text}\n");
    let table = DeTable::parse(&line).ok()?;
    let (_, value) = table.get_ref().iter().next().filter(|_| table.get_ref().len() == 1)?;
    let lines = Lines::new("", "");
    let mut value = lines.value(value.get_ref());
    give_origin(&mut value, origin);
    Some(value)
}

fn give_origin(value: &mut Value, origin: &Origin) {
    let below: Vec<&mut Entry> = match value {
        Value::List(list) => list.iter_mut().collect(),
        Value::Table(table) => table.entries.values_mut().collect(),
        _ => Vec::new(),
    };
    for entry in below {
        entry.origin = origin.clone();
        give_origin(&mut entry.value, origin);
    }
}

fn in_our_words(message: &str) -> String {
    let line = message.lines().map(str::trim).collect::<Vec<_>>().join(", ");
    line.trim_end_matches('.').to_owned()
}

/// Where the lines of a file end.
struct Lines {
    file: Arc<str>,
    ends: Vec<usize>,
}

impl Lines {
    fn new(file: &str, text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { file: file.into(), ends }
    }

    fn origin(&self, offset: usize) -> Origin {
        let line = self.ends.partition_point(|end| *end < offset) + 1;
        Origin::File { file: self.file.clone(), line }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let mut entries = std::collections::BTreeMap::new();
        for (key, value) in table {
            let origin = self.origin(key.span().start);
            let entry = Entry::new(self.value(value.get_ref()), origin);
            entries.insert(key.get_ref().to_string(), entry);
        }
        Table { entries, is_scarred: false }
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                i64::from_str_radix(&digits, number.radix())
                    .map_or_else(|_| Value::Text(digits.clone()), Value::Integer)
            }
            DeValue::Float(number) => {
                let digits = number.as_str().replace('_', "");
                digits.parse().map_or_else(|_| Value::Text(digits.clone()), Value::Float)
            }
            DeValue::Boolean(truth) => Value::Boolean(*truth),
            DeValue::Datetime(date) => Value::Text(date.to_string()),
            DeValue::Array(list) => Value::List(
                list.iter()
                    .map(|item| {
                        Entry::new(self.value(item.get_ref()), self.origin(item.span().start))
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.table(table)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, parse, parse_value};

    fn check(text: &str, expected: &[&str]) {
        let (root, mistakes) = parse("f", text);
        let mut shown: Vec<String> = root
            .leaves()
            .iter()
            .map(|(key, entry)| format!("{} {key}={}", entry.origin, entry.value))
            .collect();
        shown.extend(mistakes.iter().map(ToString::to_string));
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn values_know_their_lines() {
        check("a = 1\n\n[b]\nc = \"x\" # y\n", &["f:1 a=1", "f:4 b.c=\"x\""]);
        check("a = [1,\n 2.5, true]", &["f:1 a=[1, 2.5, true]"]);
        check("[[r]]\np = 1\n[[r]]\np = 2", &["f:1 r=[{ p = 1 }, { p = 2 }]"]);
        check("a = 0x1f_ff", &["f:1 a=8191"]);
    }

    #[test]
    fn what_is_not_toml_is_told_and_the_rest_is_read() {
        let (root, mistakes) = parse("f", "a = 1\nb = \nc = 3\n");
        assert_eq!(root.leaves().first().map(|(key, _)| key.clone()), Some("a".to_owned()));
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].to_string().starts_with("f:2: not TOML: "), "{}", mistakes[0]);
    }

    #[test]
    fn single_values_are_read() {
        let check = |text: &str, expected: Option<&str>| {
            let value = parse_value(text, &Origin::Flag("--x")).map(|value| value.to_string());
            assert_eq!(value.as_deref(), expected, "{text}");
        };
        check("1", Some("1"));
        check("[\"a\", 2]", Some("[\"a\", 2]"));
        check("{ a = 1 }", Some("{ a = 1 }"));
        check("plain words", None);
        check("1\nother = 2", None);
    }
}
