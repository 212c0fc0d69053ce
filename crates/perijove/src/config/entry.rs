//! A configuration as a tree in which every value knows where it was written.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// A value and the place it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Entry>),
    Table(Table),
    /// From the environment: what it means depends on what is wanted there.
    Raw(String),
}

/// Keys and their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) entries: BTreeMap<String, Entry>,
    /// Whether something wrong was taken out, so that what is missing now is no further mistake.
    pub(crate) is_scarred: bool,
}

/// Where a value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody wrote it.
    #[default]
    Default,
    /// A line of a file, counted from one.
    File { file: Arc<str>, line: usize },
    /// A variable of the environment.
    Environment(Arc<str>),
    /// An option of the command line, with its dashes.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One step on the way from the root to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// A path as people write it: `site.static[0].folder`.
pub(crate) fn dotted(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Key(key) if text.is_empty() => text.push_str(key),
            Segment::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Segment::Index(index) => text.extend(["[", &index.to_string(), "]"]),
        }
    }
    text
}

impl Entry {
    pub(crate) fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// An empty table that nobody wrote.
    pub(crate) fn empty() -> Self {
        Self::new(Value::Table(Table::default()), Origin::Default)
    }

    /// What lies at the end of a path, if anything does.
    pub(crate) fn find(&self, path: &[Segment]) -> Option<&Self> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        match (&self.value, first) {
            (Value::Table(table), Segment::Key(key)) => table.entries.get(key)?.find(rest),
            (Value::List(list), Segment::Index(index)) => list.get(*index)?.find(rest),
            _ => None,
        }
    }

    /// Takes out what lies at the end of a path and marks the table it was in.
    pub(crate) fn remove(&mut self, path: &[Segment]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        match (&mut self.value, first) {
            (Value::Table(table), Segment::Key(key)) if rest.is_empty() => {
                table.is_scarred = true;
                table.entries.remove(key).is_some()
            }
            (Value::Table(table), Segment::Key(key)) => {
                table.entries.get_mut(key).is_some_and(|entry| entry.remove(rest))
            }
            (Value::List(list), Segment::Index(index)) if rest.is_empty() => {
                *index < list.len() && {
                    list.remove(*index);
                    true
                }
            }
            (Value::List(list), Segment::Index(index)) => {
                list.get_mut(*index).is_some_and(|entry| entry.remove(rest))
            }
            _ => false,
        }
    }

    /// Puts a value below keys, making the tables on the way.
    pub(crate) fn put(&mut self, keys: &[&str], entry: Self) {
        let Some((first, rest)) = keys.split_first() else {
            *self = entry;
            return;
        };
        if !matches!(self.value, Value::Table(_)) {
            self.value = Value::Table(Table::default());
        }
        if let Value::Table(table) = &mut self.value {
            let below = table
                .entries
                .entry((*first).to_owned())
                .or_insert_with(|| Self::new(Value::Table(Table::default()), entry.origin.clone()));
            below.put(rest, entry);
        }
    }

    /// Lays `upper` over this: tables are joined key by key, anything else is replaced.
    pub(crate) fn lay_over(&mut self, upper: Self) {
        match (&mut self.value, upper.value) {
            (Value::Table(below), Value::Table(above)) => {
                for (key, entry) in above.entries {
                    match below.entries.get_mut(&key) {
                        Some(known) => known.lay_over(entry),
                        None => {
                            below.entries.insert(key, entry);
                        }
                    }
                }
            }
            (below, above) => {
                *below = above;
                self.origin = upper.origin;
            }
        }
    }

    /// Every value that is not a table, with its key, in the order of keys.
    pub(crate) fn leaves(&self) -> Vec<(String, &Self)> {
        let mut found = Vec::new();
        self.collect_leaves(&mut Vec::new(), &mut found);
        found
    }

    fn collect_leaves<'a>(&'a self, path: &mut Vec<Segment>, found: &mut Vec<(String, &'a Self)>) {
        let Value::Table(table) = &self.value else {
            found.push((dotted(path), self));
            return;
        };
        for (key, entry) in &table.entries {
            path.push(Segment::Key(key.clone()));
            entry.collect_leaves(path, found);
            path.pop();
        }
    }
}

impl fmt::Display for Value {
    /// As it would stand in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Raw(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Boolean(truth) => write!(f, "{truth}"),
            Self::List(list) => {
                f.write_str("[")?;
                for (at, entry) in list.iter().enumerate() {
                    write!(f, "{}{}", if at == 0 { "" } else { ", " }, entry.value)?;
                }
                f.write_str("]")
            }
            Self::Table(table) => {
                f.write_str("{")?;
                for (at, (key, entry)) in table.entries.iter().enumerate() {
                    write!(f, "{}{key} = {}", if at == 0 { " " } else { ", " }, entry.value)?;
                }
                f.write_str(" }")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Origin, Segment, Value, dotted};

    fn number(n: i64, flag: &'static str) -> Entry {
        Entry::new(Value::Integer(n), Origin::Flag(flag))
    }

    #[test]
    fn upper_layers_win_key_by_key() {
        let mut below = Entry::empty();
        below.put(&["site", "workers"], number(1, "--below"));
        below.put(&["site", "threads"], number(2, "--below"));
        let mut above = Entry::empty();
        above.put(&["site", "workers"], number(3, "--above"));
        below.lay_over(above);
        let shown: Vec<String> = below
            .leaves()
            .iter()
            .map(|(key, entry)| format!("{key}={} {}", entry.value, entry.origin))
            .collect();
        assert_eq!(shown, ["site.threads=2 --below", "site.workers=3 --above"]);
    }

    #[test]
    fn what_is_taken_out_leaves_a_scar() {
        let mut root = Entry::empty();
        root.put(&["site", "workers"], number(1, "--x"));
        let path = [Segment::Key("site".to_owned()), Segment::Key("workers".to_owned())];
        assert_eq!(dotted(&path), "site.workers");
        assert!(root.remove(&path));
        assert!(!root.remove(&path));
        let site = root.find(&path[..1]).unwrap();
        assert!(matches!(&site.value, Value::Table(table) if table.is_scarred));
    }
}
